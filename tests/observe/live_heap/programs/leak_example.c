/* Takes three pages and keeps nothing of them, takes a little and gives it back; ended by
 * Ctrl-C (here: by itself, after as many rounds as argv[1] says). */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 114;
    for (int i = 1;; i++) {
        unsigned *lost = malloc(4096 * 3);
        lost[0] = 0;
        lost[1024] = 1;
        lost[2048] = 2;
        unsigned *given_back = malloc(1024);
        given_back[0] = 1;
        free(given_back);
        if (i == rounds)
            raise(SIGINT);
        usleep(100);
    }
}
