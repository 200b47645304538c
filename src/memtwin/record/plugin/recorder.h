/* recorder.h: what the files of the plugin share.  One process writes into one block file
 * together with its relatives: every thread owns a 64 KiB slot at a time, taken from a shared
 * counter, mapped shared, so that what was written outlives the process, however it dies.
 * docs/data/trace.md describes the layout; record/part.py reads it. */
#ifndef MEMTWIN_RECORDER_H
#define MEMTWIN_RECORDER_H
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

enum { PAGE_SHIFT = 12, PAGE_BYTES = 1 << PAGE_SHIFT };
enum { SLOT_BYTES = 1 << 16, HEADER_BYTES = 1 << 16, CONTROL_BYTES = 4096 };
#define SLOT_MAGIC 0x544c5354u /* "TSLT" */
enum { SLOT_OPEN = 1, SLOT_CLOSED = 2 };

enum op {
    OP_FETCH = 0, OP_LOAD = 1, OP_STORE = 2,
    OP_MAP = 10, OP_UNMAP, OP_PROTECT, OP_REMAP, OP_BRK, OP_MADVISE, OP_MLOCK, OP_MUNLOCK,
    OP_MSYNC,
    OP_OPEN = 30, OP_CLOSE, OP_DUP, OP_READ, OP_WRITE, OP_FSYNC, OP_FADVISE, OP_TRUNCATE,
    OP_FALLOCATE, OP_UNLINK,
    OP_CLONE = 50, OP_EXEC, OP_EXIT,
    /* only in the block file: digested by the converter */
    OP_FILE = 200, OP_STRING, OP_FORKED, OP_WAITED, OP_LEFT, OP_LEFT_UNDONE
};

struct control { /* start of the file; made by the recorder, shared by every process */
    char magic[8];
    uint32_t version, slot_bytes;
    uint64_t first_slot_bytes;
    _Atomic uint64_t next_slot;
    _Atomic uint32_t stop;  /* 1: the recording is over, write nothing more */
    _Atomic uint32_t error; /* errno of the first failed allocation of a slot */
    _Atomic uint64_t lost_slots;
};

struct slot { /* 128 bytes; touches follow upwards, events grow down from the slot's end */
    uint32_t magic, state, crc, seq;
    uint32_t pid, tid, ppid, image;
    uint64_t birth_ns, parent_birth_ns; /* (pid, birth_ns) names a process for good */
    uint64_t t0_ns, insns0, insns, refs;
    uint32_t n_touches, n_events;
    uint8_t pad[40];
};

struct touch {
    uint64_t vpn_kind; /* vpn << 2 | kind */
    uint32_t insns, time_ns; /* since the slot's insns0, t0_ns */
};

struct event { /* 56 bytes */
    uint8_t op, strings; /* `strings` records of OP_STRING follow */
    uint16_t kind;
    uint32_t at_touch; /* how many touches of this slot came before */
    uint32_t insns, time_ns;
    int64_t v[5];
};

struct entry { /* the filter: when was this page last recorded, by kind */
    uint64_t vpn, seen[3];
};

struct call { /* a system call between its two callbacks */
    int64_t num;
    int name;
    uint64_t arg[6];
    uint64_t t_ns;
    int locked;
    int file; /* file id looked up on the way in, or -1 */
    int64_t value;
};

enum { TABLE_BITS = 14, TABLE_ENTRIES = 1 << TABLE_BITS };
struct thread {
    uint64_t refs, insns;
    uint64_t last_vpn[3], last_until[3];
    uint64_t floor; /* records made at or before this many refs no longer count */
    uint32_t generation;
    uint32_t tid, seq;
    struct entry *table;
    struct slot *slot;
    struct call call;
    struct thread *next;
};

struct process {
    uint32_t pid, ppid, image;
    uint64_t birth_ns, parent_birth_ns;
    uint64_t window_refs;
    int threads;
    struct control *control;
    char *part_path, *plugin_path, *qemu_path, *cpu_model;
    char target[32];
    uint64_t brk;
    dev_t part_dev;
    ino_t part_ino;
};
extern struct process proc;
extern __thread struct thread *me __attribute__((tls_model("initial-exec")));
extern volatile uint32_t map_generation;

/* stream.c */
uint64_t now_ns(void);
struct thread *thread_begin(void);
void thread_end(struct thread *);
void slot_close(struct thread *);
void slot_reserve(struct thread *, uint64_t t_ns);
void put_touch(struct thread *, uint64_t vpn, int kind);
struct event *put_event(struct thread *, int op, uint64_t t_ns, int64_t a, int64_t b, int64_t c,
                        int64_t d, int64_t e);
struct event *put_text(struct thread *, int op, uint64_t t_ns, const char *text, int64_t a,
                       int64_t b, int64_t c, int64_t d, int64_t e);
int stream_open(void);
void after_fork_in_child(void);

/* filter (recorder.c) */
void forget_range(struct thread *, uint64_t addr, uint64_t length_bytes);
void forget_all(struct thread *);

/* files.c */
int file_of_fd(struct thread *, int fd);
int file_of_path(struct thread *, int dirfd, const char *path, int follow);
void files_reset(void);
void record_open_fds(struct thread *);

/* guest.c */
int guest_copy(void *to, uint64_t guest_addr, size_t n_bytes);
char *guest_string(uint64_t guest_addr);
void record_image(struct thread *);

/* exec.c */
void follow_exec(struct thread *, int dirfd, uint64_t path, uint64_t argv, uint64_t envp,
                 int flags);

/* syscalls.c */
void on_syscall(uint64_t id, unsigned vcpu, int64_t num, uint64_t a1, uint64_t a2, uint64_t a3,
                uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8);
void on_syscall_return(uint64_t id, unsigned vcpu, int64_t num, int64_t ret);
int syscalls_choose(const char *target);
void map_lock_reset(void);

#endif
