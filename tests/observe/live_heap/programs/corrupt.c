/* Writes where it must not, in the way that argv[1] names, and waits. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t *volatile block[40];
uint64_t *volatile last;

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    puts("");
    for (int i = 0; i < 40; i++)
        block[i] = calloc(1, i == 20 ? 3000 : 40);
    last = calloc(1, 2000);
    free(block[20]); /* a free chunk between used ones */
    for (int i = 0; i < 12; i++)
        free(block[i]); /* seven cached, the others on a fastbin */
    if (!strcmp(how, "size"))
        block[30][-1] = 0x123457;
    else if (!strcmp(how, "footer"))
        block[21][-2] ^= 0x40;
    else if (!strcmp(how, "top"))
        memset(last + 2000 / 8, 0xee, 16);
    else if (!strcmp(how, "ring")) /* the fastbin's newest member links to itself */
        block[11][0] = ((uint64_t)block[11] >> 12) ^ ((uint64_t)block[11] - 16);
    else if (!strcmp(how, "wild"))
        block[11][0] = ((uint64_t)block[11] >> 12) ^ 0x4141414141414140;
    if (write(1, "READY\n", 6) != 6)
        return 1;
    pause();
    return 0;
}
