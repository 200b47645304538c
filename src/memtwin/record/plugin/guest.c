/* guest.c: owns the way into the program's memory and the address space it starts with. */
#define _GNU_SOURCE
#include "recorder.h"
#include "qemu_abi.h"
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

static uintptr_t base(void)
{
    return &guest_base ? guest_base : 0;
}

/* Through the kernel, because the program may hand out any pointer; -1: not all readable. */
int guest_copy(void *to, uint64_t guest_addr, size_t n_bytes)
{
    struct iovec local = {to, n_bytes}, remote = {(void *)(base() + guest_addr), n_bytes};
    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)n_bytes ? 0 : -1;
}

char *guest_string(uint64_t guest_addr)
{
    size_t n = 0, room = 0;
    char *s = NULL;
    for (;;) {
        size_t step = 256 - (guest_addr + n) % 256; /* never across a page that isn't there */
        if (n + step + 1 > room)
            s = realloc(s, room = 2 * (n + step) + 256);
        if (!s || guest_copy(s + n, guest_addr + n, step)) {
            free(s);
            return NULL;
        }
        if (memchr(s + n, 0, step))
            return s;
        n += step;
        if (n > 1 << 17)
            break; /* longer than the kernel takes for one argument */
    }
    free(s);
    return NULL;
}

static int prot_of(int flags)
{
    return (flags & PAGE_READ ? PROT_READ : 0) |
           (flags & (PAGE_WRITE | PAGE_WRITE_ORG) ? PROT_WRITE : 0) |
           (flags & PAGE_EXEC ? PROT_EXEC : 0);
}

/* The stack grows on touch: its mapping covers all it may grow to. */
static void put_stack(struct thread *t, uint64_t start, uint64_t end, int prot)
{
    struct rlimit limit;
    uint64_t most = 8 << 20;
    if (!getrlimit(RLIMIT_STACK, &limit) && limit.rlim_cur != RLIM_INFINITY)
        most = limit.rlim_cur & ~(uint64_t)(PAGE_BYTES - 1);
    if (end - start < most && most <= 1ull << 30)
        start = end - most;
    put_event(t, OP_MAP, now_ns(), (int64_t)start, (int64_t)(end - start), prot,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_STACK, -1);
}

/* One host mapping, cut where the program's view of it changes. */
static void put_mapping(struct thread *t, uint64_t start, uint64_t end, uint64_t offset,
                        const char *path, int host_prot, int shared, uint64_t stack_at)
{
    int file = -1;
    while (start < end) {
        int flags = page_get_flags ? page_get_flags(start - base()) : PAGE_VALID | host_prot;
        uint64_t stop = start + PAGE_BYTES;
        while (stop < end && page_get_flags && page_get_flags(stop - base()) == flags)
            stop += PAGE_BYTES;
        if (!page_get_flags)
            stop = end;
        uint64_t guest = start - base();
        if (flags & PAGE_VALID && file < 0 && path[0] == '/')
            file = file_of_path(t, AT_FDCWD, path, 1);
        if (flags & PAGE_VALID && guest <= stack_at && stack_at < guest + (stop - start)) {
            put_stack(t, guest, guest + (stop - start), prot_of(flags));
        } else if (flags & PAGE_VALID) {
            int64_t how = (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED |
                          (file < 0 ? MAP_ANONYMOUS : 0);
            how |= (int64_t)((file < 0 ? 0 : offset) >> PAGE_SHIFT) << 32;
            put_event(t, OP_MAP, now_ns(), (int64_t)guest, (int64_t)(stop - start),
                      prot_of(flags), how, file);
        }
        offset += stop - start;
        start = stop;
    }
}

/* Does the region end in the program's name?  The loader writes it at the stack's bottom. */
static int ends_in_name(uint64_t start, uint64_t end)
{
    char *tail = NULL;
    size_t n = end - start < 2 * PATH_MAX ? end - start : 2 * PATH_MAX;
    int found = 0;
    if (&exec_path && exec_path && (tail = malloc(n)))
        found = !guest_copy(tail, end - n - base(), n) &&
                memmem(tail, n, exec_path, strlen(exec_path) + 1);
    free(tail);
    return found;
}

/* An address in the program's first stack: the host's list of mappings doesn't name it. */
static uint64_t find_stack(FILE *maps)
{
    char line[PATH_MAX + 128];
    uint64_t best = 0, best_bytes = 0;
    rewind(maps);
    while (fgets(line, sizeof line, maps)) {
        uint64_t start, end;
        char prot[8];
        unsigned long inode;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*x %*s %lu", &start, &end, prot, &inode) < 4)
            continue;
        if (inode || prot[1] != 'w' || !page_get_flags ||
            !(page_get_flags(start - base()) & PAGE_VALID))
            continue;
        if (ends_in_name(start, end))
            return end - base() - 1;
        if (end - start > best_bytes) {
            best_bytes = end - start;
            best = end - base() - 1;
        }
    }
    return best;
}

/* OP_EXEC, what is open, and every mapping the loader made. */
void record_image(struct thread *t)
{
    char *program = &exec_path && exec_path ? realpath(exec_path, NULL) : NULL;
    int file = program ? file_of_path(t, AT_FDCWD, program, 1) : -1;
    put_text(t, OP_EXEC, now_ns(), program ? program : "", file, proc.pid, proc.image, 0, 0);
    free(program);
    record_open_fds(t);
    FILE *maps = fopen("/proc/self/maps", "re");
    if (!maps)
        return;
    uint64_t stack_at = find_stack(maps);
    char line[PATH_MAX + 128];
    rewind(maps);
    while (fgets(line, sizeof line, maps)) {
        uint64_t start, end, offset;
        char prot[8];
        int at = 0;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %*s %*u %n", &start, &end, prot,
                   &offset, &at) < 4)
            continue;
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line + at, "[v", 2)) /* the host's vdso, vvar and vsyscall pages */
            continue;
        if (!page_get_flags && (start >> 32) >= 0x5500) /* no view: the emulator's own */
            continue;
        int host = (prot[0] == 'r' ? PAGE_READ : 0) | (prot[1] == 'w' ? PAGE_WRITE : 0) |
                   (prot[2] == 'x' ? PAGE_EXEC : 0);
        put_mapping(t, start, end, offset, line + at, host, prot[3] == 's', stack_at);
    }
    fclose(maps);
}
