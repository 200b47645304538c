/* A program that would notice if anybody had touched it: it computes the same sums again and
 * again, sleeps, waits for events, allocates and compares, and counts whatever is not as it
 * should be.  A line on standard input gets `WORK WRONG`: how much was done, and what was wrong
 * ("-" for nothing).  argv[1] "busy": the first thread computes too, instead of waiting. */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile long work[5];
static const char *volatile wrong = "-";
static volatile sig_atomic_t children_seen;

static double sums(long seed)
{
    double a[64], total = 0;
    for (int i = 0; i < 64; i++)
        a[i] = sqrt((double)(seed + i)) * 1.0009765625;
    for (int round = 0; round < 20; round++)
        for (int i = 0; i < 64; i++)
            total += a[i] * a[(i * 7 + round) % 64] - (double)(long double)(total * 0.5L);
    return total;
}

static void compute_once(int me)
{
    static double expected[2];
    double now = sums(3 + me);
    if (expected[me] == 0)
        expected[me] = now;
    if (memcmp(&now, &expected[me], sizeof now))
        wrong = "sums";
    work[me]++;
}

static void *compute(void *unused)
{
    for (;;)
        compute_once(1);
    return unused;
}

static void *sleep_on(void *unused)
{
    for (;; work[2]++)
        if (nanosleep(&(struct timespec){0, 3000000}, NULL))
            wrong = "nanosleep was interrupted";
    return unused;
}

static void *wait_for_events(void *unused)
{
    int events = epoll_create1(0);
    struct epoll_event none;
    for (;; work[3]++) {
        if (epoll_wait(events, &none, 1, 4) != 0)
            wrong = "epoll_wait was interrupted";
        if (poll(NULL, 0, 3) != 0)
            wrong = "poll was interrupted";
    }
    return unused;
}

static void *allocate(void *unused)
{
    unsigned seed = 1;
    unsigned char *held[300] = {0};
    int size[300];
    for (;; work[4]++) {
        seed = seed * 1664525 + 1013904223;
        int at = (seed >> 8) % 300;
        for (int i = 0; held[at] && i < size[at]; i++)
            if (held[at][i] != (unsigned char)(at + size[at]))
                wrong = "a block changed";
        free(held[at]);
        size[at] = 16 + (seed >> 16) % 3000;
        held[at] = malloc(size[at]);
        memset(held[at], at + size[at], size[at]);
    }
    return unused;
}

static void child_ended(int number)
{
    (void)number;
    children_seen++;
}

static void check(void)
{
    sigset_t blocked;
    int status;
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    for (int i = 1; i < 32; i++)
        if (sigismember(&blocked, i) == 1)
            wrong = "a signal is blocked";
    if (children_seen)
        wrong = "SIGCHLD came";
    if (wait4(-1, &status, WNOHANG, NULL) != -1 || errno != ECHILD)
        wrong = "wait() sees a child";
    printf("%ld %s\n", work[0] + work[1] + work[2] + work[3] + work[4], wrong);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int busy = argc > 1 && !strcmp(argv[1], "busy");
    pthread_t t;
    signal(SIGCHLD, child_ended);
    compute_once(0);
    pthread_create(&t, NULL, compute, NULL);
    pthread_create(&t, NULL, sleep_on, NULL);
    pthread_create(&t, NULL, wait_for_events, NULL);
    pthread_create(&t, NULL, allocate, NULL);
    puts("READY");
    fflush(stdout);
    char line[64];
    for (;;) {
        struct pollfd in = {0, POLLIN, 0};
        if (busy)
            compute_once(0);
        if (busy && poll(&in, 1, 0) == 0)
            continue;
        if (read(0, line, sizeof line) <= 0)
            return 0;
        check();
    }
}
