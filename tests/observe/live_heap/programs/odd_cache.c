/* A thread whose cache lies in a chunk 16 bytes larger than it needs: the free chunk it was cut
 * from would have left a rest too small to stand alone.  The thread then fills that cache. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CACHED = 7, MORE = 4, SIZES = 5, CACHE_CHUNK = 0x290 };
void *fences[CACHED + MORE];
static pthread_barrier_t ready;

static void *body(void *unused)
{
    void *held[SIZES][CACHED];
    for (int size = 0; size < SIZES; size++)
        for (int i = 0; i < CACHED; i++)
            held[size][i] = malloc(200 + 32 * size);
    for (int size = 0; size < SIZES; size++)
        for (int i = 0; i < CACHED; i++) {
            free(held[size][i]);
            held[size][i] = NULL;
        }
    pthread_barrier_wait(&ready);
    pause();
    return unused;
}

int main(void)
{
    void *held[CACHED + MORE];
    mallopt(M_ARENA_MAX, 1);
    for (int i = 0; i < CACHED + MORE; i++) {
        held[i] = malloc(CACHE_CHUNK + 16 - 8);
        fences[i] = malloc(24);
    }
    for (int i = 0; i < CACHED + MORE; i++) {
        free(held[i]); /* all but some go to this thread's cache */
        held[i] = NULL;
    }
    pthread_t thread;
    pthread_barrier_init(&ready, NULL, 2);
    pthread_create(&thread, NULL, body, NULL);
    pthread_barrier_wait(&ready);
    puts("READY");
    fflush(stdout);
    pause();
    return 0;
}
