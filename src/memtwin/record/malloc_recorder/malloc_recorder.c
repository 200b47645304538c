/* Records every allocation of a program, by LD_PRELOAD. Each thread writes its events into
 * segments, files that are mapped and shared: a process that is killed loses nothing.
 *
 * Environment: MEMTWIN_HEAP_DIR, where segments go (without it nothing is recorded), and
 * MEMTWIN_HEAP_STACKS=1 for call stacks. All memory is still the C library's: what the program
 * gets, it would get without us, but for the addresses of mappings. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define PAGE_BYTES 4096
#define FIRST_BYTES (1 << 20) /* of a thread's first segment; it may have little to tell */
#define LATER_BYTES (4 << 20)
#define MOST_AHEAD_BYTES (1 << 18)
#define POPULATE_WRITE 23 /* include/uapi/asm-generic/mman-common.h MADV_POPULATE_WRITE, v5.14 */
#define MAGIC 0x32504145484d544dULL /* "MTMHEAP2" */
#define DEPTH 24
#define STACK_ROWS (1 << 16)

enum { MALLOC = 1, FREE, REALLOC, CALLOC, MEMALIGN, MALLOPT = 20, TRIM, STACK = 30 };

/* Most of a recording's cost is the pages it fills, so an event is one row of 16 bytes where its
 * size and the ticks since the one before fit into 32 bits each and nothing else is to be told,
 * else two rows. Bits:
 *
 *   one row     what: 0 pointer, 48 zeros, 56 op, 62 ONE       rest: 0 ticks, 32 size
 *   first row   what: 0 pointer, 48 stack >> 16, 56 op, 62 TWO rest: 0 ticks, 48 stack
 *   second row  what: 0 argument, 48 stack >> 24, 62 SECOND    rest: 0 size
 *
 * Ticks are since the event before in this segment, or since `first_ticks`. */
enum { ONE = 1, TWO, SECOND };
struct row { uint64_t what, rest; };
struct segment {
    uint64_t magic, rows;
    uint32_t pid, tid;
    uint64_t ticks, time_ns, first_ticks, pad[2];
    struct row row[];
};
#define LOW(n) ((1ULL << (n)) - 1)

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void *__libc_valloc(size_t);
extern void *__libc_pvalloc(size_t);
extern void __libc_free(void *);
extern int __libc_mallopt(int, int);

#define THREAD static __thread __attribute__((tls_model("initial-exec")))
THREAD struct segment *mine;
THREAD uint64_t last_ticks, mine_bytes;
THREAD uint64_t ready; /* rows of `mine` that may be written without a thought */
THREAD int busy; /* 1: inside this recorder; 2: gave up, no segment could be made */
static char directory[512];
static volatile int active, stacks;
static int (*next_trim)(size_t);
static uint32_t known_stacks[STACK_ROWS];
static uint32_t number;

static inline uint64_t ticks(void) {
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

EXPORT uint64_t memtwin_ticks(void) { return ticks(); }

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static char *digits(char *at, uint64_t value) {
    char text[24];
    int n = 0;
    do
        text[n++] = '0' + value % 10;
    while (value /= 10);
    while (n)
        *at++ = text[--n];
    return at;
}

static uint64_t rows_in(uint64_t bytes) {
    return (bytes - sizeof(struct segment)) / sizeof(struct row);
}

/* A new segment for this thread, for an event at `when`; 0 when none is to be had, for good. */
static int fresh(uint64_t when) {
    char path[640], *at = stpcpy(path, directory);
    int fd;
    uint32_t pid = getpid(), tid = syscall(SYS_gettid);
    void *p = MAP_FAILED;
    uint64_t bytes = mine ? LATER_BYTES : FIRST_BYTES;
    if (mine)
        munmap(mine, mine_bytes);
    mine = NULL;
    ready = 0;
    *at++ = '/';
    at = digits(at, pid);
    *at++ = '.';
    at = digits(at, ticks());
    *at++ = '.';
    at = digits(at, __atomic_fetch_add(&number, 1, __ATOMIC_RELAXED));
    strcpy(at, ".segment");
    fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    /* with its blocks, which is cheaper at once than page by page; not all file systems can */
    if (fd >= 0 && (fallocate(fd, 0, 0, bytes) == 0 || ftruncate(fd, bytes) == 0))
        p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        syscall(SYS_close, fd);
    if (p == MAP_FAILED) {
        busy = 2;
        return 0;
    }
    mine = p;
    mine_bytes = bytes;
    ready = rows_in(PAGE_BYTES);
    mine->pid = pid;
    mine->tid = tid;
    mine->ticks = ticks();
    mine->time_ns = now_ns();
    mine->first_ticks = last_ticks = when;
    mine->magic = MAGIC;
    return 1;
}

/* Room for one more event: pages that follow, taken at once, as many as are full already; or a new
 * segment. 0 when there is no room, for good. */
static __attribute__((noinline)) int more(uint64_t when) {
    int before = errno, done = 1;
    uint64_t have = ready * sizeof(struct row) + sizeof(struct segment), ahead = have;
    if (mine && have < mine_bytes) {
        if (ahead > MOST_AHEAD_BYTES)
            ahead = MOST_AHEAD_BYTES;
        if (ahead > mine_bytes - have)
            ahead = mine_bytes - have;
        madvise((char *)mine + have, ahead, POPULATE_WRITE); /* may fail: then page by page */
        ready = rows_in(have + ahead);
    } else {
        done = fresh(when);
    }
    errno = before;
    return done;
}

static inline uint64_t since_last(uint64_t when) {
    /* a signal's handler may have told of something later meanwhile */
    return when > last_ticks ? when - last_ticks : 0;
}

static inline uint64_t row_of(uint64_t kind, uint64_t op, uint64_t stack, uint64_t low) {
    return kind << 62 | op << 56 | stack << 48 | (low & LOW(48));
}

static __attribute__((noinline)) void put_two(uint32_t op, uint64_t when, uint64_t pointer,
                                              uint64_t size, uint64_t argument, uint32_t stack) {
    struct segment *s = mine;
    uint64_t at = s->rows, since = since_last(when);
    if (since >> 48) { /* more than a day without an event */
        int before = errno, done = fresh(when);
        errno = before;
        if (!done)
            return;
        s = mine;
        at = since = 0;
    }
    s->row[at] = (struct row){row_of(TWO, op, stack >> 16 & 0xff, pointer),
                              (uint64_t)(stack & 0xffff) << 48 | since};
    s->row[at + 1] = (struct row){row_of(SECOND, 0, stack >> 24, argument), size};
    last_ticks += since;
    __atomic_store_n(&s->rows, at + 2, __ATOMIC_RELEASE); /* whole before it counts */
}

static inline void put(uint32_t op, uint64_t when, const void *pointer, uint64_t size,
                       uint64_t argument, uint32_t stack) {
    struct segment *s = mine;
    if (__builtin_expect(!s || s->rows + 2 > ready, 0)) {
        if (!more(when))
            return;
        s = mine;
    }
    uint64_t at = s->rows, since = since_last(when);
    if (__builtin_expect((size | since) >> 32 || argument || stack, 0)) {
        put_two(op, when, (uint64_t)pointer, size, argument, stack);
        return;
    }
    s->row[at] = (struct row){row_of(ONE, op, 0, (uint64_t)pointer), size << 32 | since};
    last_ticks += since;
    __atomic_store_n(&s->rows, at + 1, __ATOMIC_RELEASE); /* whole before it counts */
}

/* Stacks that this thread has unwound. One that begins at the same place of the stack with the same
 * return address is the same when all its return addresses stand where they stood: from each, the
 * code says where the next one is. (A frame whose size changes between calls could be taken for an
 * earlier one of the same functions.) */
struct known {
    uint64_t *slot[DEPTH + 3], ip[DEPTH + 3];
    uint32_t name;
    int n;
};
#define KNOWN_ROWS 256
THREAD struct known *known;

typedef int unwind_step(void *context, void *argument);
static int (*unwind)(unwind_step *, void *);
static uint64_t (*unwind_ip)(void *), (*unwind_cfa)(void *);

static int step(void *context, void *argument) {
    struct known *to = argument;
    to->ip[to->n] = unwind_ip(context);
    to->slot[to->n] = (uint64_t *)unwind_cfa(context) - 1;
    return ++to->n == DEPTH + 3 ? 5 : 0; /* _URC_END_OF_STACK, _URC_NO_REASON */
}

/* What the allocator left of pointers on the stack would look as if the program kept them. */
static __attribute__((noinline)) void wipe(void) {
    char dead[1536];
    memset(dead, 0, sizeof dead);
    __asm__ volatile("" : : "r"(dead) : "memory");
}

/* The number of the stack that begins with the return address at `first`; told once, frame by
 * frame, when it is new. */
static __attribute__((noinline)) uint32_t stack_number(uint64_t when, uint64_t *first) {
    struct known found, *row = NULL;
    uint64_t hash = 14695981039346656037ULL;
    int begin = 0, sure = 1;
    if (!known) {
        known = mmap(NULL, KNOWN_ROWS * sizeof *known, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (known == MAP_FAILED)
            known = NULL;
    }
    if (known) {
        row = &known[(((uint64_t)first >> 3) * 31 + (*first >> 1)) % KNOWN_ROWS];
        int i = 0;
        while (i < row->n && (i || row->slot[0] == first) && *row->slot[i] == row->ip[i])
            i++;
        if (row->n && i == row->n)
            return row->name;
    }
    found.n = 0;
    unwind(step, &found);
    while (begin < found.n && found.slot[begin] != first)
        begin++;
    if (begin == found.n)
        return 0;
    found.n = found.n - begin > DEPTH ? DEPTH : found.n - begin;
    for (int i = 0; i < found.n; i++) {
        found.slot[i] = found.slot[begin + i];
        found.ip[i] = found.ip[begin + i];
        if (i && !found.ip[i]) {
            found.n = i; /* behind the last one */
            break;
        }
        sure &= *found.slot[i] == found.ip[i];
        hash = (hash ^ found.ip[i]) * 1099511628211ULL;
    }
    found.name = (uint32_t)(hash ^ hash >> 32) | 1;
    if (row && sure) { /* no word more: what else stands there could look like a pointer */
        memcpy(row->slot, found.slot, found.n * sizeof *found.slot);
        memcpy(row->ip, found.ip, found.n * sizeof *found.ip);
        row->name = found.name;
        row->n = found.n;
    }
    if (__atomic_exchange_n(&known_stacks[found.name >> 16], found.name, __ATOMIC_RELAXED) !=
        found.name)
        for (int i = 0; i < found.n; i++)
            put(STACK, when, (void *)found.ip[i], i, 0, found.name);
    return found.name;
}

static inline __attribute__((always_inline)) void
record(uint32_t op, uint64_t when, const void *pointer, uint64_t size,
                          uint64_t argument) {
    uint32_t stack = 0;
    if (__builtin_expect(!active || busy, 0))
        return;
    if (__builtin_expect(stacks, 0) && op != FREE) {
        int before = errno;
        busy = 1;
        wipe();
        stack = stack_number(when, (uint64_t *)__builtin_dwarf_cfa() - 1);
        busy = busy == 2 ? 2 : 0;
        errno = before;
    }
    put(op, when, pointer, size, argument, stack);
}

EXPORT void *malloc(size_t size) {
    void *p = __libc_malloc(size);
    record(MALLOC, ticks(), p, size, 0);
    return p;
}

EXPORT void *calloc(size_t count, size_t size) {
    void *p = __libc_calloc(count, size);
    uint64_t product;
    if (__builtin_mul_overflow(count, size, &product))
        product = INT64_MAX;
    record(CALLOC, ticks(), p, product, 0);
    return p;
}

EXPORT void free(void *p) {
    if (p)
        record(FREE, ticks(), p, 0, 0); /* before: nobody can have it yet */
    __libc_free(p);
    if (__builtin_expect(stacks, 0))
        wipe();
}

EXPORT void *realloc(void *old, size_t size) {
    uint64_t when = ticks();
    void *p = __libc_realloc(old, size);
    record(REALLOC, when, p, size, (uint64_t)old);
    return p;
}

EXPORT void *reallocarray(void *old, size_t count, size_t size) {
    size_t product;
    if (__builtin_mul_overflow(count, size, &product)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(old, product);
}

/* An alignment as a row can hold it; nobody has memory for one above. */
static uint64_t told(size_t alignment) { return alignment >> 46 ? 1ULL << 46 : alignment; }

static void *aligned(size_t alignment, size_t size) {
    void *p = __libc_memalign(alignment, size);
    record(MEMALIGN, ticks(), p, size, told(alignment));
    return p;
}

EXPORT void *memalign(size_t alignment, size_t size) { return aligned(alignment, size); }

EXPORT void *aligned_alloc(size_t alignment, size_t size) {
    /* the C library's own looks at the alignment first, since glibc 2.38 */
    static void *(*next)(size_t, size_t);
    if (!next)
        next = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "aligned_alloc");
    void *p = next ? next(alignment, size) : __libc_memalign(alignment, size);
    if (p || errno != EINVAL)
        record(MEMALIGN, ticks(), p, size, told(alignment));
    return p;
}

EXPORT int posix_memalign(void **result, size_t alignment, size_t size) {
    if (alignment % sizeof(void *) || !alignment || alignment & (alignment - 1))
        return EINVAL;
    int before = errno;
    void *p = aligned(alignment, size);
    errno = before;
    if (!p)
        return ENOMEM;
    *result = p;
    return 0;
}

EXPORT void *valloc(size_t size) {
    void *p = __libc_valloc(size);
    record(MEMALIGN, ticks(), p, size, 4096);
    return p;
}

EXPORT void *pvalloc(size_t size) {
    void *p = __libc_pvalloc(size);
    record(MEMALIGN, ticks(), p, (size + 4095) & -4096UL, 4096);
    return p;
}

EXPORT int mallopt(int parameter, int value) {
    record(MALLOPT, ticks(), NULL, (uint64_t)(int64_t)parameter, (uint64_t)(int64_t)value);
    return __libc_mallopt(parameter, value);
}

EXPORT int malloc_trim(size_t pad) {
    record(TRIM, ticks(), NULL, pad, 0);
    return next_trim ? next_trim(pad) : 0;
}

/* What lies where, so that frames can be named later; written anew when the program ends. */
static void tell_maps(void) {
    char path[640], *at = stpcpy(path, directory), chunk[4096];
    ssize_t n;
    int in, out;
    *at++ = '/';
    at = digits(at, getpid());
    strcpy(at, ".maps");
    in = syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
    out = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    while (in >= 0 && out >= 0 && (n = syscall(SYS_read, in, chunk, sizeof chunk)) > 0)
        if (syscall(SYS_write, out, chunk, n) != n)
            break;
    if (in >= 0)
        syscall(SYS_close, in);
    if (out >= 0)
        syscall(SYS_close, out);
}

static void in_child(void) {
    if (mine)
        munmap(mine, mine_bytes); /* the parent goes on writing there */
    mine = NULL;
    ready = 0;
    busy = 0;
    if (stacks)
        tell_maps();
}

__attribute__((constructor)) static void begin(void) {
    const char *where = getenv("MEMTWIN_HEAP_DIR");
    next_trim = (int (*)(size_t))dlsym(RTLD_NEXT, "malloc_trim");
    if (!where || strlen(where) >= sizeof directory)
        return;
    strcpy(directory, where);
    if (getenv("MEMTWIN_HEAP_STACKS")) {
        void *library = dlopen("libgcc_s.so.1", RTLD_NOW); /* now, not inside an allocation */
        if (library) {
            unwind = (int (*)(unwind_step *, void *))dlsym(library, "_Unwind_Backtrace");
            unwind_ip = (uint64_t (*)(void *))dlsym(library, "_Unwind_GetIP");
            unwind_cfa = (uint64_t (*)(void *))dlsym(library, "_Unwind_GetCFA");
        }
        stacks = unwind && unwind_ip && unwind_cfa;
        tell_maps();
    }
    pthread_atfork(NULL, NULL, in_child);
    active = 1;
}

__attribute__((destructor)) static void end(void) {
    if (active && stacks)
        tell_maps();
}
