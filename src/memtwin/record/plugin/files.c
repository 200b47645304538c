/* files.c: owns this process's list of files met so far: a file is (device, inode, birth time,
 * kind), so that a new file on a freed inode is a new file.  Each gets a small number and one
 * OP_FILE record with its path and size; the converter joins the lists of all processes. */
#define _GNU_SOURCE
#include "recorder.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <stddef.h>
#include <unistd.h>

enum kind { REGULAR, PIPE, SOCKET, TTY, CHAR_DEVICE, BLOCK_DEVICE, DIRECTORY, ANON, MEMFD, LINK };

struct known {
    uint64_t dev, ino, birth_ns;
    int kind;
};
static struct known *files;
static int n_files, n_room;
static pthread_mutex_t files_lock = PTHREAD_MUTEX_INITIALIZER;

void files_reset(void)
{
    pthread_mutex_init(&files_lock, NULL);
    n_files = 0;
}

static int kind_of(const struct statx *st, const char *path, int fd)
{
    switch (st->stx_mode & S_IFMT) {
    case S_IFREG: return strncmp(path, "/memfd:", 7) ? REGULAR : MEMFD;
    case S_IFIFO: return PIPE;
    case S_IFSOCK: return SOCKET;
    case S_IFCHR: return fd >= 0 && isatty(fd) ? TTY : CHAR_DEVICE;
    case S_IFBLK: return BLOCK_DEVICE;
    case S_IFDIR: return DIRECTORY;
    case S_IFLNK: return LINK;
    default: return ANON;
    }
}

static int identify(struct thread *t, const struct statx *st, const char *path, int fd)
{
    struct known k = {
        .dev = makedev(st->stx_dev_major, st->stx_dev_minor),
        .ino = st->stx_ino,
        .birth_ns = st->stx_mask & STATX_BTIME ? (uint64_t)st->stx_btime.tv_sec * 1000000000u +
                                                     st->stx_btime.tv_nsec
                                               : 0,
        .kind = kind_of(st, path, fd),
    };
    pthread_mutex_lock(&files_lock);
    int id = n_files - 1;
    while (id >= 0 && memcmp(&files[id], &k, offsetof(struct known, kind)))
        id--;
    if (id < 0) {
        if (n_files == n_room) {
            n_room = n_room ? 2 * n_room : 64;
            files = realloc(files, (size_t)n_room * sizeof *files);
            if (!files)
                _exit(125);
        }
        id = n_files++;
        files[id] = k;
        struct event *r = put_text(t, OP_FILE, now_ns(), path, id, (int64_t)st->stx_size,
                                   (int64_t)k.dev, (int64_t)k.ino, (int64_t)k.birth_ns);
        r->kind = (uint16_t)k.kind;
    }
    pthread_mutex_unlock(&files_lock);
    return id;
}

int file_of_fd(struct thread *t, int fd)
{
    struct statx st;
    int saved = errno, id = -1;
    if (fd >= 0 && !statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &st)) {
        char link[64], path[PATH_MAX] = "";
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, path, sizeof path - 1);
        path[n > 0 ? n : 0] = 0;
        id = identify(t, &st, path, fd);
    }
    errno = saved;
    return id;
}

int file_of_path(struct thread *t, int dirfd, const char *path, int follow)
{
    struct statx st;
    int saved = errno, id = -1;
    if (!statx(dirfd, path, follow ? 0 : AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME,
               &st)) {
        char full[PATH_MAX];
        if (!realpath(path, full))
            snprintf(full, sizeof full, "%s", path);
        id = identify(t, &st, full, -1);
    }
    errno = saved;
    return id;
}

/* What a new image finds open already. */
void record_open_fds(struct thread *t)
{
    DIR *d = opendir("/proc/self/fd");
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));) {
        int fd = atoi(e->d_name);
        if (e->d_name[0] == '.' || fd == dirfd(d))
            continue;
        int flags = fcntl(fd, F_GETFD);
        if (flags < 0 || flags & FD_CLOEXEC)
            continue; /* the emulator's own are close-on-exec; the program's aren't, or it'd
                         not have inherited them */
        int id = file_of_fd(t, fd);
        if (id >= 0)
            put_event(t, OP_OPEN, now_ns(), id, fd, fcntl(fd, F_GETFL), 0, 1);
    }
    closedir(d);
}
