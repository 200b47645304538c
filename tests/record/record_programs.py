"""Programs and readers of traces that several tests of the recorders share."""

from __future__ import annotations

from typing import Any

import numpy as np

from memtwin.record import Trace, TraceOp

MEMORY = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
static void say(const char *what, void *p) { dprintf(1, "%s %lu\n", what, (unsigned long)p); }
int main(int argc, char **argv)
{
    const int rw = PROT_READ | PROT_WRITE;
    volatile char *a = mmap(0, 64 << 12, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    say("anon", (void *)a);
    for (int i = 0; i < 64; i += 2) a[i << 12] = 1;     /* even pages: stores */
    int sum = 0;
    for (int i = 1; i < 32; i += 2) sum += a[i << 12];  /* odd pages below 32: loads */
    *(volatile long *)(a + (40 << 12) - 4) = 7;         /* across a page border: 39 and 40 */
    int fd = open(argv[1], O_RDONLY);
    char *buffer = aligned_alloc(4096, 16384);
    say("buffer", buffer);
    read(fd, buffer, 5000);
    read(fd, buffer, 5000);
    lseek(fd, 1000, SEEK_SET);
    read(fd, buffer, 10);
    pread(fd, buffer, 100, 20000);
    struct iovec v[2] = {{buffer, 8}, {buffer + 4096, 8}};
    int other = dup(fd);
    readv(other, v, 2);                                 /* shares the offset: 1010 */
    volatile char *m = mmap(0, 4 << 12, PROT_READ, MAP_SHARED, fd, 2 << 12);
    say("file", (void *)m);
    sum += m[3 << 12];
    int out = open("out", O_CREAT | O_WRONLY | O_APPEND | O_TRUNC, 0600);
    write(out, buffer, 100);
    write(out, buffer, 50);
    ftruncate(out, 120);
    fsync(out);
    posix_fadvise(fd, 0, 4096, POSIX_FADV_DONTNEED);
    close(out);
    unlink("out");
    madvise((void *)a, 2 << 12, MADV_DONTNEED);
    a[0] = 2;
    mprotect((void *)a, 1 << 12, PROT_READ);
    char *moved = mremap((void *)(a + (32 << 12)), 32 << 12, 64 << 12, MREMAP_MAYMOVE);
    say("moved", moved);
    munmap(moved, 64 << 12);
    mlock((void *)a, 8192);
    munlock((void *)a, 8192);
    return sum == 12345;
}
"""


def said(text: str) -> dict[str, int]:
    return {line.split()[0]: int(line.split()[1]) for line in text.splitlines()}


def events(trace: Trace, op: TraceOp) -> list[dict[str, Any]]:
    columns = trace.read()
    where = np.flatnonzero(columns["op"] == op)
    return [{name: int(column[i]) for name, column in columns.items()} for i in where]


def touched(trace: Trace, op: TraceOp, addr: int, pages: int) -> set[int]:
    first = addr >> 12
    return {e["a"] - first for e in events(trace, op) if first <= e["a"] < first + pages}


SHOW_MAPS = r"""
#include <stdio.h>
#include <stdlib.h>
static char in_bss[100000];
int main(void)
{
    char *heap = malloc(300000);
    heap[0] = in_bss[5] = 1;
    FILE *maps = fopen("/proc/self/maps", "r");
    for (int c; (c = getc(maps)) != EOF;) putchar(c);
    return 0;
}
"""


def pages_of_trace(trace: Trace) -> dict[int, int]:
    """Page number -> read and write permission, as the trace's mapping events leave them."""
    pages: dict[int, int] = {}

    def put(addr: int, length: int, prot: int) -> None:
        pages.update(dict.fromkeys(range(addr >> 12, (addr + length + 4095) >> 12), prot & 3))

    def drop(addr: int, length: int) -> None:
        for vpn in range(addr >> 12, (addr + length + 4095) >> 12):
            pages.pop(vpn, None)

    for batch in trace.iter_batches():
        for i in np.flatnonzero(batch["op"] >= TraceOp.MAP):
            a, b, c = (int(batch[name][i]) for name in "abc")
            match int(batch["op"][i]):
                case TraceOp.MAP | TraceOp.PROTECT:
                    put(a, b, c)
                case TraceOp.UNMAP:
                    drop(a, b)
                case TraceOp.BRK if b > a:
                    put((a + 4095) & ~4095, b - ((a + 4095) & ~4095), 3)
                case TraceOp.BRK if b < a:
                    drop((b + 4095) & ~4095, a - b)
    return pages


def pages_of_maps(text: str) -> dict[int, int]:
    """The same of the text of /proc/PID/maps."""
    pages: dict[int, int] = {}
    for line in text.splitlines():
        if not line.endswith("[vsyscall]"):
            start, end = (int(x, 16) >> 12 for x in line.split()[0].split("-"))
            prot = line.split()[1]
            pages.update(dict.fromkeys(range(start, end), ("r" in prot) + 2 * ("w" in prot)))
    return pages
