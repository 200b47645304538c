/* Four processes that share memory in every way; each tells its pid when it has what it needs. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1 << 20, FORKS = 3 };

static char *map(size_t size, int flags)
{
    char *start = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        exit(1);
    return start;
}

int main(void)
{
    char *shared = map(3 * MIB, MAP_SHARED), *own = map(5 * MIB, MAP_PRIVATE);
    memset(shared, 's', 2 * MIB);
    memset(own, 'o', 5 * MIB);
    char *heap = malloc(100 * 1024);
    memset(heap, 'h', 100 * 1024);
    for (int number = 0; number < FORKS; number++) {
        if (fork() != 0)
            continue;
        memset(own, 'n', (number + 1) * MIB);    /* no longer shared with the parent */
        memset(map(2 * MIB, MAP_PRIVATE), 'm', MIB);
        printf("%d\n", getpid());
        fflush(stdout);
        pause();
        return heap[0] != 'h';
    }
    printf("%d\n", getpid());
    fflush(stdout);
    while (wait(NULL) > 0)
        ;
    return 0;
}
