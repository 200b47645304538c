/* Runs a sequence of allocation events on the C library it is linked to, and tells what that did.
 *
 * truth_driver EVENTS ANSWERS CALLS MAPS: the parent traces the child, which runs without address
 * space randomisation. EVENTS and ANSWERS are mapped, so the child allocates nothing but what the
 * events say. CALLS gets every brk, mmap, munmap, mremap, mprotect and madvise with its event; MAPS
 * gets /proc/PID/maps as it stood before the first event. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OP_MALLOC = 1, OP_FREE, OP_REALLOC, OP_CALLOC, OP_MEMALIGN, OP_POSIX_MEMALIGN,
       OP_ALIGNED_ALLOC, OP_MALLOPT = 20, OP_TRIM, OP_MALLINFO, OP_STATS, OP_INFO, OP_RESIDENT,
       OP_THREAD_START, OP_THREAD_EXIT, OP_SBRK, OP_POKE, OP_FREE_AT, OP_REALLOC_AT, OP_WALL };

struct event { uint32_t op, thread; uint64_t slot; int64_t size; uint64_t argument; };
struct header { uint64_t events, slots, touches; };
struct answers { uint64_t at, resident_heap, resident_other, pad; uint64_t value[][2]; };

/* since glibc 2.33; before, the same figures as int */
__attribute__((weak)) struct mallinfo2 mallinfo2(void);

#define MAX_THREADS 256
#define STACK_BYTES (256 << 10)
static struct header *header;
static struct event *events;
static struct answers *answers;
static uint64_t *slots;
static pthread_t threads[MAX_THREADS];
static volatile uint32_t turn; /* which thread works; 0 the main one */
static volatile uint64_t handed;

static void await(uint32_t wanted, int equal) {
    for (;;) {
        uint32_t seen = turn;
        if ((seen == wanted) == equal)
            return;
        syscall(SYS_futex, &turn, FUTEX_WAIT, seen, NULL, NULL, 0);
    }
}

static void pass(uint32_t to) {
    __atomic_store_n(&turn, to, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &turn, FUTEX_WAKE, 1 << 30, NULL, NULL, 0);
}

static void touch(volatile char *p, int64_t size) {
    if (!p || !header->touches || size <= 0)
        return;
    if (size <= 4096)
        memset((void *)p, 0x5a, size);
    else
        for (int64_t i = 0; i < size; i += 4096)
            p[i] = 0x5a;
    p[size - 1] = 0x5a;
}

static uint64_t statistics(uint32_t op, const struct event *e) {
    if (op == OP_MALLOPT)
        return mallopt((int)e->size, (int)(int64_t)e->argument);
    if (op == OP_TRIM)
        return malloc_trim(e->size);
    if (op == OP_MALLINFO) {
        if (!mallinfo2) {
            struct mallinfo old = mallinfo();
            return ((unsigned *)&old)[e->argument];
        }
        struct mallinfo2 m = mallinfo2();
        return ((size_t *)&m)[e->argument];
    }
    if (op == OP_STATS)
        malloc_stats();
    if (op == OP_INFO)
        malloc_info(0, stderr);
    if (op == OP_RESIDENT) {
        syscall(SYS_getpgid, 0); /* the parent counts pages now */
        return answers->resident_heap;
    }
    return 0;
}

static void run(const struct event *e, uint64_t *answer) {
    void *p = (void *)slots[e->slot];
    answer[0] = answer[1] = 0;
    switch (e->op) {
    case OP_MALLOC: p = malloc(e->size); break;
    case OP_CALLOC: p = calloc(1, e->size); break;
    case OP_MEMALIGN: p = memalign(e->argument, e->size); break;
    case OP_ALIGNED_ALLOC: p = aligned_alloc(e->argument, e->size); break;
    case OP_POSIX_MEMALIGN:
        p = NULL;
        if (posix_memalign(&p, e->argument, e->size))
            p = NULL;
        break;
    case OP_FREE:
        free(p);
        slots[e->slot] = 0;
        return;
    case OP_REALLOC: {
        void *q = realloc(p, e->size);
        if (!q && (!p || e->size))
            return;
        p = q;
        break;
    }
    case OP_SBRK: answer[0] = (uint64_t)sbrk(e->size); return;
    case OP_WALL: /* as another library does that maps a page where the break would go */
        p = (char *)(((uintptr_t)sbrk(0) + 4095) & ~4095ul) + (e->size & ~4095l);
        answer[0] = syscall(SYS_mmap, p, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return;
    case OP_POKE:
        *(uint64_t *)((char *)p + e->size) = e->argument;
        return;
    case OP_FREE_AT: free((char *)p + e->size); return; /* and the slot keeps it */
    case OP_REALLOC_AT:
        p = realloc((char *)p + e->argument, e->size);
        (void)p;
        return;
    default: answer[0] = statistics(e->op, e); return;
    }
    slots[e->slot] = (uint64_t)p;
    if (p) {
        answer[0] = (uint64_t)p;
        answer[1] = malloc_usable_size(p);
        touch(p, e->size);
    }
}

static void *work(void *self) {
    uint32_t number = (uint32_t)(uintptr_t)self;
    for (;;) {
        await(number, 1);
        const struct event *e = &events[handed];
        if (e->op == OP_THREAD_EXIT) {
            pass(0);
            return NULL;
        }
        run(e, answers->value[handed]);
        pass(0);
    }
}

static void start(uint32_t number) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    if (pthread_create(&threads[number], &attributes, work, (void *)(uintptr_t)number))
        _exit(97);
}

static void *map(const char *path, int protection, int flags) {
    int fd = open(path, protection & PROT_WRITE ? O_RDWR : O_RDONLY);
    off_t size = lseek(fd, 0, SEEK_END);
    if (size < 0)
        _exit(98);
    void *p = mmap(NULL, size, protection, flags, fd, 0);
    close(fd);
    return p == MAP_FAILED ? NULL : p;
}

static int child(char **argv) {
    header = map(argv[1], PROT_READ, MAP_PRIVATE);
    answers = map(argv[2], PROT_READ | PROT_WRITE, MAP_SHARED);
    if (!header || !answers)
        _exit(98);
    events = (struct event *)(header + 1);
    slots = &answers->value[header->events][0];
    syscall(SYS_getppid); /* from here on the parent writes down what we ask for */
    for (uint64_t i = 0; i < header->events; i++) {
        const struct event *e = &events[i];
        answers->at = i;
        if (e->op == OP_THREAD_START) {
            start(e->thread);
        } else if (e->thread == 0) {
            run(e, answers->value[i]);
        } else {
            handed = i;
            pass(e->thread);
            await(0, 1);
            if (e->op == OP_THREAD_EXIT)
                pthread_join(threads[e->thread], NULL);
        }
    }
    answers->at = header->events;
    _exit(0);
}

/* the parent */

struct range { uint64_t start, end; int is_heap; };
static struct range before[4096];
static int nr_before;

static int read_maps(pid_t pid, struct range *ranges, const char *copy) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *in = fopen(path, "r"), *out = copy ? fopen(copy, "w") : NULL;
    int n = 0;
    while (in && n < 4096 && fgets(line, sizeof line, in)) {
        sscanf(line, "%lx-%lx", &ranges[n].start, &ranges[n].end);
        ranges[n++].is_heap = strstr(line, "[heap]") != NULL;
        if (out)
            fputs(line, out);
    }
    if (in)
        fclose(in);
    if (out)
        fclose(out);
    return n;
}

static void count_resident(pid_t pid) {
    static struct range now[4096];
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
    int fd = open(path, O_RDONLY), n = read_maps(pid, now, NULL);
    answers->resident_heap = answers->resident_other = 0;
    for (int i = 0; i < n; i++)
        for (uint64_t at = now[i].start; at < now[i].end; at += 4096) {
            uint64_t entry = 0;
            int known = 0;
            for (int j = 0; j < nr_before && !known; j++)
                known = !before[j].is_heap && at >= before[j].start && at < before[j].end;
            if (known)
                continue;
            if (pread(fd, &entry, 8, at / 4096 * 8) == 8 && entry >> 62)
                *(now[i].is_heap ? &answers->resident_heap : &answers->resident_other) += 1;
        }
    answers->value[answers->at][1] = answers->resident_other;
    close(fd);
}

static int is_ours(uint64_t number) {
    return number == SYS_brk || number == SYS_mmap || number == SYS_munmap ||
           number == SYS_mremap || number == SYS_mprotect || number == SYS_madvise;
}

static unsigned char inside[1 << 22]; /* by thread: between entry and exit of a call */

static void at_stop(pid_t pid, FILE *calls, const char *maps, int *begun) {
    struct user_regs_struct r;
    inside[pid & ((1 << 22) - 1)] ^= 1;
    if (inside[pid & ((1 << 22) - 1)] || ptrace(PTRACE_GETREGS, pid, 0, &r))
        return;
    if (r.orig_rax == SYS_getppid) {
        nr_before = read_maps(pid, before, maps);
        *begun = 1;
    } else if (r.orig_rax == SYS_getpgid) {
        count_resident(pid);
    } else if (*begun && is_ours(r.orig_rax)) {
        uint64_t row[7] = {answers->at, r.orig_rax, r.rdi, r.rsi, r.rdx, r.r10, r.rax};
        fwrite(row, sizeof row, 1, calls);
    }
}

int main(int argc, char **argv) {
    if (argc == 6)
        return child(argv);
    if (argc != 5)
        return 2;
    personality(ADDR_NO_RANDOMIZE);
    pid_t pid = fork();
    if (pid == 0) {
        char *words[] = {argv[0], argv[1], argv[2], argv[3], argv[4], "child", NULL};
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        execv("/proc/self/exe", words);
        _exit(99);
    }
    answers = map(argv[2], PROT_READ | PROT_WRITE, MAP_SHARED);
    FILE *calls = fopen(argv[3], "w");
    int status, begun = 0, result = 96;
    waitpid(pid, &status, 0);
    ptrace(PTRACE_SETOPTIONS, pid, 0,
           PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL);
    ptrace(PTRACE_SYSCALL, pid, 0, 0);
    for (pid_t who; (who = waitpid(-1, &status, __WALL)) > 0;) {
        long signal = 0;
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (who == pid)
                result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            continue;
        }
        if (WSTOPSIG(status) == (SIGTRAP | 0x80))
            at_stop(who, calls, argv[4], &begun);
        else if (WSTOPSIG(status) != SIGTRAP && WSTOPSIG(status) != SIGSTOP)
            signal = WSTOPSIG(status);
        ptrace(PTRACE_SYSCALL, who, 0, signal);
    }
    fclose(calls);
    return result;
}
