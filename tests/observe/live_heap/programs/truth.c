/* A program that knows the truth about each of its blocks and tells it: one line a block,
 * `ADDRESS KIND`, then READY.  KIND: d(efinite) i(ndirect) p(ossible) r(eachable).  Addresses are
 * kept with all bits turned, so that the log is no pointer.  argv[1]: blocks of a kind a thread;
 * argv[2]: "shared": few arenas; "walled": one, and the break can't go on; "signal": ends with
 * SIGTERM instead of waiting, for valgrind. */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { THREADS = 4, MOST = 400000 };
struct node {
    struct node *next;
    uint64_t fill[4];
};
static struct {
    uint64_t turned;
    char kind;
} told[MOST];
static int n_told;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int blocks;
/* roots; not static, so that the compiler keeps what nobody reads */
void *starts[THREADS][8000];
char *insides[THREADS][8000];
struct node *lists[THREADS];
__thread void *in_tls[16];
static pthread_barrier_t ready;

static void tell(void *block, char kind)
{
    pthread_mutex_lock(&lock);
    told[n_told].turned = ~(uint64_t)block;
    told[n_told++].kind = kind;
    pthread_mutex_unlock(&lock);
}

static void *fresh(size_t size, char kind)
{
    void *block = calloc(1, size);
    tell(block, kind);
    return block;
}

/* Wiped to its very end: what was freed there before may have left pointers. */
static void *aligned(size_t alignment, size_t size, char kind)
{
    void *block = memalign(alignment, size);
    memset(block, 0, malloc_usable_size(block));
    tell(block, kind);
    return block;
}

static size_t some_size(unsigned *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    unsigned r = *seed >> 8;
    return r % 16 == 0 ? 1000 + r % 20000 : 24 + r % 400;
}

static __attribute__((noinline)) void reachable(int me, unsigned *seed)
{
    for (int i = 0; i < blocks; i++)
        starts[me][i] = fresh(some_size(seed), 'r');
    for (int i = 0; i < blocks; i++) {
        struct node *n = fresh(sizeof *n, 'r');
        n->next = lists[me];
        lists[me] = n;
    }
    for (int i = 0; i < 16; i++)
        in_tls[i] = fresh(some_size(seed), 'r');
}

static __attribute__((noinline)) void possible(int me, unsigned *seed)
{
    for (int i = 0; i < blocks; i++) {
        struct node *outer = fresh(sizeof *outer, 'p');
        outer->next = fresh(some_size(seed), 'p'); /* found only through an inside pointer */
        insides[me][i] = (char *)outer + 8 + 8 * (i % 3);
    }
}

static __attribute__((noinline)) void lost(unsigned *seed)
{
    for (int i = 0; i < blocks; i++)
        fresh(some_size(seed), 'd');
    for (int i = 0; i < blocks / 4; i++) { /* a list whose head is lost */
        struct node *head = fresh(sizeof *head, 'd'), *at = head;
        for (int j = 0; j < i % 5; j++)
            at = at->next = fresh(sizeof *at, 'i');
        at->fill[1] = (uint64_t)fresh(some_size(seed), 'i') + 8; /* by its inside */
    }
    for (int i = 0; i < blocks / 4; i++) { /* a ring: the lowest address leads */
        struct node *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);
        a->next = b;
        b->next = a;
        tell(a < b ? a : b, 'd');
        tell(a < b ? b : a, 'i');
    }
}

static __attribute__((noinline)) void odd_ones(int me)
{
    void **keep = starts[me] + blocks;
    *keep++ = fresh(300000, 'r');
    *keep = fresh(400000, 'r');
    tell(*keep, 'x'); /* moved: forget the first line */
    *keep = realloc(*keep, 900000 + me);
    tell(*keep++, 'r');
    for (size_t alignment = 32; alignment <= 65536; alignment *= 2) {
        *keep++ = aligned(alignment, 250000, 'r');
        *keep++ = aligned(alignment, 100, 'r');
    }
    aligned(8192, 500000, 'd');
    fresh(700000, 'd');
    *keep++ = fresh(1, 'r');
}

/* Leaves free chunks of every sort behind: cached, on fastbins, in bins, between used ones. */
static __attribute__((noinline)) void churn(unsigned *seed)
{
    enum { HELD = 600 };
    void *held[HELD] = {0};
    for (int i = 0; i < 20000; i++) {
        *seed = *seed * 1664525 + 1013904223;
        int at = (*seed >> 8) % HELD;
        free(held[at]);
        held[at] = calloc(1, some_size(seed));
    }
    for (int i = 0; i < HELD; i++)
        free(held[i]);
    void *small[40];
    for (int i = 0; i < 40; i++)
        small[i] = calloc(1, 40);
    for (int i = 0; i < 40; i++)
        free(small[i]);
}

static __attribute__((noinline)) void wipe(void)
{
    volatile char old[65536];
    memset((char *)old, 0, sizeof old);
    /* copying leaves pointers in vector registers too */
    if (__builtin_cpu_supports("avx"))
        __asm__ volatile("vzeroall" ::: "memory");
    if (__builtin_cpu_supports("avx512f"))
        __asm__ volatile(
            ".irp n,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
            "vpxorq %%zmm\\n, %%zmm\\n, %%zmm\\n\n.endr" ::: "memory");
}

static void *body(void *number)
{
    int me = (int)(long)number;
    unsigned seed = 7 + me;
    churn(&seed);
    reachable(me, &seed);
    churn(&seed);
    possible(me, &seed);
    lost(&seed);
    odd_ones(me);
    void *volatile on_stack = fresh(5000, 'r');
    churn(&seed); /* last, so that fastbins stay filled */
    wipe();
    pthread_barrier_wait(&ready);
    pause();
    return on_stack;
}

static void forget_moved(void)
{
    for (int i = 0; i < n_told; i++)
        if (told[i].kind == 'x')
            for (int j = 0; j < i; j++)
                if (told[j].turned == told[i].turned)
                    told[j].kind = 'x';
}

int main(int argc, char **argv)
{
    blocks = argc > 1 ? atoi(argv[1]) : 100;
    if (argc > 2 && !strcmp(argv[2], "walled")) { /* one arena, and a page in the way of the break */
        char *wall = (char *)(((uintptr_t)sbrk(0) + 4095) & ~4095ul) + 300000 / 4096 * 4096;
        mallopt(M_ARENA_MAX, 1);
        if (mmap(wall, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != wall)
            return 1;
    } else if (argc > 2) {
        mallopt(M_ARENA_MAX, 3); /* threads share an arena */
    }
    pthread_t t;
    pthread_barrier_init(&ready, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++)
        pthread_create(&t, NULL, body, (void *)i);
    pthread_barrier_wait(&ready);
    forget_moved();
    char line[64];
    for (int i = 0; i < n_told; i++)
        if (told[i].kind != 'x') {
            int n = sprintf(line, "%lx %c\n", (unsigned long)~told[i].turned, told[i].kind);
            if (write(1, line, n) != n)
                return 1;
        }
    memset(line, 0, sizeof line);
    wipe();
    if (write(1, "READY\n", 6) != 6)
        return 1;
    if (argc > 2 && !strcmp(argv[2], "signal"))
        raise(SIGTERM);
    pause();
    return 0;
}
