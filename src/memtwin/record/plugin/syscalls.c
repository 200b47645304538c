/* syscalls.c: owns the pairing of a system call's entry with its return and what each call
 * means for memory and files.  Calls that change the address space hold `map_lock` from
 * entry to return, so that their records stand in the order in which the kernel did them. */
#define _GNU_SOURCE
#include "recorder.h"
#include "sysnum.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t map_lock = PTHREAD_MUTEX_INITIALIZER;
static const int16_t *table;
static size_t table_length;
static struct {
    uint64_t addr, length;
} attached[64]; /* System V segments: shmdt() names no length */

void map_lock_reset(void)
{
    pthread_mutex_init(&map_lock, NULL);
    if (me)
        me->call.locked = 0;
}

int syscalls_choose(const char *target)
{
    table = strcmp(target, "x86_64") ? calls_generic : calls_x86_64;
    table_length = N_CALLS;
    return strcmp(target, "x86_64") && strcmp(target, "aarch64") && strcmp(target, "riscv64");
}

static void lock_maps(struct call *c)
{
    pthread_mutex_lock(&map_lock);
    c->locked = 1;
}

static void unlink_entry(struct thread *t, struct call *c, int dirfd, uint64_t path_at)
{
    char *path = guest_string(path_at);
    struct stat st;
    c->value = 0;
    if (path && !fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode)) {
        c->file = file_of_path(t, dirfd, path, 0);
        c->value = (int64_t)st.st_nlink - 1;
    }
    free(path);
}

static void close_fd(struct thread *t, int fd)
{
    int file = file_of_fd(t, fd);
    if (file >= 0)
        put_event(t, OP_CLOSE, now_ns(), file, fd, 0, 0, 0);
}

static void exit_now(struct thread *t, struct call *c)
{
    put_event(t, OP_EXIT, c->t_ns, (int64_t)(c->arg[0] & 255), c->name == SC_exit_group, 0, 0, 0);
    if (c->name == SC_exit)
        thread_end(t);
    else
        slot_close(t);
}

/* What must be known or done before the kernel acts. */
static void enter(struct thread *t, struct call *c)
{
    uint64_t *a = c->arg;
    switch (c->name) {
    case SC_clone: case SC_fork: case SC_vfork:
        slot_reserve(t, c->t_ns);
        c->t_ns = now_ns();
        lock_maps(c);
        break;
    case SC_mmap: case SC_munmap: case SC_mremap: case SC_brk: case SC_shmat: case SC_shmdt:
        lock_maps(c);
        break;
    case SC_close: close_fd(t, (int)a[0]); break;
    case SC_dup2: case SC_dup3:
        if (a[0] != a[1])
            close_fd(t, (int)a[1]);
        break;
    case SC_close_range:
        if (!(a[2] & 4)) /* CLOSE_RANGE_CLOEXEC closes nothing yet */
            for (uint64_t fd = a[0]; fd <= a[1] && fd < 1024; fd++)
                close_fd(t, (int)fd);
        break;
    case SC_unlink: unlink_entry(t, c, AT_FDCWD, a[0]); break;
    case SC_unlinkat: unlink_entry(t, c, (int)a[0], a[1]); break;
    case SC_rename: unlink_entry(t, c, AT_FDCWD, a[1]); break;
    case SC_renameat: case SC_renameat2:
        if (!(a[4] & 2) || c->name == SC_renameat) /* RENAME_EXCHANGE takes nothing away */
            unlink_entry(t, c, (int)a[2], a[3]);
        break;
    case SC_execve: follow_exec(t, AT_FDCWD, a[0], a[1], a[2], 0); break;
    case SC_execveat: follow_exec(t, (int)a[0], a[1], a[2], a[3], (int)a[4]); break;
    case SC_exit: case SC_exit_group: exit_now(t, c); break;
    default: break;
    }
}

/* Where a transfer of `moved` bytes began: the position behind it is the kernel's own. */
static int64_t began_at(int fd, int64_t moved)
{
    off_t end = lseek(fd, 0, SEEK_CUR);
    return end < 0 ? -1 : (int64_t)end - moved;
}

static void transfer(struct thread *t, int op, int fd, int64_t offset, int64_t moved,
                     uint64_t buffer)
{
    if (moved >= 0)
        put_event(t, op, now_ns(), file_of_fd(t, fd), offset, moved, (int64_t)buffer, 0);
}

static void transfer_vector(struct thread *t, int op, int fd, int64_t offset, int64_t moved,
                            uint64_t vector_at, uint64_t n)
{
    int file = file_of_fd(t, fd);
    for (uint64_t i = 0; i < n && i < 1024 && moved > 0; i++) {
        uint64_t v[2];
        if (guest_copy(v, vector_at + 16 * i, 16))
            return;
        int64_t part = (int64_t)v[1] < moved ? (int64_t)v[1] : moved;
        if (part > 0)
            put_event(t, op, now_ns(), file, offset, part, (int64_t)v[0], 0);
        offset += offset < 0 ? 0 : part;
        moved -= part;
    }
}

/* struct msghdr of a 64-bit program: the vector and its length are words 2 and 3. */
static void transfer_message(struct thread *t, int op, int fd, int64_t moved, uint64_t at)
{
    uint64_t words[4];
    if (!guest_copy(words, at, sizeof words))
        transfer_vector(t, op, fd, -1, moved, words[2], words[3]);
}

/* Two descriptors, no user memory: sendfile, splice, copy_file_range. */
static void transfer_between(struct thread *t, int in, uint64_t in_offset_at, int out,
                             uint64_t out_offset_at, int64_t moved)
{
    int64_t from, to;
    if (in_offset_at) /* the kernel moved the offset it was given */
        from = guest_copy(&from, in_offset_at, 8) ? -1 : from - moved;
    else
        from = began_at(in, moved);
    if (out_offset_at)
        to = guest_copy(&to, out_offset_at, 8) ? -1 : to - moved;
    else
        to = began_at(out, moved);
    transfer(t, OP_READ, in, from, moved, 0);
    transfer(t, OP_WRITE, out, to, moved, 0);
}

static int return_transfer(struct thread *t, struct call *c, int64_t r)
{
    uint64_t *a = c->arg;
    int fd = (int)a[0];
    switch (c->name) {
    case SC_read: transfer(t, OP_READ, fd, began_at(fd, r), r, a[1]); return 1;
    case SC_write: transfer(t, OP_WRITE, fd, began_at(fd, r), r, a[1]); return 1;
    case SC_pread64: transfer(t, OP_READ, fd, (int64_t)a[3], r, a[1]); return 1;
    case SC_pwrite64: transfer(t, OP_WRITE, fd, (int64_t)a[3], r, a[1]); return 1;
    case SC_readv: transfer_vector(t, OP_READ, fd, began_at(fd, r), r, a[1], a[2]); return 1;
    case SC_writev: transfer_vector(t, OP_WRITE, fd, began_at(fd, r), r, a[1], a[2]); return 1;
    case SC_preadv: case SC_preadv2: case SC_pwritev: case SC_pwritev2: {
        int op = c->name == SC_preadv || c->name == SC_preadv2 ? OP_READ : OP_WRITE;
        int64_t at = (int64_t)a[3] == -1 ? began_at(fd, r) : (int64_t)a[3];
        transfer_vector(t, op, fd, at, r, a[1], a[2]);
        return 1;
    }
    case SC_recvfrom: transfer(t, OP_READ, fd, -1, r, a[1]); return 1;
    case SC_sendto: transfer(t, OP_WRITE, fd, -1, r, a[1]); return 1;
    case SC_recvmsg: transfer_message(t, OP_READ, fd, r, a[1]); return 1;
    case SC_sendmsg: transfer_message(t, OP_WRITE, fd, r, a[1]); return 1;
    case SC_sendfile: transfer_between(t, (int)a[1], a[2], fd, 0, r); return 1;
    case SC_splice: case SC_copy_file_range:
        transfer_between(t, fd, a[1], (int)a[2], a[3], r);
        return 1;
    default: return 0;
    }
}

static void return_brk(struct thread *t, int64_t r)
{
    uint64_t now = (uint64_t)r, old = proc.brk ? proc.brk : now;
    if (proc.brk == now)
        return;
    if (now < old)
        forget_range(t, now, old - now);
    proc.brk = now;
    put_event(t, OP_BRK, now_ns(), (int64_t)old, r, 0, 0, 0);
}

static void return_shm(struct thread *t, struct call *c, int64_t r)
{
    struct shmid_ds ds;
    size_t i = 0;
    if (c->name == SC_shmat && !shmctl((int)c->arg[0], IPC_STAT, &ds)) {
        while (i < 63 && attached[i].length)
            i++;
        attached[i].addr = (uint64_t)r;
        attached[i].length = ds.shm_segsz;
        /* DIFFERS: a System V segment is anonymous memory; its key is not followed; pages that
         * two processes share through one are counted twice */
        put_event(t, OP_MAP, now_ns(), r, (int64_t)ds.shm_segsz, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1);
    }
    for (i = 0; c->name == SC_shmdt && i < 64; i++)
        if (attached[i].length && attached[i].addr == c->arg[0]) {
            put_event(t, OP_UNMAP, now_ns(), (int64_t)c->arg[0], (int64_t)attached[i].length, 0,
                      0, 0);
            attached[i].length = 0;
        }
}

static int return_maps(struct thread *t, struct call *c, int64_t r)
{
    uint64_t *a = c->arg;
    switch (c->name) {
    case SC_mmap: {
        int file = a[3] & MAP_ANONYMOUS ? -1 : file_of_fd(t, (int)a[4]);
        int64_t how = (int64_t)(a[3] & 0xffffffff);
        if (file >= 0)
            how |= (int64_t)(a[5] >> PAGE_SHIFT) << 32;
        forget_range(t, (uint64_t)r, a[1]);
        put_event(t, OP_MAP, now_ns(), r, (int64_t)a[1], (int64_t)a[2], how, file);
        return 1;
    }
    case SC_munmap:
        forget_range(t, a[0], a[1]);
        put_event(t, OP_UNMAP, now_ns(), (int64_t)a[0], (int64_t)a[1], 0, 0, 0);
        return 1;
    case SC_mremap:
        forget_range(t, a[0], a[1]);
        forget_range(t, (uint64_t)r, a[2]);
        put_event(t, OP_REMAP, now_ns(), (int64_t)a[0], (int64_t)a[1], (int64_t)a[2], r,
                  (int64_t)a[3]);
        return 1;
    case SC_mprotect: case SC_pkey_mprotect:
        forget_range(t, a[0], a[1]);
        put_event(t, OP_PROTECT, now_ns(), (int64_t)a[0], (int64_t)a[1], (int64_t)a[2], 0, 0);
        return 1;
    case SC_madvise:
        forget_range(t, a[0], a[1]);
        put_event(t, OP_MADVISE, c->t_ns, (int64_t)a[0], (int64_t)a[1], (int64_t)a[2], 0, 0);
        return 1;
    case SC_brk: return_brk(t, r); return 1;
    case SC_shmat: case SC_shmdt: return_shm(t, c, r); return 1;
    case SC_msync:
        put_event(t, OP_MSYNC, now_ns(), (int64_t)a[0], (int64_t)a[1], (int64_t)a[2], 0, 0);
        return 1;
    case SC_mlock: case SC_mlock2: case SC_munlock:
        put_event(t, c->name == SC_munlock ? OP_MUNLOCK : OP_MLOCK, now_ns(), (int64_t)a[0],
                  (int64_t)a[1], c->name == SC_mlock2 ? (int64_t)a[2] : 0, 0, 0);
        return 1;
    case SC_mlockall: case SC_munlockall:
        put_event(t, c->name == SC_munlockall ? OP_MUNLOCK : OP_MLOCK, now_ns(), 0, -1,
                  c->name == SC_mlockall ? (int64_t)a[0] : 0, 0, 0);
        return 1;
    default: return 0;
    }
}

static void return_truncate(struct thread *t, struct call *c)
{
    int file;
    if (c->name == SC_ftruncate) {
        file = file_of_fd(t, (int)c->arg[0]);
    } else {
        char *path = guest_string(c->arg[0]);
        file = path ? file_of_path(t, AT_FDCWD, path, 1) : -1;
        free(path);
    }
    put_event(t, OP_TRUNCATE, now_ns(), file, (int64_t)c->arg[1], 0, 0, 0);
}

static int return_files(struct thread *t, struct call *c, int64_t r)
{
    uint64_t *a = c->arg;
    switch (c->name) {
    case SC_open: case SC_creat: case SC_openat: case SC_memfd_create: {
        int64_t flags = c->name == SC_open     ? (int64_t)a[1]
                        : c->name == SC_openat ? (int64_t)a[2]
                        : c->name == SC_creat  ? O_CREAT | O_WRONLY | O_TRUNC
                                               : O_RDWR;
        put_event(t, OP_OPEN, now_ns(), file_of_fd(t, (int)r), r, flags, 0, 0);
        return 1;
    }
    case SC_fcntl:
        if (a[1] != F_DUPFD && a[1] != F_DUPFD_CLOEXEC)
            return 1;
        /* fall through */
    case SC_dup: case SC_dup2: case SC_dup3:
        put_event(t, OP_DUP, now_ns(), file_of_fd(t, (int)r), (int64_t)a[0], r, 0, 0);
        return 1;
    case SC_fsync: case SC_fdatasync: case SC_sync_file_range:
        put_event(t, OP_FSYNC, c->t_ns, file_of_fd(t, (int)a[0]), c->name == SC_fdatasync,
                  0, 0, 0);
        return 1;
    case SC_sync: case SC_syncfs: put_event(t, OP_FSYNC, c->t_ns, -1, 0, 0, 0, 0); return 1;
    case SC_fadvise64:
        put_event(t, OP_FADVISE, now_ns(), file_of_fd(t, (int)a[0]), (int64_t)a[1],
                  (int64_t)a[2], (int64_t)a[3], 0);
        return 1;
    case SC_readahead:
        put_event(t, OP_FADVISE, now_ns(), file_of_fd(t, (int)a[0]), (int64_t)a[1],
                  (int64_t)a[2], POSIX_FADV_WILLNEED, 0);
        return 1;
    case SC_truncate: case SC_ftruncate: return_truncate(t, c); return 1;
    case SC_fallocate:
        put_event(t, OP_FALLOCATE, now_ns(), file_of_fd(t, (int)a[0]), (int64_t)a[2],
                  (int64_t)a[3], (int64_t)a[1], 0);
        return 1;
    case SC_unlink: case SC_unlinkat: case SC_rename: case SC_renameat: case SC_renameat2:
        if (c->file >= 0)
            put_event(t, OP_UNLINK, now_ns(), c->file, c->value, 0, 0, 0);
        return 1;
    default: return 0;
    }
}

/* CLONE is dated before the call, so that it precedes all that the child does. */
static void return_process(struct thread *t, struct call *c, int64_t r)
{
    int32_t status = 0;
    switch (c->name) {
    case SC_clone: case SC_fork: case SC_vfork:
        if (r > 0) {
            /* the emulator makes a vfork a fork: the child gets memory of its own */
            int64_t flags = c->name == SC_clone ? (int64_t)c->arg[0] : SIGCHLD_FLAG;
            if (flags & CLONE_VFORK)
                flags &= ~(int64_t)(CLONE_VFORK | CLONE_VM);
            put_event(t, OP_CLONE, c->t_ns, r, flags, 0, 0, 0);
            if (!(flags & CLONE_VM))
                forget_all(t); /* pages are shared for copy on write again */
        }
        break;
    case SC_wait4:
        if (r > 0 && c->arg[1] && !guest_copy(&status, c->arg[1], 4))
            put_event(t, OP_WAITED, now_ns(), r, status, 0, 0, 0);
        break;
    case SC_execve: case SC_execveat: /* only a failed one returns */
        put_event(t, OP_LEFT_UNDONE, now_ns(), 0, 0, 0, 0, 0);
        break;
    default: break;
    }
}

void on_syscall(uint64_t id, unsigned vcpu, int64_t num, uint64_t a1, uint64_t a2, uint64_t a3,
                uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)id, (void)vcpu, (void)a7, (void)a8;
    struct thread *t = me ? me : thread_begin();
    struct call *c = &t->call;
    c->name = num >= 0 && (size_t)num < table_length ? table[num] : 0;
    c->num = num;
    if (!c->name)
        return;
    const uint64_t arg[6] = {a1, a2, a3, a4, a5, a6};
    memcpy(c->arg, arg, sizeof arg);
    c->t_ns = now_ns();
    c->file = -1;
    enter(t, c);
}

void on_syscall_return(uint64_t id, unsigned vcpu, int64_t num, int64_t ret)
{
    (void)id, (void)vcpu;
    struct thread *t = me;
    if (!t || t->call.num != num || t->call.name <= 0)
        return;
    struct call *c = &t->call;
    int failed = ret < 0 && ret > -4096;
    if (c->name == SC_execve || c->name == SC_execveat)
        return_process(t, c, ret);
    else if (!failed && !return_transfer(t, c, ret) && !return_maps(t, c, ret) &&
             !return_files(t, c, ret))
        return_process(t, c, ret);
    if (c->locked) {
        c->locked = 0;
        pthread_mutex_unlock(&map_lock);
    }
    c->name = 0;
}
