/* The other side of the fault benchmark: how fast this machine's kernel takes anonymous minor
 * faults. Usage: kernel_faults MIB ROUNDS. Maps MIB of anonymous memory with huge pages refused,
 * writes one word in each page, unmaps; prints a line a round: faults, CPU ns and wall ns of the
 * touching alone. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

static long long ns_of(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv)
{
	size_t length = (size_t)(argc > 1 ? atol(argv[1]) : 1024) << 20;
	int rounds = argc > 2 ? atoi(argv[2]) : 1;

	while (rounds-- > 0) {
		char *area = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		long long cpu_ns, wall_ns;

		if (area == MAP_FAILED || madvise(area, length, MADV_NOHUGEPAGE)) {
			perror("kernel_faults");
			return 1;
		}
		cpu_ns = ns_of(CLOCK_PROCESS_CPUTIME_ID);
		wall_ns = ns_of(CLOCK_MONOTONIC);
		for (size_t at = 0; at < length; at += 4096)
			*(volatile long *)(area + at) = 1;
		cpu_ns = ns_of(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns;
		wall_ns = ns_of(CLOCK_MONOTONIC) - wall_ns;
		printf("%zu %lld %lld\n", length / 4096, cpu_ns, wall_ns);
		munmap(area, length);
	}
	return 0;
}
