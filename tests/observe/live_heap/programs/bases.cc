// Objects of several classes, held by pointers to their first, second or third base, or to a plain
// member in the middle; some are held by nobody.  argv[1]: how many of each; argv[2]: "signal" ends
// with SIGTERM instead of waiting, for valgrind.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

struct First {
    virtual ~First() {}
    virtual long one() { return a; }
    long a = 1;
};
struct Second {
    virtual ~Second() {}
    virtual long two() { return b; }
    long b = 2;
};
struct Third {
    virtual long three() { return c; }
    virtual long four() { return c; }
    long c = 3;
};
struct Both : First, Second {
    long own[5] = {};
};
struct All : First, Second, Third {
    long own[40] = {};
    ~All() override {}
};
struct Plain : First {
    long before = 0, *inside = nullptr, after = 0;
};

enum { MOST = 2000 };
First *firsts[MOST];
Second *seconds[MOST], *of_all[MOST];
Third *thirds[MOST];
long *members[MOST];
void *volatile dropped;

static __attribute__((noinline)) void fill(int count)
{
    for (int i = 0; i < count; i++) {
        firsts[i] = new Both;
        seconds[i] = new Both;
        of_all[i] = new All;
        thirds[i] = new All;
        members[i] = &(new Plain)->after;
        dropped = new All;
        dropped = new Both;
    }
    dropped = nullptr;
}

static __attribute__((noinline)) void wipe()
{
    volatile char old[16384];
    for (char volatile &c : old)
        c = 0;
    if (__builtin_cpu_supports("avx"))
        __asm__ volatile("vzeroall" ::: "memory");
}

int main(int argc, char **argv)
{
    fill(atoi(argv[1]));
    wipe();
    puts("READY");
    fflush(stdout);
    if (argc > 2)
        raise(SIGTERM);
    pause();
    return 0;
}
