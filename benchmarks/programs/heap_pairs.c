/* The C library's own malloc on a sequence of events, as a peer of the twin's.
 *
 * heap_pairs FILE: FILE holds (op, slot, size) as three int64 an event: op 1 allocates, 2 frees.
 * Runs all of it twice; prints CPU ns of the second run. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

int main(int argc, char **argv) {
    struct stat about;
    int file = argc > 1 ? open(argv[1], O_RDONLY) : -1;
    if (file < 0 || fstat(file, &about))
        return 1;
    int64_t *e = mmap(NULL, about.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    int64_t events = about.st_size / 24, slots = 0;
    for (int64_t i = 0; i < events; i++)
        slots = e[3 * i + 1] >= slots ? e[3 * i + 1] + 1 : slots;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    void **block = mmap(NULL, slots * 8, PROT_READ | PROT_WRITE, flags, -1, 0);
    struct timespec before, after;
    for (int turn = 0; turn < 2; turn++) {
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
        for (int64_t i = 0; i < events; i++) {
            void **at = &block[e[3 * i + 1]];
            if (e[3 * i] == 1) {
                *at = malloc(e[3 * i + 2]);
            } else {
                free(*at);
                *at = NULL;
            }
        }
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    }
    printf("%ld\n", (after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec);
    return 0;
}
