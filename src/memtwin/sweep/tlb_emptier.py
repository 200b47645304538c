"""Owns emptying the TLB of one CPU again and again, so that the kernel sees which pages are in use.

A process of its own, run by path with the standard library alone; imports nothing of memtwin. Its
arguments are the CPU and the period in microseconds; it ends when its standard input does, so with
whoever started it, however that ends.

A page's accessed bit is set when its translation is loaded. Reclaim clears the bit and leaves the
translation be (arch/x86/mm/pgtable.c ptep_clear_flush_young(), v6.12), so that pages in constant
use look idle for as long as the TLB holds them.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import sys
import time

TLB_PAGES = 8192  # more than any second-level TLB of today holds


def main() -> None:
    """Load one translation after the other, then sleep for a period, until standard input ends."""
    cpu, period_us = int(sys.argv[1]), int(sys.argv[2])
    os.sched_setaffinity(0, {cpu})
    with contextlib.suppress(PermissionError):  # then it has its turns as others have
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    pages = mmap.mmap(-1, TLB_PAGES * mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without huge pages
        pages.madvise(mmap.MADV_NOHUGEPAGE)
    for at in range(0, len(pages), mmap.PAGESIZE):
        pages[at] = 1
    ending = select.poll()
    ending.register(0, select.POLLIN)
    while not ending.poll(0):
        _ = pages[:: mmap.PAGESIZE]
        time.sleep(period_us / 1e6)


if __name__ == "__main__":
    main()
