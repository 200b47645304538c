/* Threads that allocate and free without end and leak nothing, beside blocks that stay. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CHURNERS = 3, SLOTS = 6000, KEPT = 6000 };
void *volatile slots[CHURNERS][SLOTS];
void *volatile kept[CHURNERS][KEPT];
void *volatile large[30];
static pthread_barrier_t begun;

static void *churn(void *number)
{
    long me = (long)number;
    unsigned seed = 1 + (unsigned)me;
    for (int i = 0; i < KEPT; i++)
        kept[me][i] = malloc(200 + i % 700);
    pthread_barrier_wait(&begun);
    for (;;) {
        seed = seed * 1664525 + 1013904223;
        unsigned at = (seed >> 8) % SLOTS, how = seed >> 20;
        void *old = slots[me][at];
        if (how % 5 == 0) {
            slots[me][at] = realloc(old, 16 + how % 5000);
        } else if (how % 97 == 0) {
            free(old);
            slots[me][at] = memalign(64 << how % 5, 20 + how % 3000);
        } else {
            free(old);
            slots[me][at] = malloc(16 + how % (how & 64 ? 120 : 3000));
        }
    }
    return NULL;
}

int main(void)
{
    pthread_t t;
    pthread_barrier_init(&begun, NULL, CHURNERS + 1);
    for (int i = 0; i < 30; i++)
        large[i] = i % 3 == 0 ? memalign(4096 << i % 4, 300000 + i * 1000)
                 : i % 3 == 1 ? malloc(500000 + i) : realloc(malloc(200000), 900000 + i);
    for (long i = 0; i < CHURNERS; i++)
        pthread_create(&t, NULL, churn, (void *)i);
    pthread_barrier_wait(&begun);
    puts("READY");
    fflush(stdout);
    for (unsigned i = 0;; i++) {
        usleep(500);
        free(large[i % 30]);
        large[i % 30] = malloc(150000 + i % 100 * 5000);
    }
}
