/* Loses ten blocks of three pages, and ends. */
#include <stdlib.h>

int main(void)
{
    for (int i = 0; i < 10; i++) {
        char *volatile lost = malloc(4096 * 3);
        lost[0] = (char)i;
        lost = NULL;
    }
    char *volatile other = NULL;
    return other != NULL;
}
