/* copier.h: what the parts of the copier share.  The copier stops a program, makes it fork one
 * frozen copy of itself and lets it run on, so that whoever started the copier can read the copy
 * at leisure.  threads.c stops and lets go, injection.c makes a thread do a system call, fork.c
 * makes and buries the copy, copier.c speaks with the asker. */
#ifndef COPIER_H
#define COPIER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

enum { MAX_THREADS = 4096, XSTATE_BYTES = 16384 };

/* The stages at which a test lets the copier be killed; in the order in which they are passed. */
enum stage {
    ST_START, ST_SEIZED, ST_STOPPED, ST_FRAME_WRITTEN, ST_REGISTERS_SET, ST_SIGNALS_BLOCKED,
    ST_CALL_ENTERED, ST_COPIED, ST_COPY_TIED, ST_OTHERS_RUN, ST_CALL_LEFT, ST_SIGNALS_RESTORED,
    ST_REGISTERS_RESTORED, ST_RELEASED, ST_HELD, ST_COPY_KILLED, ST_REAPING, ST_REAPED, ST_STAGES
};

struct thread {
    pid_t tid;
    int stopped;
    struct user_regs_struct regs;
    uint64_t sigmask;
    size_t xstate_bytes; /* 0: could not be read */
    uint8_t *xstate;
};

struct target {
    pid_t pid;
    int mem_fd; /* /proc/PID/mem */
    uint64_t syscall_ret; /* address of `syscall; ret` in the target */
    uint64_t pop_rax_ret;
    int n_threads;
    struct thread *threads;
};

/* What is wrong, for the asker: a word and its detail.  Never returns; lets go of everything. */
_Noreturn void fail(struct target *t, const char *kind, const char *format, ...);

void stage(enum stage now);
uint64_t now_ns(void);

/* threads.c */
int wait_for(pid_t tid, int *status, unsigned timeout_ms); /* 0: changed; -1: not in time */
int stop_thread(struct target *t, struct thread *x); /* 0, -errno, or 1: it is gone */
void stop_all(struct target *t);
void release(struct thread *x);
void release_all(struct target *t, const struct thread *except);
void read_registers(struct thread *x);
char task_state(pid_t pid, pid_t tid);

/* injection.c */
enum { SELF_EXITING_CHILD = 1 };
struct injected {
    long result; /* of the system call */
    pid_t child; /* of a clone */
};
int find_gadgets(struct target *t);
int fit_for_injection(struct target *t, struct thread *x);
int inject(struct target *t, struct thread *x, long number, const uint64_t args[6],
           void (*copied)(struct target *, struct thread *), struct injected *out);

/* fork.c */
pid_t fork_copy(struct target *t, struct thread *x,
                void (*copied)(struct target *, struct thread *));
int bury(struct target *t, pid_t child); /* reap a zombie of the target's; 0 or -1 */
pid_t find_orphan(pid_t target, uint64_t born_after_ticks, char *state);
uint64_t ticks_now(void);

#endif
