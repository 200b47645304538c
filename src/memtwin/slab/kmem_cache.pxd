cdef class KmemCache:
    cdef public int cache_id
    cdef public str name
    cdef public int size_bytes
    cdef public int order
    cdef public int objs_per_slab
    cdef public int reclaimable
    cdef public int min_partial
    cdef public int cpu_partial
    cdef public int cpu_partial_slabs
    cdef public long long num_slabs
    cdef public long long num_objs
    cdef public long long inuse
    cdef public long long partial_free
    cdef public int full_head
    cdef public int first_partial_head
    cpdef long long active_objs(self)
