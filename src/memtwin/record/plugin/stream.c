/* stream.c: owns the slots of the block file: takes, fills, seals them; threads come and go
 * here, and a forked child is made a process of its own.  Knows nothing of system calls. */
#define _GNU_SOURCE
#include "recorder.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct process proc;
__thread struct thread *me;
volatile uint32_t map_generation;

static pthread_mutex_t threads_lock = PTHREAD_MUTEX_INITIALIZER;
static struct thread *threads;
static uint32_t crc_table[4][256];

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* CRC-32 (the reflected polynomial of zlib and PNG), four bytes a step. */
static void crc_prepare(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = (c >> 1) ^ (0xedb88320u & -(c & 1));
        crc_table[0][i] = c;
    }
    for (int k = 1; k < 4; k++)
        for (uint32_t i = 0; i < 256; i++)
            crc_table[k][i] =
                (crc_table[k - 1][i] >> 8) ^ crc_table[0][crc_table[k - 1][i] & 255];
}

static uint32_t crc_of(const uint8_t *p, size_t n)
{
    uint32_t c = ~0u;
    for (; n >= 4; n -= 4, p += 4) {
        uint32_t w;
        memcpy(&w, p, 4);
        w ^= c;
        c = crc_table[3][w & 255] ^ crc_table[2][w >> 8 & 255] ^ crc_table[1][w >> 16 & 255] ^
            crc_table[0][w >> 24];
    }
    for (; n; n--, p++)
        c = (c >> 8) ^ crc_table[0][(c ^ *p) & 255];
    return ~c;
}

static struct event *event_at(struct slot *s, uint32_t i)
{
    return (struct event *)((char *)s + SLOT_BYTES) - (i + 1);
}

static struct touch *touch_at(struct slot *s, uint32_t i)
{
    return (struct touch *)(s + 1) + i;
}

/* The checksum covers the slot's header from `seq` on, the touches and the events. */
void slot_close(struct thread *t)
{
    struct slot *s = t->slot;
    if (!s)
        return;
    s->insns = t->insns;
    s->refs = t->refs;
    const size_t skip = offsetof(struct slot, seq);
    s->crc = crc_of((uint8_t *)s + skip, SLOT_BYTES - skip);
    atomic_thread_fence(memory_order_release);
    s->state = SLOT_CLOSED;
    munmap(s, SLOT_BYTES);
    t->slot = NULL;
}

/* A place that nobody reads: after the end of the recording, or when a slot can't be had. */
static struct slot *deaf_slot(void)
{
    void *p = mmap(NULL, SLOT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        _exit(125);
    return p;
}

static struct slot *file_slot(void)
{
    struct control *c = proc.control;
    if (atomic_load(&c->stop))
        return NULL;
    if (atomic_load(&c->error))
        _exit(125);
    /* Opened for each slot and by name: a descriptor kept open would be seen, closed or
     * overwritten by the program, which shares the table. */
    int fd = open(proc.part_path, O_RDWR | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) || st.st_ino != proc.part_ino || st.st_dev != proc.part_dev) {
        if (fd >= 0)
            close(fd);
        atomic_fetch_add(&c->lost_slots, 1);
        return NULL;
    }
    uint64_t i = atomic_fetch_add(&c->next_slot, 1);
    off_t at = (off_t)(c->first_slot_bytes + i * SLOT_BYTES);
    int rc = posix_fallocate(fd, at, SLOT_BYTES);
    void *p = MAP_FAILED;
    if (rc == 0) {
        p = mmap(NULL, SLOT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);
        rc = p == MAP_FAILED ? errno : 0;
    }
    close(fd);
    if (rc) { /* the disk is full: the recorder says so; going on would record nothing */
        atomic_store(&c->error, (uint32_t)rc);
        _exit(125);
    }
    return p;
}

static void slot_take(struct thread *t)
{
    struct slot *s = file_slot();
    if (!s)
        s = deaf_slot();
    s->seq = t->seq++;
    s->pid = proc.pid;
    s->tid = t->tid;
    s->ppid = proc.ppid;
    s->image = proc.image;
    s->birth_ns = proc.birth_ns;
    s->parent_birth_ns = proc.parent_birth_ns;
    s->t0_ns = now_ns();
    s->insns0 = s->insns = t->insns;
    s->refs = t->refs;
    s->magic = SLOT_MAGIC;
    atomic_thread_fence(memory_order_release);
    s->state = SLOT_OPEN;
    t->slot = s;
}

/* A slot with room for `bytes` more, and with deltas from the slot's start that fit 32 bits. */
static struct slot *slot_with_room(struct thread *t, size_t bytes, uint64_t t_ns)
{
    struct slot *s = t->slot;
    if (LIKELY(s != NULL)) {
        size_t used = sizeof *s + s->n_touches * sizeof(struct touch) +
                      s->n_events * sizeof(struct event);
        if (LIKELY(used + bytes <= SLOT_BYTES && t_ns - s->t0_ns < UINT32_MAX &&
                   t->insns - s->insns0 < UINT32_MAX))
            return s;
        slot_close(t);
    }
    slot_take(t);
    return t->slot;
}

/* The next event will go into a slot that began before now. */
void slot_reserve(struct thread *t, uint64_t t_ns)
{
    slot_with_room(t, 4 * sizeof(struct event), t_ns);
}

void put_touch(struct thread *t, uint64_t vpn, int kind)
{
    uint64_t t_ns = now_ns();
    struct slot *s = slot_with_room(t, sizeof(struct touch), t_ns);
    struct touch *r = touch_at(s, s->n_touches);
    r->vpn_kind = vpn << 2 | (unsigned)kind;
    r->insns = (uint32_t)(t->insns - s->insns0);
    r->time_ns = t_ns > s->t0_ns ? (uint32_t)(t_ns - s->t0_ns) : 0;
    atomic_thread_fence(memory_order_release);
    s->n_touches++;
    s->insns = t->insns;
    s->refs = t->refs;
}

static struct event *fill_event(struct thread *t, uint32_t index, int op, uint64_t t_ns)
{
    struct slot *s = t->slot;
    struct event *r = event_at(s, index);
    r->op = (uint8_t)op;
    r->at_touch = s->n_touches;
    r->insns = (uint32_t)(t->insns - s->insns0);
    r->time_ns = t_ns > s->t0_ns ? (uint32_t)(t_ns - s->t0_ns) : 0;
    return r;
}

/* An event and the text that belongs to it become visible together. */
struct event *put_text(struct thread *t, int op, uint64_t t_ns, const char *text, int64_t a,
                       int64_t b, int64_t c, int64_t d, int64_t e)
{
    size_t length = strlen(text), n = (length + 39) / 40;
    if (n > 255) {
        n = 255;
        length = 255 * 40;
    }
    struct slot *s = slot_with_room(t, (n + 1) * sizeof(struct event), t_ns);
    struct event *r = fill_event(t, s->n_events, op, t_ns);
    const int64_t v[5] = {a, b, c, d, e};
    memcpy(r->v, v, sizeof v);
    r->strings = (uint8_t)n;
    for (size_t i = 0; i < n; i++) {
        struct event *part = fill_event(t, s->n_events + 1 + (uint32_t)i, OP_STRING, t_ns);
        memcpy(part->v, text + 40 * i, length - 40 * i < 40 ? length - 40 * i : 40);
    }
    atomic_thread_fence(memory_order_release);
    s->n_events += 1 + (uint32_t)n;
    s->insns = t->insns;
    s->refs = t->refs;
    return r;
}

struct event *put_event(struct thread *t, int op, uint64_t t_ns, int64_t a, int64_t b, int64_t c,
                        int64_t d, int64_t e)
{
    return put_text(t, op, t_ns, "", a, b, c, d, e);
}

struct thread *thread_begin(void)
{
    struct thread *t = calloc(1, sizeof *t);
    struct entry *table = calloc(TABLE_ENTRIES, sizeof *table);
    if (!t || !table)
        _exit(125);
    t->table = table;
    t->tid = (uint32_t)syscall(SYS_gettid);
    t->generation = map_generation;
    t->call.name = -1;
    for (int k = 0; k < 3; k++)
        t->last_vpn[k] = ~0ull;
    pthread_mutex_lock(&threads_lock);
    t->next = threads;
    threads = t;
    proc.threads++;
    pthread_mutex_unlock(&threads_lock);
    me = t;
    return t;
}

void thread_end(struct thread *t)
{
    slot_close(t);
    pthread_mutex_lock(&threads_lock);
    for (struct thread **p = &threads; *p; p = &(*p)->next)
        if (*p == t) {
            *p = t->next;
            break;
        }
    proc.threads--;
    pthread_mutex_unlock(&threads_lock);
    free(t->table);
    free(t);
    me = NULL;
}

/* Runs in the child inside fork(), before any of the program's own instructions. */
void after_fork_in_child(void)
{
    pthread_mutex_init(&threads_lock, NULL);
    proc.ppid = proc.pid;
    proc.parent_birth_ns = proc.birth_ns;
    proc.pid = (uint32_t)getpid();
    proc.birth_ns = now_ns();
    proc.image = 0;
    for (struct thread *t = threads; t; t = t->next) {
        if (t->slot)
            munmap(t->slot, SLOT_BYTES); /* the parent goes on writing it */
        t->slot = NULL;
    }
    files_reset();
    map_lock_reset();
    threads = me;
    proc.threads = me != NULL;
    if (!me)
        return;
    me->next = NULL;
    me->tid = (uint32_t)syscall(SYS_gettid);
    me->insns = 0;
    me->seq = 0;
    forget_all(me);
    put_event(me, OP_FORKED, proc.birth_ns, proc.ppid, (int64_t)proc.parent_birth_ns, 0, 0, 0);
}

int stream_open(void)
{
    crc_prepare();
    int fd = open(proc.part_path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -1;
    struct stat st;
    void *p = fstat(fd, &st) ? MAP_FAILED
                             : mmap(NULL, CONTROL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p == MAP_FAILED)
        return -1;
    proc.part_dev = st.st_dev;
    proc.part_ino = st.st_ino;
    proc.control = p;
    return pthread_atfork(NULL, NULL, after_fork_in_child);
}
