/* A process that faults or maps in a tight loop and tells its slowest operations.
   stall_victim fault|map SIZE_MIB SECONDS: "count max_ns p9999_ns over_100us" */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { BUCKETS = 1 << 16, BUCKET_NS = 1000 };
static long counts[BUCKETS + 1];

static long now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static char *map(size_t size)
{
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        exit(1);
    return p;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    size_t size = (size_t)atol(argv[2]) << 20;
    char *bulk = map(size), *page = map(4096);
    madvise(bulk, size, MADV_NOHUGEPAGE);
    memset(bulk, 1, size);
    int faults = strcmp(argv[1], "fault") == 0;
    printf("ready\n");
    fflush(stdout);
    long end = now_ns() + atol(argv[3]) * 1000000000L, count = 0, max = 0, slow = 0, begin, took;
    while ((begin = now_ns()) < end) {
        if (faults) {
            madvise(page, 4096, MADV_DONTNEED);
            begin = now_ns();
            *(volatile char *)page = 1;
        } else {
            munmap(map(4096), 4096);
        }
        took = now_ns() - begin;
        counts[took / BUCKET_NS < BUCKETS ? took / BUCKET_NS : BUCKETS]++;
        max = took > max ? took : max;
        slow += took > 100000;
        count++;
    }
    long left = count / 10000, at = BUCKETS;
    while (at > 0 && (left -= counts[at]) > 0)
        at--;
    printf("%ld %ld %ld %ld\n", count, max, (at + 1) * BUCKET_NS, slow);
    return 0;
}
