cdef class MallocPar:
    cdef public int cores
    cdef public long long trim_threshold
    cdef public long long top_pad
    cdef public long long mmap_threshold
    cdef public long long arena_test
    cdef public long long arena_max
    cdef public int n_mmaps
    cdef public int n_mmaps_max
    cdef public int max_n_mmaps
    cdef public int no_dyn_threshold
    cdef public long long mmapped_mem
    cdef public long long max_mmapped_mem
    cdef public long long sbrk_base
    cdef public long long tcache_bins
    cdef public long long tcache_count
    cdef public long long tcache_max_bytes
    cdef public long long tcache_unsorted_limit
    cdef public int may_shrink_heap
    cdef public long long max_fast
    cdef public long long thp_bytes
    cdef public long long hp_bytes
    cdef public long long heap_min_bytes
    cdef public long long heap_max_bytes
    cdef public int checks
    cdef public int perturb
    cdef readonly int heap_info_bytes
    cdef readonly int threshold_is_capped
    cdef readonly int fallback_is_transposed
    cdef readonly int realloc_keeps_usable
    cdef readonly int memalign_uses_tcache
    cdef readonly int memalign_merges
    cdef readonly int calloc_uses_tcache
    cdef readonly int small_chunks_skip_unsorted
    cdef readonly int aligned_alloc_checks
    cpdef void mapped(self, int chunks, long long size)
