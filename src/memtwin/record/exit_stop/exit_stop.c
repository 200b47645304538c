/* Runs a program and stops it where it ends, its memory still whole, until somebody has looked.
 *
 *     exit_stop TELL_FD ASK_FD PROGRAM ARGUMENTS
 *
 * At the end of the process (exit_group, its last thread's exit, or a fatal signal) all threads
 * stand in PTRACE_EVENT_EXIT, and TELL_FD gets a line for each, `thread TID REGISTERS XSTATE` in
 * hexadecimal, then `ready PID 0`. It goes on when ASK_FD gives a line or is closed. Signals that
 * are sent to us are the program's; we end as it ends. If we are killed, so is it
 * (PTRACE_O_EXITKILL). Only the process itself is looked at: what it forks runs alone. Built
 * statically, so that nothing is preloaded into us. */
#define _GNU_SOURCE
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_THREADS = 8192, XSTATE_BYTES = 16384, GATHER_MS = 5000 };
static pid_t at_exit[MOST_THREADS]; /* threads that stand at their end */
static int n_at_exit, looked;
static volatile pid_t child;

static void forward(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (info->si_code <= 0 && child > 0) /* not the terminal's, which the program got too */
        kill(child, number);
}

static int stands(pid_t tid)
{
    for (int i = 0; i < n_at_exit; i++)
        if (at_exit[i] == tid)
            return 1;
    return 0;
}

static void note(pid_t tid)
{
    if (n_at_exit < MOST_THREADS && !stands(tid))
        at_exit[n_at_exit++] = tid;
}

static void forget(pid_t tid)
{
    for (int i = 0; i < n_at_exit; i++)
        if (at_exit[i] == tid)
            at_exit[i--] = at_exit[--n_at_exit];
}

/* Threads that neither stand at their end nor are past it. */
static int running_threads(void)
{
    char path[64], line[512];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/task", child);
    DIR *tasks = opendir(path);
    for (struct dirent *e; tasks && (e = readdir(tasks));) {
        pid_t tid = atoi(e->d_name);
        if (tid <= 0 || stands(tid))
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%d/stat", child, tid);
        FILE *stat = fopen(path, "re");
        char *close = stat && fgets(line, sizeof line, stat) ? strrchr(line, ')') : NULL;
        if (stat)
            fclose(stat);
        count += close && close[1] && close[2] != 'Z' && close[2] != 'X';
    }
    if (tasks)
        closedir(tasks);
    return count;
}

/* Whether the process ends with the thread that stands at its end. */
static int is_the_end(pid_t tid)
{
    unsigned long message = 0;
    struct user_regs_struct regs;
    if (!ptrace(PTRACE_GETEVENTMSG, tid, 0, &message) && (message & 0x7f))
        return 1; /* a fatal signal */
    if (ptrace(PTRACE_GETREGS, tid, 0, &regs) || regs.orig_rax != SYS_exit)
        return 1; /* exit_group, its own or another thread's */
    note(tid);
    int last = running_threads() == 0;
    forget(tid);
    return last;
}

static void print_hex(FILE *to, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        fprintf(to, "%02x", ((const unsigned char *)bytes)[i]);
}

static void tell(FILE *to)
{
    static unsigned char xstate[XSTATE_BYTES];
    for (int i = 0; i < n_at_exit; i++) {
        struct user_regs_struct regs;
        struct iovec vector = {xstate, sizeof xstate};
        if (ptrace(PTRACE_GETREGS, at_exit[i], 0, &regs))
            continue;
        if (ptrace(PTRACE_GETREGSET, at_exit[i], NT_X86_XSTATE, &vector))
            vector.iov_len = 0;
        fprintf(to, "thread %d ", at_exit[i]);
        print_hex(to, &regs, sizeof regs);
        fputc(' ', to);
        print_hex(to, xstate, vector.iov_len);
        fputc('\n', to);
    }
    fprintf(to, "ready %d 0\n", child);
    fflush(to);
}

static void go_on(pid_t tid, int status)
{
    int number = WSTOPSIG(status), event = status >> 16;
    if (event == PTRACE_EVENT_STOP && number != SIGTRAP) /* stopped as a job */
        ptrace(PTRACE_LISTEN, tid, 0, 0);
    else
        ptrace(PTRACE_CONT, tid, 0, event ? 0 : number);
}

/* The others come to their ends too: each is taken there. */
static void gather(void)
{
    for (int ms = 0; ms < GATHER_MS && running_threads(); ms++) {
        int status;
        pid_t tid;
        while ((tid = waitpid(-1, &status, __WALL | WNOHANG)) > 0) {
            if (!WIFSTOPPED(status))
                continue;
            if (status >> 16 == PTRACE_EVENT_EXIT)
                note(tid);
            else
                ptrace(PTRACE_CONT, tid, 0, 0);
        }
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
}

static void look(FILE *told, int ask)
{
    char answer;
    gather();
    tell(told);
    while (read(ask, &answer, 1) < 0 && errno == EINTR)
        ;
    looked = 1;
    while (n_at_exit)
        ptrace(PTRACE_CONT, at_exit[--n_at_exit], 0, 0);
}

static int watch(FILE *told, int ask)
{
    int status, ended = 0;
    pid_t tid;
    while ((tid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
        if (tid <= 0)
            continue;
        if (!WIFSTOPPED(status)) {
            if (tid == child)
                ended = status;
        } else if (status >> 16 == PTRACE_EVENT_EXIT && !looked && is_the_end(tid)) {
            note(tid);
            look(told, ask);
        } else {
            go_on(tid, status);
        }
    }
    return ended;
}

static void end_as(int status)
{
    if (WIFSIGNALED(status)) {
        sigset_t all;
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* one core, the program's, is enough */
        sigfillset(&all);
        sigprocmask(SIG_UNBLOCK, &all, NULL);
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
    }
    _exit(WEXITSTATUS(status));
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 127;
    int tell_fd = atoi(argv[1]), ask = atoi(argv[2]), start[2];
    fcntl(tell_fd, F_SETFD, FD_CLOEXEC);
    fcntl(ask, F_SETFD, FD_CLOEXEC);
    FILE *told = fdopen(tell_fd, "w");
    if (!told || pipe2(start, O_CLOEXEC))
        return 127;
    child = fork();
    if (child == 0) {
        char c;
        close(start[1]);
        if (read(start[0], &c, 1) == 1)
            execvp(argv[3], argv + 3);
        _exit(127);
    }
    struct sigaction act = {.sa_sigaction = forward, .sa_flags = SA_SIGINFO | SA_RESTART};
    for (int number = 1; number < SIGRTMIN; number++)
        if (number == SIGINT || number == SIGTERM || number == SIGHUP || number == SIGQUIT)
            sigaction(number, &act, NULL);
    long options = PTRACE_O_TRACEEXIT | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;
    options |= PTRACE_O_EXITKILL;
    if (child < 0 || ptrace(PTRACE_SEIZE, child, 0, options)) {
        fprintf(told, "error trace %d\n", errno);
        fflush(told);
    }
    if (write(start[1], "", 1) != 1)
        return 127;
    close(start[1]);
    end_as(watch(told, ask));
}
