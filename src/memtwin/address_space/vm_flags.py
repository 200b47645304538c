"""Owns the flags and kinds of a virtual memory area, and the answers of unmapping. Imports nothing.

Names and meanings: include/linux/mm.h VM_*, v6.12; values are our own where the kernel's do not
print.
"""

VM_READ = 1 << 0
VM_WRITE = 1 << 1
VM_EXEC = 1 << 2
VM_SHARED = 1 << 3
VM_MAYWRITE = 1 << 4
VM_MAYSHARE = 1 << 5
VM_GROWSDOWN = 1 << 6
VM_PFNMAP = 1 << 7
VM_LOCKED = 1 << 8
VM_IO = 1 << 9
VM_SEQ_READ = 1 << 10
VM_RAND_READ = 1 << 11
VM_DONTCOPY = 1 << 12
VM_DONTEXPAND = 1 << 13
VM_LOCKONFAULT = 1 << 14
VM_ACCOUNT = 1 << 15
VM_NORESERVE = 1 << 16
VM_HUGEPAGE = 1 << 17
VM_NOHUGEPAGE = 1 << 18
VM_WIPEONFORK = 1 << 19
VM_DONTDUMP = 1 << 20

VM_ACCESS = VM_READ | VM_WRITE | VM_EXEC

# what backs an area
VMA_ANON = 0
VMA_FILE = 1
VMA_SHMEM = 2
VMA_SPECIAL = 3  # pages of the kernel image (vdso): counted by rmap, on no list
VMA_PFNMAP = 4  # vvar: no page is counted
VMA_KINDS = ("anonymous", "file", "shmem", "special", "pfnmap")

# rows of Mm's rss columns: include/linux/mm_types_task.h enum, v6.12
MM_FILEPAGES = 0
MM_ANONPAGES = 1
MM_SWAPENTS = 2
MM_SHMEMPAGES = 3
NR_MM_COUNTERS = 4

# answers of rmap's try_to_unmap
UNMAP_DONE = 0  # nothing maps the page any more
UNMAP_MLOCKED = 1  # an area that maps it is locked
# a lazily freed page was written again: it is swap-backed now, and stays mapped
UNMAP_REDIRTIED = 2
