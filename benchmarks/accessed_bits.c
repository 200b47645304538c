/* How many pages in use does the kernel see as used while their translations stay in the TLB?
 *
 *     gcc -O1 -o accessed_bits benchmarks/accessed_bits.c && ./accessed_bits
 *
 * A process on the last CPU touches N pages, has its accessed bits cleared (/proc/PID/clear_refs,
 * which flushes no translation, as reclaim does not either), touches the same pages again, and the
 * pages that smaps calls Referenced are counted.  Needs two CPUs. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, READY = 1, CLEARED, TOUCHED };
static atomic_int *step;

static void stay_on(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void touch(volatile char *pages, long n)
{
    for (long i = 0; i < n; i++)
        pages[i * PAGE]++;
}

static void wait_for(int what)
{
    while (atomic_load(step) != what)
        ;
}

static void child(volatile char *pages, long n, int cpu)
{
    stay_on(cpu);
    for (int round = 0; round < 4; round++)
        touch(pages, n);
    atomic_store(step, READY);
    wait_for(CLEARED);
    touch(pages, n);
    atomic_store(step, TOUCHED);
    pause();
}

static long referenced_kib(int pid, unsigned long vaddr)
{
    char path[64], line[256];
    unsigned long start, end;
    long kib, found = -1;
    int inside = 0;
    snprintf(path, sizeof path, "/proc/%d/smaps", pid);
    FILE *smaps = fopen(path, "r");
    while (smaps && fgets(line, sizeof line, smaps)) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            inside = start <= vaddr && vaddr < end;
        if (inside && sscanf(line, "Referenced: %ld", &kib) == 1)
            found = kib;
    }
    if (smaps)
        fclose(smaps);
    return found;
}

int main(void)
{
    int cpus = sysconf(_SC_NPROCESSORS_ONLN);
    step = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (long n = 64; n <= 16384; n *= 2) {
        char *pages = mmap(0, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        madvise(pages, n * PAGE, MADV_NOHUGEPAGE);
        atomic_store(step, 0);
        int pid = fork();
        if (pid == 0)
            child(pages, n, cpus - 1);
        stay_on(0);
        wait_for(READY);
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/clear_refs", pid);
        int file = open(path, O_WRONLY);
        if (file < 0 || write(file, "1", 1) != 1) {
            perror(path);
            kill(pid, SIGKILL);
            return 1;
        }
        close(file);
        atomic_store(step, CLEARED);
        wait_for(TOUCHED);
        printf("%6ld pages in use: %5.1f %% seen\n", n,
               100.0 * referenced_kib(pid, (unsigned long)pages) * 1024 / PAGE / n);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        munmap(pages, n * PAGE);
    }
    return 0;
}
