from memtwin.page.page_alloc cimport PageAlloc
from memtwin.slab.slub cimport Slub

cdef int ALLOC_NO_WATERMARKS
cdef int NEED_PAGE
cdef int NIL

cdef class SwapObjects:
    cdef public Slub slub
    cdef public PageAlloc page_alloc
    cdef public list caches
    cpdef int take(self, int kind)
    cpdef int give(self, int kind, int slab)
