cdef int LATENCY_LIMIT
cdef int NO_CLUSTER
cdef int SWAP_HAS_CACHE
cdef int SWAPFILE_CLUSTER

cdef class SwapDevice:
    cdef public str name
    cdef public int type
    cdef public long long max
    cdef public long long pages
    cdef public int prio
    cdef public int backing
    cdef public int rotational
    cdef public int io_device
    cdef public long long inuse_pages
    cdef public long long lowest_bit
    cdef public long long highest_bit
    cdef public long long cluster_next
    cdef public int cluster_nr
    cdef public int nr_clusters
    cdef public long long nr_cached
    cdef public int free_head
    cdef public int free_tail
    cdef public int[::1] swap_map
    cdef public long long[::1] cache
    cdef public int[::1] slot_memcg
    cdef public unsigned char[::1] slot_content
    cdef public int[::1] cluster_used
    cdef public int[::1] cluster_next_free
    cdef public int[::1] cpu_cluster
    cdef public long long[::1] cpu_next
    cdef public long long[::1] cpu_scan_base
    cdef void _add_free_cluster(self, int cluster) noexcept
    cdef void _use(self, long long offset, int cpu) noexcept
    cpdef void put_back(self, long long offset) noexcept
    cdef long long _from_cluster(self, int cpu) noexcept
    cdef long long _scan(self, long long base) noexcept
    cdef long long _from_rotational(self) noexcept
    cpdef int take_slots(self, long long[::1] slots, int base, int goal, int cpu) noexcept
