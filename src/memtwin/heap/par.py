"""Owns struct malloc_par, glibc's tunable figures and counts of mapped chunks, and max_fast.

Imports the constants and the rules of versions. Knows nothing of arenas. Sizes are bytes. What is
unsigned long in glibc and above the signed range stands here as PTRDIFF_MAX: nothing is as large.
"""

from __future__ import annotations

import cython

from memtwin.heap.constants import (
    DEFAULT_MMAP_MAX,
    DEFAULT_MMAP_THRESHOLD,
    DEFAULT_MXFAST,
    DEFAULT_TOP_PAD,
    DEFAULT_TRIM_THRESHOLD,
    HEAP_MAX_SIZE,
    HEAP_MIN_SIZE,
    HUGE_PAGE_SIZE,
    M_ARENA_MAX,
    M_ARENA_TEST,
    M_CHECK_ACTION,
    M_MMAP_MAX,
    M_MMAP_THRESHOLD,
    M_MXFAST,
    M_PERTURB,
    M_TOP_PAD,
    M_TRIM_THRESHOLD,
    MAX_FAST_SIZE,
    MAX_TCACHE_COUNT,
    MAX_TCACHE_SIZE,
    NARENAS_A_CORE,
    PTRDIFF_MAX,
    TCACHE_FILL_COUNT,
    TCACHE_MAX_BINS,
)
from memtwin.heap.versions import Rules


@cython.final
@cython.cclass
class MallocPar:
    """malloc/malloc.c struct malloc_par mp_, glibc 2.36, and the rules of the version."""

    def __init__(self, rules: Rules, cores: int) -> None:
        self.cores = cores
        self.trim_threshold = DEFAULT_TRIM_THRESHOLD
        self.top_pad = DEFAULT_TOP_PAD
        self.mmap_threshold = DEFAULT_MMAP_THRESHOLD
        self.arena_test = NARENAS_A_CORE
        self.arena_max = 0
        self.n_mmaps = 0
        self.n_mmaps_max = DEFAULT_MMAP_MAX
        self.max_n_mmaps = 0
        self.no_dyn_threshold = 0
        self.mmapped_mem = 0
        self.max_mmapped_mem = 0
        self.sbrk_base = 0  # row of the first address that sbrk gave; 0 none yet
        self.tcache_bins = TCACHE_MAX_BINS
        self.tcache_count = TCACHE_FILL_COUNT
        self.tcache_max_bytes = MAX_TCACHE_SIZE
        self.tcache_unsorted_limit = 0
        self.may_shrink_heap = 0  # vm.overcommit_memory is 2
        self.thp_bytes = 0  # thp_pagesize; 0: nothing is advised to be huge
        self.hp_bytes = 0  # hp_pagesize; 0: nothing is from the pool of huge pages
        self.heap_min_bytes = HEAP_MIN_SIZE
        self.heap_max_bytes = HEAP_MAX_SIZE
        self.checks = 0  # using_malloc_checking: each block has a byte more
        self.perturb = 0  # perturb_byte: blocks are filled as they come and go
        self.set_max_fast(DEFAULT_MXFAST)
        self.heap_info_bytes = rules.heap_info_bytes
        self.threshold_is_capped = rules.threshold_is_capped
        self.fallback_is_transposed = rules.fallback_is_transposed
        self.realloc_keeps_usable = rules.realloc_keeps_usable
        self.memalign_uses_tcache = rules.memalign_uses_tcache
        self.memalign_merges = rules.memalign_merges
        self.calloc_uses_tcache = rules.calloc_uses_tcache
        self.small_chunks_skip_unsorted = rules.small_chunks_skip_unsorted
        self.aligned_alloc_checks = rules.aligned_alloc_checks

    def set_max_fast(self, size: int) -> None:
        """malloc/malloc.c set_max_fast(), glibc 2.36: 16 lets no chunk in."""
        self.max_fast = 16 if size <= 7 else (size + 8) & ~15

    def mallopt(self, parameter: int, value: int) -> int:
        """malloc/malloc.c __libc_mallopt(), glibc 2.36, after its consolidation: 1 done.

        `value` is an int of C. Of M_PERTURB counts only whether there is any: contents are not
        modelled, but what is filled is touched.
        """
        size = value if value >= 0 else PTRDIFF_MAX
        if parameter == M_MXFAST:
            if size > MAX_FAST_SIZE:
                return 0
            self.set_max_fast(size)
        elif parameter == M_TRIM_THRESHOLD:
            self.trim_threshold = size
        elif parameter == M_TOP_PAD:
            self.top_pad = size
        elif parameter == M_MMAP_THRESHOLD:
            if self.threshold_is_capped and size > HEAP_MAX_SIZE // 2:
                return 0
            self.mmap_threshold = size
        elif parameter == M_MMAP_MAX:
            self.n_mmaps_max = value
        elif parameter == M_ARENA_TEST:
            self.arena_test = value if value > 0 else self.arena_test
        elif parameter == M_ARENA_MAX:
            self.arena_max = value if value > 0 else self.arena_max
        elif parameter == M_PERTURB:
            self.perturb = int(value != 0)
        elif parameter != M_CHECK_ACTION:
            return 1  # glibc says so of what it does not know
        if parameter in (M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX):
            self.no_dyn_threshold = 1
        return 1

    def set_hugetlb(self, value: int) -> int:
        """malloc/malloc.c do_set_hugetlb(), glibc 2.36: 1 done.

        1 is taken as on a kernel whose transparent huge pages are in madvise mode, 2 as on one
        whose huge pages are of 2 MiB.
        """
        if value == 1:
            self.thp_bytes = HUGE_PAGE_SIZE
        elif value in (2, HUGE_PAGE_SIZE):
            self.hp_bytes = HUGE_PAGE_SIZE
            # malloc/arena.c heap_min_size(), heap_max_size(), glibc 2.36
            self.heap_min_bytes = HUGE_PAGE_SIZE
            self.heap_max_bytes = 4 * HUGE_PAGE_SIZE
        else:
            return int(value == 0)
        return 1

    def set_tcache_max(self, size: int) -> int:
        """malloc/malloc.c do_set_tcache_max(), glibc 2.36: 1 done."""
        if size > MAX_TCACHE_SIZE:
            return 0
        self.tcache_max_bytes = size
        chunk = max(32, (size + 8 + 15) & ~15)
        self.tcache_bins = (chunk - 32 + 15) // 16 + 1
        return 1

    def set_tcache_count(self, count: int) -> int:
        """malloc/malloc.c do_set_tcache_count(), glibc 2.36: 1 done."""
        if count > MAX_TCACHE_COUNT:
            return 0
        self.tcache_count = count
        return 1

    @cython.ccall
    def mapped(self, chunks: cython.int, size: cython.longlong) -> cython.void:
        """`chunks` more mapped chunks with `size` more bytes; both may be negative."""
        self.n_mmaps += chunks
        self.mmapped_mem += size
        self.max_n_mmaps = max(self.max_n_mmaps, self.n_mmaps)
        self.max_mmapped_mem = max(self.max_mmapped_mem, self.mmapped_mem)
