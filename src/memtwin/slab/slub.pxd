from memtwin.page.mem_map cimport MemMap
from memtwin.page.page_alloc cimport PageAlloc
from memtwin.page.zone cimport Zone
from memtwin.slab.kmem_cache cimport KmemCache

cdef long long PG_HEAD
cdef long long PG_SLAB
cdef int GFP_KERNEL
cdef int GFP_RECLAIMABLE
cdef int NR_SLAB_RECLAIMABLE
cdef int NR_SLAB_UNRECLAIMABLE
cdef int FREE_MASK
cdef int NEED_PAGE
cdef int SLAB_CPU
cdef int SLAB_CPU_PARTIAL
cdef int SLAB_FULL
cdef int SLAB_NODE
cdef int NIL

cdef class Slub:
    cdef public PageAlloc page_alloc
    cdef public MemMap mem_map
    cdef public int kernel
    cdef public int nr_cpus
    cdef public int nr_nodes
    cdef public list caches
    cdef public dict ids
    cdef public int[::1] cpu_slab
    cdef public int[::1] cpu_partial_head
    cdef public int[::1] nr_cpu_partial
    cdef public int[::1] nr_partial
    cdef public long long nr_given_back
    cpdef KmemCache cache(self, int cache_id)
    cpdef int gfp_of(self, int cache_id)
    cpdef int order_of(self, int cache_id)
    cpdef int alloc_object(self, int cache_id) noexcept
    cdef int _next_cpu_slab(self, KmemCache cache, int row) noexcept
    cdef int _get_partial_node(self, KmemCache cache, int row) noexcept
    cdef void _link_cpu_partial(self, int row, int pfn) noexcept
    cpdef int add_slab(self, int cache_id, int pfn) except -1
    cdef void _set_private(self, KmemCache cache, int pfn, int free_objs) noexcept
    cpdef int objects_in(self, KmemCache cache, int order) noexcept
    cdef void _account(self, KmemCache cache, int pfn, int sign) noexcept
    cpdef int free_object(self, int cache_id, int pfn) except -1
    cdef int _any_used_slab(self, KmemCache cache, int row) except -1
    cdef int _first_used(self, KmemCache cache, int head) noexcept
    cdef int _put_cpu_partial(self, KmemCache cache, int row, int pfn) except -1
    cdef int _unfreeze_partials(self, KmemCache cache, int row) except -1
    cdef int _node_of(self, int pfn) noexcept
    cdef int _discard_if_many(self, KmemCache cache, int pfn) except -1
    cdef int _discard(self, KmemCache cache, int pfn) except -1
    cpdef int shrink(self, int cache_id) except -1
