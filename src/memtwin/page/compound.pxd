from memtwin.page.mem_map cimport MemMap

cdef long long PG_HEAD
cdef long long PG_TAIL
cdef int GFP_COMP

cdef class Compound:
    cdef public MemMap mem_map
    cdef void prep_new_page(self, int pfn, int order, int gfp) noexcept
    cdef void clear_tails(self, int pfn, int order) noexcept
    cpdef int head_of(self, int pfn) noexcept
    cpdef int split(self, int pfn) noexcept
