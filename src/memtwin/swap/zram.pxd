from memtwin.swap.zsmalloc cimport Zsmalloc

cdef int NIL
cdef int PAGE_SIZE
cdef int SAME_FILLED

cdef class Zram:
    cdef public str name
    cdef public long long size_pages
    cdef public str algorithm
    cdef public Zsmalloc pool
    cdef public long long pages_stored
    cdef public long long compr_data_size
    cdef public long long same_pages
    cdef public long long huge_pages
    cdef public long long huge_pages_since
    cdef public long long mem_used_max
    cdef public long long mem_limit
    cdef public int[::1] slot_zspage
    cdef public int[::1] slot_handle
    cdef public int[::1] slot_size
    cdef public int[::1] size_of_content
    cpdef int write(self, long long slot, int content)
    cpdef int free_slot(self, long long slot)
