from memtwin.swap.slab_objects cimport SwapObjects
from memtwin.swap.swap_nodes cimport SwapNodes
from memtwin.views cimport I4, I8

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
    cdef public SwapNodes nodes
    cdef public int free_head
    cdef public int free_tail
    cdef public I4 swap_map
    cdef public I8 cache
    cdef public I4 slot_memcg
    cdef public unsigned char[::1] slot_content
    cdef public I4 cluster_used
    cdef public I4 cluster_next_free
    cdef public I4 cpu_cluster
    cdef public I8 cpu_next
    cdef public I8 cpu_scan_base
    cdef void _add_free_cluster(self, int cluster) noexcept
    cdef void _use(self, long long offset, int cpu) noexcept
    cpdef void put_back(self, long long offset)
    cdef long long _from_cluster(self, int cpu) noexcept
    cdef long long _scan(self, long long base) noexcept
    cdef long long _from_rotational(self) noexcept
    cpdef int take_slots(self, I8 slots, int base, int goal, int cpu) noexcept
