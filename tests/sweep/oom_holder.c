/* holder SIZE_KIB CGROUP_PROCS OOM_SCORE_ADJ: enters the group and holds so much. On 's' it takes
   64 KiB more and answers '.'; on 'g' it takes more without end. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void take(size_t bytes)
{
	char *area = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		_exit(3);
	for (size_t at = 0; at < bytes; at += 4096)
		area[at] = 1;
}

static void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	if (!file || fputs(text, file) < 0 || fclose(file))
		_exit(4);
}

int main(int count, char **words)
{
	char asked;
	if (count != 4)
		return 2;
	put(words[2], "0");
	put("/proc/self/oom_score_adj", words[3]);
	take((size_t)atol(words[1]) << 10);
	if (write(1, ".", 1) != 1)
		return 1;
	while (read(0, &asked, 1) == 1) {
		do
			take(asked == 's' ? 64 << 10 : 4096);
		while (asked == 'g');
		if (write(1, ".", 1) != 1)
			return 1;
	}
	return 0;
}
