/* fork.c: makes the frozen copy and buries it.
 *
 * The copy is a child of the target without an exit signal, so that no SIGCHLD comes and the
 * target's own wait() does not see it.  It is tied to the copier (PTRACE_O_EXITKILL) as soon as
 * it exists; should the copier die before, the copy's first instructions are exit_group.  It
 * shares the table of open files, so that no pipe or socket stays open because of it.  Dead, it
 * stays a zombie until its parent has waited for it: a second injected call does that. */
#define _GNU_SOURCE
#include "copier.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COPY_TIMEOUT_MS = 5000 };

pid_t fork_copy(struct target *t, struct thread *x,
                void (*copied)(struct target *, struct thread *))
{
    const uint64_t args[6] = {CLONE_FILES, SELF_EXITING_CHILD};
    struct injected done;
    int error = inject(t, x, SYS_clone, args, copied, &done);
    if (done.child > 0)
        return done.child;
    errno = !error && done.result < 0 ? (int)-done.result : EIO;
    return -1;
}

/* The fields of /proc/PID/stat that are asked for; 0 when it can't be read. */
struct stat_fields {
    char state;
    int ppid, exit_signal;
    uint64_t start_ticks;
};

static int read_stat(const char *pid, struct stat_fields *out)
{
    char path[300], text[1024];
    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return 0;
    text[n] = 0;
    char *rest = strrchr(text, ')');
    if (!rest)
        return 0;
    /* proc(5): the third field follows the name */
    int field = 3;
    for (char *word = strtok(rest + 1, " "); word; word = strtok(NULL, " "), field++) {
        if (field == 3)
            out->state = *word;
        else if (field == 4)
            out->ppid = atoi(word);
        else if (field == 22)
            out->start_ticks = strtoull(word, NULL, 10);
        else if (field == 38)
            out->exit_signal = atoi(word);
    }
    return field > 38;
}

uint64_t ticks_now(void)
{
    struct stat_fields own = {0};
    return read_stat("self", &own) ? own.start_ticks : 0;
}

/* A child of the target's that nobody waits for, born since: a copy whose keeper died. */
pid_t find_orphan(pid_t target, uint64_t born_after_ticks, char *state)
{
    pid_t found = 0;
    DIR *proc = opendir("/proc");
    for (struct dirent *e; proc && !found && (e = readdir(proc));) {
        struct stat_fields s = {0};
        if (*e->d_name >= '1' && *e->d_name <= '9' && read_stat(e->d_name, &s)
            && s.ppid == target && s.exit_signal == 0 && s.start_ticks >= born_after_ticks) {
            found = atoi(e->d_name);
            *state = s.state;
        }
    }
    if (proc)
        closedir(proc);
    return found;
}

static int bury_by(struct target *t, pid_t tid, pid_t child)
{
    struct thread x = {.tid = tid};
    int done = -1;
    if (!stop_thread(t, &x) && fit_for_injection(t, &x)) {
        const uint64_t args[6] = {(uint64_t)child, 0, WNOHANG | __WCLONE};
        struct injected out;
        stage(ST_REAPING);
        if (!inject(t, &x, SYS_wait4, args, NULL, &out) && out.result == child)
            done = 0;
    }
    release(&x);
    free(x.xstate);
    return done;
}

int bury(struct target *t, pid_t child)
{
    char path[64];
    int done = -1;
    snprintf(path, sizeof path, "/proc/%d/task", t->pid);
    for (int try = 0; try < 50 && done; try++) {
        DIR *tasks = opendir(path);
        if (!tasks)
            return 0; /* the target is gone, and its children went to init */
        for (struct dirent *e; done && (e = readdir(tasks));) {
            pid_t tid = atoi(e->d_name);
            char state = tid > 0 ? task_state(t->pid, tid) : 'Z';
            if (state != 'Z' && state != 'X' && state != 'D')
                done = bury_by(t, tid, child);
        }
        closedir(tasks);
        if (done)
            usleep(2000);
    }
    stage(ST_REAPED);
    return done;
}
