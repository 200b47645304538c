/* exec.c: keeps a program that executes another one inside the recording: it is executed
 * through the same emulator with the same plugin.  Returns when that can't be done; the
 * system call then takes its usual way, out of the recording, and OP_LEFT says so. */
#define _GNU_SOURCE
#include "recorder.h"
#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_WORDS = 1 << 16, MAX_SCRIPTS = 4, HEAD_BYTES = 256 };

/* A guest's argv or envp, copied; NULL when it can't be read. */
static char **words_of(uint64_t at)
{
    size_t n = 0, room = 64;
    char **words = malloc(room * sizeof *words);
    for (uint64_t p; words && n < MAX_WORDS; n++) {
        if (n + 1 >= room)
            words = realloc(words, (room *= 2) * sizeof *words);
        if (!words || (at && guest_copy(&p, at + 8 * n, 8)))
            return NULL;
        if (!at || !p) {
            words[n] = NULL;
            return words;
        }
        if (!(words[n] = guest_string(p)))
            return NULL;
    }
    return NULL;
}

static size_t count(char **words)
{
    size_t n = 0;
    while (words[n])
        n++;
    return n;
}

/* The emulator for an ELF header, or NULL: not one of the kinds we can record. */
static const char *emulator_for(const unsigned char *head, char room[PATH_MAX])
{
    static const struct {
        int machine;
        const char *name;
    } known[] = {{EM_X86_64, "x86_64"}, {EM_AARCH64, "aarch64"}, {EM_RISCV, "riscv64"}};
    uint16_t machine;
    memcpy(&machine, head + 18, 2);
    if (head[EI_CLASS] != ELFCLASS64 || head[EI_DATA] != ELFDATA2LSB)
        return NULL;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (machine != known[i].machine)
            continue;
        if (!strcmp(known[i].name, proc.target))
            return proc.qemu_path;
        const char *slash = strrchr(proc.qemu_path, '/');
        if (snprintf(room, PATH_MAX, "%.*s/qemu-%s", (int)(slash - proc.qemu_path),
                     proc.qemu_path, known[i].name) < PATH_MAX &&
            !access(room, X_OK))
            return room;
    }
    return NULL;
}

/* `,` separates the options of -plugin and is doubled inside one. */
static char *doubled_commas(const char *text)
{
    char *out = malloc(2 * strlen(text) + 1), *p = out;
    for (; out && *text; text++) {
        if (*text == ',')
            *p++ = ',';
        *p++ = *text;
    }
    if (out)
        *p = 0;
    return out;
}

static char *plugin_option(void)
{
    char *out = NULL, *plugin = doubled_commas(proc.plugin_path);
    char *part = doubled_commas(proc.part_path), *cpu = doubled_commas(proc.cpu_model);
    if (plugin && part && cpu &&
        asprintf(&out,
                 "%s,part=%s,plugin=%s,window=%llu,cpu=%s,birth=%llu,pbirth=%llu,ppid=%u,"
                 "image=%u",
                 plugin, part, plugin, (unsigned long long)proc.window_refs, cpu,
                 (unsigned long long)proc.birth_ns, (unsigned long long)proc.parent_birth_ns,
                 proc.ppid, proc.image + 1) < 0)
        out = NULL;
    free(plugin);
    free(part);
    free(cpu);
    return out;
}

/* Puts `n` words before argv, which loses its first `drop`. */
static char **prepend(char **argv, size_t drop, const char **words, size_t n)
{
    size_t have = count(argv);
    drop = drop < have ? drop : have;
    char **out = malloc((n + have - drop + 1) * sizeof *out);
    if (!out)
        return NULL;
    memcpy(out, words, n * sizeof *out);
    memcpy(out + n, argv + drop, (have - drop + 1) * sizeof *out);
    return out;
}

/* Reads the head of a file that may be executed; -1 if the kernel would refuse it. */
static int read_head(const char *path, unsigned char head[HEAD_BYTES])
{
    struct stat st;
    memset(head, 0, HEAD_BYTES);
    if (stat(path, &st) || !S_ISREG(st.st_mode) || faccessat(AT_FDCWD, path, X_OK, AT_EACCESS))
        return -1;
    if (st.st_mode & (S_ISUID | S_ISGID) && geteuid())
        return -1; /* the emulator can't give it its privileges: leave it to the kernel */
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, head, HEAD_BYTES - 1);
    close(fd);
    return n < 20 && !(n > 2 && head[0] == '#') ? -1 : 0;
}

/* "#! interpreter [one argument]" */
static char **through_script(char **argv, char **path, const unsigned char *head)
{
    char *line = strdup((const char *)head + 2), *rest = line;
    line[strcspn(line, "\n")] = 0;
    const char *words[3];
    size_t n = 0;
    rest += strspn(rest, " \t");
    words[n++] = rest;
    rest += strcspn(rest, " \t");
    if (*rest) {
        *rest++ = 0;
        rest += strspn(rest, " \t");
        for (size_t end = strlen(rest); end && strchr(" \t", rest[end - 1]); end--)
            rest[end - 1] = 0;
        if (*rest)
            words[n++] = rest;
    }
    words[n++] = *path;
    *path = (char *)words[0];
    return prepend(argv, 1, words, n);
}

static void try_exec(char *path, char **argv, char **envp)
{
    unsigned char head[HEAD_BYTES];
    for (int depth = 0;; depth++) {
        if (depth > MAX_SCRIPTS || read_head(path, head))
            return;
        if (head[0] != '#' || head[1] != '!')
            break;
        if (!(argv = through_script(argv, &path, head)))
            return;
    }
    char room[PATH_MAX];
    const char *qemu = memcmp(head, ELFMAG, SELFMAG) ? NULL : emulator_for(head, room);
    char *option = plugin_option();
    if (!qemu || !option)
        return;
    const int same = qemu == proc.qemu_path && *proc.cpu_model;
    const char *words[8] = {qemu, "-plugin", option, "-0", argv[0] ? argv[0] : ""};
    size_t n = 5;
    if (same) {
        words[n++] = "-cpu";
        words[n++] = proc.cpu_model;
    }
    words[n++] = path;
    if ((argv = prepend(argv, 1, words, n)))
        execve(qemu, argv, envp);
}

/* The path the kernel would run; NULL leaves it to the kernel to complain. */
static char *program_path(struct thread *t, int dirfd, uint64_t path_at, int flags)
{
    (void)t;
    char *path = guest_string(path_at), *full = NULL;
    if (!path)
        return NULL;
    char own[64];
    snprintf(own, sizeof own, "/proc/%u/exe", proc.pid);
    if (!strcmp(path, "/proc/self/exe") || !strcmp(path, own)) {
        extern const char *exec_path __attribute__((weak));
        return &exec_path && exec_path ? realpath(exec_path, NULL) : NULL;
    }
    if (path[0] == '/' || dirfd == AT_FDCWD) {
        if (path[0])
            return path;
    } else if (path[0] && asprintf(&full, "/proc/self/fd/%d/%s", dirfd, path) > 0) {
        return full;
    } else if (flags & AT_EMPTY_PATH && asprintf(&full, "/proc/self/fd/%d", dirfd) > 0) {
        char *real = realpath(full, NULL); /* the descriptor may be close-on-exec */
        return real;
    }
    return NULL;
}

void follow_exec(struct thread *t, int dirfd, uint64_t path_at, uint64_t argv_at, uint64_t envp_at,
                 int flags)
{
    char *path = program_path(t, dirfd, path_at, flags);
    char **argv = words_of(argv_at), **envp = words_of(envp_at);
    /* Copies are not freed: success replaces the process, failure is rare. */
    if (path && argv && envp) {
        slot_close(t);
        try_exec(path, argv, envp);
    }
    put_text(t, OP_LEFT, now_ns(), path ? path : "", 0, 0, 0, 0, 0);
}
