"""Owns the numbers of glibc's malloc on x86-64, and what it says when it finds a broken heap.

Imports nothing. Knows nothing of how the numbers are used. The twin measures addresses in rows of
16 bytes (MALLOC_ALIGNMENT): a chunk header is one row, of two words: prev_size and size.
"""

from __future__ import annotations

# malloc/malloc.c, glibc 2.36: struct malloc_chunk and the macros around it
SIZE_SZ = 8
CHUNK_HDR_SZ = 16
MALLOC_ALIGN_MASK = 15
MINSIZE = 32
PREV_INUSE = 1
IS_MMAPPED = 2
NON_MAIN_ARENA = 4
SIZE_BITS = 7
PTRDIFF_MAX = (1 << 63) - 1
SIZEOF_MALLOC_CHUNK = 48

# bins: malloc/malloc.c NBINS, NSMALLBINS, BINMAPSHIFT, NFASTBINS, glibc 2.36
NBINS = 128
MIN_LARGE_SIZE = 1024
BINMAPSIZE = 4
BITSPERMAP = 32
NFASTBINS = 10
MAX_FAST_SIZE = 160
DEFAULT_MXFAST = 128
FASTBIN_CONSOLIDATION_THRESHOLD = 65536
MAX_ITERS = 10000  # malloc/malloc.c _int_malloc(), glibc 2.36: of one look at the unsorted bin

# malloc/malloc.c TCACHE_MAX_BINS, TCACHE_FILL_COUNT, struct tcache_perthread_struct, glibc 2.36
TCACHE_MAX_BINS = 64
TCACHE_FILL_COUNT = 7
MAX_TCACHE_SIZE = 1032
MAX_TCACHE_COUNT = 65535
SIZEOF_TCACHE = 640
TCACHE_KEY = 0x5EED_7CAC_4E00_0001  # MODEL: glibc draws it at random at start

# malloc/malloc.c DEFAULT_MMAP_THRESHOLD and its neighbours, glibc 2.36
DEFAULT_MMAP_THRESHOLD = 128 << 10
DEFAULT_MMAP_THRESHOLD_MAX = 32 << 20
DEFAULT_TRIM_THRESHOLD = 128 << 10
DEFAULT_TOP_PAD = 128 << 10  # sysdeps/generic/malloc-machine.h, glibc 2.36
DEFAULT_MMAP_MAX = 65536
MMAP_AS_MORECORE_SIZE = 1 << 20
NARENAS_A_CORE = 8  # malloc/malloc.c NARENAS_FROM_NCORES, glibc 2.36

# malloc/arena.c HEAP_MIN_SIZE, HEAP_MAX_SIZE, glibc 2.36
HEAP_MIN_SIZE = 32 << 10
HEAP_MAX_SIZE = 64 << 20
SIZEOF_MALLOC_STATE = 2200

# rows: the address space of the twin's heap memory
ROW_SHIFT = 4
PAGE_SIZE = 4096
ROWS_A_PAGE_SHIFT = 8
BLOCK_SHIFT = 22  # rows of a block: HEAP_MAX_SIZE
BLOCK_ROWS = 1 << BLOCK_SHIFT
ARENA_ROWS = 256  # rows that the bins of an arena take in block 0
MAX_ARENAS = 4096  # MODEL: glibc stops only at its own limit, 8 a core
MMAP_SLOT_ROWS = 4  # of a mapped chunk: its header, its address, what was touched

# malloc/malloc.h, glibc 2.36
M_MXFAST = 1
M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_THRESHOLD = -3
M_MMAP_MAX = -4
M_CHECK_ACTION = -5
M_PERTURB = -6
M_ARENA_TEST = -7
M_ARENA_MAX = -8

# system calls, as the log names them
BRK = 1
MMAP = 2
MUNMAP = 3
MREMAP = 4
MPROTECT = 5
MADVISE = 6
TOUCH = 7  # no call: pages touched for the first time since they were mapped or given back
CALL_NAMES = {
    BRK: "brk",
    MMAP: "mmap",
    MUNMAP: "munmap",
    MREMAP: "mremap",
    MPROTECT: "mprotect",
    MADVISE: "madvise",
    TOUCH: "touch",
}
PROT_NONE = 0
PROT_READ_WRITE = 3
MADV_DONTNEED = 4
MADV_HUGEPAGE = 14
MAP_HUGETLB = 0x40000  # a flag of mmap; the log has it beside the protection
HUGE_PAGE_SIZE = 2 << 20

# faults: what ends the process. 0 is none.
SEGV = 1
FREE_INVALID_POINTER = 2
FREE_INVALID_SIZE = 3
TCACHE_DOUBLE_FREE = 4
FASTTOP = 5
FREE_NEXT_SIZE_FAST = 6
DOUBLE_FREE_TOP = 7
DOUBLE_FREE_OUT = 8
DOUBLE_FREE_PREV = 9
FREE_NEXT_SIZE = 10
PREV_SIZE_CONSOLIDATING = 11
FREE_UNSORTED = 12
UNLINK_SIZE = 13
UNLINK_LIST = 14
UNLINK_NEXTSIZE = 15
UNSORTED_SIZE = 16
UNSORTED_NEXT_SIZE = 17
UNSORTED_MISMATCH = 18
UNSORTED_LIST = 19
UNSORTED_PREV_INUSE = 20
SMALLBIN_LIST = 21
FAST_CORRUPTION = 22
LARGEBIN_NEXTSIZE = 23
LARGEBIN_BK = 24
UNSORTED_CHUNKS = 25
UNSORTED_CHUNKS_2 = 26
TOP_SIZE = 27
BRK_ADJUSTED = 28
MUNMAP_INVALID = 29
MREMAP_INVALID = 30
REALLOC_POINTER = 31
REALLOC_OLD_SIZE = 32
REALLOC_NEXT_SIZE = 33
CONSOLIDATE_SIZE = 34
PREV_SIZE_FASTBINS = 35
FASTBIN_ENTRY = 36
FREE_SMALLBIN = 37
TCACHE_TOO_MANY = 38

# malloc/malloc.c malloc_printerr(), glibc 2.36: the text on stderr before SIGABRT
FAULTS = {
    FREE_INVALID_POINTER: "free(): invalid pointer",
    FREE_INVALID_SIZE: "free(): invalid size",
    TCACHE_DOUBLE_FREE: "free(): double free detected in tcache 2",
    FASTTOP: "double free or corruption (fasttop)",
    FREE_NEXT_SIZE_FAST: "free(): invalid next size (fast)",
    DOUBLE_FREE_TOP: "double free or corruption (top)",
    DOUBLE_FREE_OUT: "double free or corruption (out)",
    DOUBLE_FREE_PREV: "double free or corruption (!prev)",
    FREE_NEXT_SIZE: "free(): invalid next size (normal)",
    PREV_SIZE_CONSOLIDATING: "corrupted size vs. prev_size while consolidating",
    FREE_UNSORTED: "free(): corrupted unsorted chunks",
    UNLINK_SIZE: "corrupted size vs. prev_size",
    UNLINK_LIST: "corrupted double-linked list",
    UNLINK_NEXTSIZE: "corrupted double-linked list (not small)",
    UNSORTED_SIZE: "malloc(): invalid size (unsorted)",
    UNSORTED_NEXT_SIZE: "malloc(): invalid next size (unsorted)",
    UNSORTED_MISMATCH: "malloc(): mismatching next->prev_size (unsorted)",
    UNSORTED_LIST: "malloc(): unsorted double linked list corrupted",
    UNSORTED_PREV_INUSE: "malloc(): invalid next->prev_inuse (unsorted)",
    SMALLBIN_LIST: "malloc(): smallbin double linked list corrupted",
    FAST_CORRUPTION: "malloc(): memory corruption (fast)",
    LARGEBIN_NEXTSIZE: "malloc(): largebin double linked list corrupted (nextsize)",
    LARGEBIN_BK: "malloc(): largebin double linked list corrupted (bk)",
    UNSORTED_CHUNKS: "malloc(): corrupted unsorted chunks",
    UNSORTED_CHUNKS_2: "malloc(): corrupted unsorted chunks 2",
    TOP_SIZE: "malloc(): corrupted top size",
    BRK_ADJUSTED: "break adjusted to free malloc space",
    MUNMAP_INVALID: "munmap_chunk(): invalid pointer",
    MREMAP_INVALID: "mremap_chunk(): invalid pointer",
    REALLOC_POINTER: "realloc(): invalid pointer",
    REALLOC_OLD_SIZE: "realloc(): invalid old size",
    REALLOC_NEXT_SIZE: "realloc(): invalid next size",
    CONSOLIDATE_SIZE: "malloc_consolidate(): invalid chunk size",
    PREV_SIZE_FASTBINS: "corrupted size vs. prev_size in fastbins",
    FASTBIN_ENTRY: "invalid fastbin entry (free)",
    FREE_SMALLBIN: "free(): chunks in smallbin corrupted",
    TCACHE_TOO_MANY: "free(): too many chunks detected in tcache",
}
