/* Holds a few blocks, and waits. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void *volatile held[100];

int main(void)
{
    for (int i = 0; i < 100; i++)
        held[i] = malloc(100 + i);
    puts("READY");
    fflush(stdout);
    pause();
    return 0;
}
