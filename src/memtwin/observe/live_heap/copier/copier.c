/* copier.c: speaks with the asker, keeps the copy, and watches over its own death.
 *
 *     copier PID fork|copy [STAGE]
 *
 * Answers in lines on standard output: `error KIND DETAIL`, or for each thread
 * `thread TID REGISTERS VECTORS` (struct user_regs_struct and the xsave image, hexadecimal), then
 * `ready PID STOP_NS`: PID can be read through /proc until a line or the end comes on standard
 * input.  Then `released STOP_NS BURIED`.  With `copy` the target itself stands still meanwhile.
 * STAGE (a test's) is where the working process is killed.
 *
 * The first process only watches the second, which does the work: should that one be killed, a
 * dead copy may be left, and the first process has the target wait for it. */
#define _GNU_SOURCE
#include "copier.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIT_TRIES = 40, FIT_NAP_US = 2000, ORPHAN_TRIES = 500, LATE_TRIES = 10,
       ORPHAN_NAP_US = 10000 };

static int die_at = -1;
static pid_t copy_pid;
static uint64_t stop_began_ns, stop_ns;

void stage(enum stage now)
{
    if ((int)now == die_at)
        kill(getpid(), SIGKILL);
}

void fail(struct target *t, const char *kind, const char *format, ...)
{
    va_list rest;
    if (copy_pid > 0) {
        int status;
        kill(copy_pid, SIGKILL);
        wait_for(copy_pid, &status, 5000);
        bury(t, copy_pid);
    }
    release_all(t, NULL);
    printf("error %s ", kind);
    va_start(rest, format);
    vprintf(format, rest);
    va_end(rest);
    printf("\n");
    fflush(stdout);
    _exit(1);
}

static void print_hex(const void *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (const uint8_t *p = bytes; n--; p++) {
        putchar_unlocked(digits[*p >> 4]);
        putchar_unlocked(digits[*p & 15]);
    }
}

static void print_threads(const struct target *t, pid_t readable)
{
    for (int i = 0; i < t->n_threads; i++) {
        const struct thread *x = &t->threads[i];
        if (!x->regs.cs)
            continue; /* it had ended */
        printf("thread %d ", x->tid);
        print_hex(&x->regs, sizeof x->regs);
        putchar(' ');
        print_hex(x->xstate, x->xstate_bytes);
        putchar('\n');
    }
    printf("ready %d %llu\n", readable, (unsigned long long)stop_ns);
    fflush(stdout);
}

/* What forbids a new process inside the target; said before it is touched. */
static void check_forbidden(struct target *t)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", t->pid);
    FILE *status = fopen(path, "re");
    if (!status)
        fail(t, "gone", "%d", t->pid);
    while (fgets(line, sizeof line, status)) {
        if (!strncmp(line, "Seccomp:", 8) && atoi(line + 8))
            fail(t, "seccomp", "%d", atoi(line + 8));
        if (!strncmp(line, "x86_Thread_features:", 20) && strstr(line, "shstk"))
            fail(t, "shadow_stack", "1");
        if (!strncmp(line, "State:\t", 7) && (line[7] == 'T' || line[7] == 't'))
            fail(t, "standing", "%c", line[7]);
    }
    fclose(status);
}

/* The moment after the copy was made: it is tied to us, and all others may run. */
static void when_copied(struct target *t, struct thread *x)
{
    unsigned long child = 0;
    int status;
    ptrace(PTRACE_GETEVENTMSG, x->tid, 0, &child);
    copy_pid = (pid_t)child;
    if (!wait_for(copy_pid, &status, 5000) && WIFSTOPPED(status))
        ptrace(PTRACE_SETOPTIONS, copy_pid, 0, PTRACE_O_EXITKILL);
    stage(ST_COPY_TIED);
    release_all(t, x);
    stage(ST_OTHERS_RUN);
}

static struct thread *choose(struct target *t)
{
    struct thread *second = NULL;
    for (int i = 0; i < t->n_threads; i++) {
        struct thread *x = &t->threads[i];
        if (!fit_for_injection(t, x))
            continue;
        if ((long long)x->regs.rax != -516) /* a call with a remembered rest of time */
            return x;
        second = x;
    }
    return second;
}

static void make_copy(struct target *t)
{
    check_forbidden(t);
    if (find_gadgets(t))
        fail(t, "no_code", "%d", t->pid);
    struct thread *x = NULL;
    for (int try = 0; try < FIT_TRIES && !x; try++) {
        stop_began_ns = now_ns();
        stop_all(t);
        stage(ST_STOPPED);
        x = choose(t);
        if (!x) {
            release_all(t, NULL);
            usleep(FIT_NAP_US);
        }
    }
    if (!x)
        fail(t, "unfit", "%d", t->n_threads);
    pid_t copy = fork_copy(t, x, when_copied);
    int error = errno;
    release_all(t, NULL);
    stop_ns = now_ns() - stop_began_ns;
    stage(ST_RELEASED);
    if (copy < 0)
        fail(t, "clone", "%d %s", error, strerror(error));
}

static void hold(void)
{
    char byte;
    while (read(STDIN_FILENO, &byte, 1) < 0 && errno == EINTR)
        ;
}

static int work(struct target *t, int forked)
{
    if (forked) {
        make_copy(t);
        print_threads(t, copy_pid);
    } else {
        stop_began_ns = now_ns();
        stop_all(t);
        stage(ST_STOPPED);
        print_threads(t, t->pid);
    }
    stage(ST_HELD);
    hold();
    int buried = 1;
    if (forked) {
        int status;
        kill(copy_pid, SIGKILL);
        wait_for(copy_pid, &status, 5000);
        stage(ST_COPY_KILLED);
        buried = !bury(t, copy_pid);
    } else {
        release_all(t, NULL);
        stop_ns = now_ns() - stop_began_ns;
    }
    printf("released %llu %d\n", (unsigned long long)stop_ns, buried);
    fflush(stdout);
    return 0;
}

/* The worker was killed: what it left behind is cleared away. */
static void clear_away(struct target *t, uint64_t began_ticks)
{
    char state = 0;
    /* a thread that was on its way into the call may still make the copy */
    for (int try = 0; try < ORPHAN_TRIES && (state || try < LATE_TRIES); try++) {
        state = 0;
        pid_t orphan = find_orphan(t->pid, began_ticks, &state);
        if (state == 'Z') {
            if (!find_gadgets(t))
                bury(t, orphan);
            return;
        }
        usleep(ORPHAN_NAP_US);
    }
}

int main(int argc, char **argv)
{
    static struct thread threads[MAX_THREADS];
    struct target t = {.mem_fd = -1, .threads = threads};
    sigset_t all;
    char path[64];
    if (argc < 3 || (t.pid = atoi(argv[1])) <= 0)
        return 2;
    /* only SIGKILL ends us: everything else would end the work between two steps */
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    setsid();
    setpriority(PRIO_PROCESS, 0, -20); /* the target waits for us; without the right to, as is */
    uint64_t began_ticks = ticks_now();
    snprintf(path, sizeof path, "/proc/%d/mem", t.pid);
    t.mem_fd = open(path, O_RDWR | O_CLOEXEC);
    if (t.mem_fd < 0)
        fail(&t, errno == ENOENT ? "gone" : "permission", "%d %s", errno, strerror(errno));
    pid_t worker = fork();
    if (worker < 0)
        fail(&t, "fork", "%s", strerror(errno));
    if (worker == 0) {
        die_at = argc > 3 ? atoi(argv[3]) : -1;
        stage(ST_START);
        _exit(work(&t, !strcmp(argv[2], "fork")));
    }
    int status;
    close(STDIN_FILENO); /* its end is for the worker alone to see */
    while (waitpid(worker, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFSIGNALED(status)) {
        clear_away(&t, began_ticks);
        return 3;
    }
    return WEXITSTATUS(status);
}
