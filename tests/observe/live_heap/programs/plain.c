/* Holds a few blocks, and waits.  -DTAKEN=N: something takes N bytes from the break first. */
#define _DEFAULT_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void *volatile held[100];

int main(void)
{
#ifdef TAKEN
    sbrk(TAKEN);
#endif
    for (int i = 0; i < 100; i++)
        held[i] = malloc(100 + i);
    puts("READY");
    fflush(stdout);
    pause();
    return 0;
}
