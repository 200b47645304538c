/* threads.c: stops threads by PTRACE_SEIZE and PTRACE_INTERRUPT and lets them go.  A seized thread
 * runs on by itself when its tracer dies, whatever the moment. */
#define _GNU_SOURCE
#include "copier.h"
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NAP_NS = 2000000, STOP_TIMEOUT_MS = 3000 };

/* Calls that the kernel ends with EINTR when a thread is stopped though no signal came: they may
 * be done again (signal(7), "Interruption of system calls and library functions by stop
 * signals").  connect and close are not among them: doing those twice means something else. */
static const long again_after_stop[] = {
    0 /* read: inotify */, 43 /* accept */, 45 /* recvfrom */, 47 /* recvmsg */, 65 /* semop */,
    128 /* rt_sigtimedwait */, 208 /* io_getevents */, 220 /* semtimedop */, 232 /* epoll_wait */,
    281 /* epoll_pwait */, 288 /* accept4 */, 299 /* recvmmsg */, 333 /* io_pgetevents */,
    441 /* epoll_pwait2 */,
};
enum { KERNEL_ERESTARTNOHAND = 514 }; /* include/linux/errno.h ERESTARTNOHAND, v6.12 */

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int wait_for(pid_t tid, int *status, unsigned timeout_ms)
{
    uint64_t began = now_ns();
    sigset_t change;
    sigemptyset(&change);
    sigaddset(&change, SIGCHLD); /* blocked, so it is kept until asked for */
    for (;;) {
        pid_t got = waitpid(tid, status, __WALL | WNOHANG);
        if (got == tid)
            return 0;
        if (got < 0 && errno != EINTR)
            return -1;
        if (now_ns() - began > (uint64_t)timeout_ms * 1000000u)
            return -1;
        sigtimedwait(&change, NULL, &(struct timespec){0, NAP_NS});
    }
}

char task_state(pid_t pid, pid_t tid)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return 0;
    text[n] = 0;
    char *end = strrchr(text, ')');
    return end && end[1] ? end[2] : 0;
}

void read_registers(struct thread *x)
{
    if (!x->xstate)
        x->xstate = malloc(XSTATE_BYTES);
    struct iovec general = {&x->regs, sizeof x->regs};
    ptrace(PTRACE_GETREGSET, x->tid, (void *)NT_PRSTATUS, &general);
    struct iovec vectors = {x->xstate, XSTATE_BYTES};
    x->xstate_bytes = 0;
    if (x->xstate && !ptrace(PTRACE_GETREGSET, x->tid, (void *)NT_X86_XSTATE, &vectors))
        x->xstate_bytes = vectors.iov_len;
    ptrace(PTRACE_GETSIGMASK, x->tid, (void *)sizeof x->sigmask, &x->sigmask);
}

/* A thread that would see EINTR because of us is told to begin its call again. */
static void begin_again(struct thread *x)
{
    if ((long long)x->regs.rax != -EINTR)
        return;
    for (size_t i = 0; i < sizeof again_after_stop / sizeof *again_after_stop; i++)
        if ((long)x->regs.orig_rax == again_after_stop[i]) {
            x->regs.rax = (unsigned long long)-KERNEL_ERESTARTNOHAND;
            struct iovec general = {&x->regs, sizeof x->regs};
            ptrace(PTRACE_SETREGSET, x->tid, (void *)NT_PRSTATUS, &general);
            return;
        }
}

int stop_thread(struct target *t, struct thread *x)
{
    (void)t;
    int status;
    x->stopped = 0;
    if (ptrace(PTRACE_SEIZE, x->tid, 0, 0))
        return errno == ESRCH ? 1 : -errno;
    stage(ST_SEIZED);
    if (ptrace(PTRACE_INTERRUPT, x->tid, 0, 0))
        return errno == ESRCH ? 1 : -errno;
    for (;;) {
        if (wait_for(x->tid, &status, STOP_TIMEOUT_MS))
            return -ETIMEDOUT;
        if (!WIFSTOPPED(status))
            return 1; /* it ended */
        if (status >> 16 == PTRACE_EVENT_STOP)
            break;
        /* a signal on its way: hand it on, the interruption comes after it */
        ptrace(PTRACE_CONT, x->tid, 0, (void *)(long)WSTOPSIG(status));
    }
    x->stopped = 1;
    read_registers(x);
    begin_again(x);
    return 0;
}

static int known(const struct target *t, pid_t tid)
{
    for (int i = 0; i < t->n_threads; i++)
        if (t->threads[i].tid == tid)
            return 1;
    return 0;
}

/* One pass over the target's threads; the number of threads that were new. */
static int stop_new(struct target *t)
{
    char path[64];
    int fresh = 0;
    snprintf(path, sizeof path, "/proc/%d/task", t->pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        fail(t, "gone", "%d", t->pid);
    for (struct dirent *e; (e = readdir(tasks));) {
        pid_t tid = atoi(e->d_name);
        if (tid <= 0 || known(t, tid))
            continue;
        if (t->n_threads == MAX_THREADS) {
            closedir(tasks);
            fail(t, "threads", "%d", MAX_THREADS);
        }
        struct thread *x = &t->threads[t->n_threads++];
        x->tid = tid;
        char state = task_state(t->pid, tid);
        if (state == 'Z' || state == 'X')
            continue; /* a main thread that ended before the others */
        int error = stop_thread(t, x);
        if (error == -ETIMEDOUT) {
            closedir(tasks);
            fail(t, "stuck", "%d %c", tid, task_state(t->pid, tid) ?: '?');
        }
        if (error < 0) {
            closedir(tasks);
            fail(t, "permission", "%d %s", -error, strerror(-error));
        }
        fresh++;
    }
    closedir(tasks);
    return fresh;
}

void stop_all(struct target *t)
{
    t->n_threads = 0;
    /* whoever still runs may start another thread, so until a pass finds none */
    while (stop_new(t))
        ;
    for (int i = 0; i < t->n_threads; i++)
        if (t->threads[i].stopped)
            return;
    fail(t, "gone", "%d", t->pid);
}

void release(struct thread *x)
{
    if (x->stopped)
        ptrace(PTRACE_DETACH, x->tid, 0, 0);
    x->stopped = 0;
}

void release_all(struct target *t, const struct thread *except)
{
    for (int i = 0; i < t->n_threads; i++)
        if (&t->threads[i] != except)
            release(&t->threads[i]);
}
