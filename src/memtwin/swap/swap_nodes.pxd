from memtwin.swap.slab_objects cimport SwapObjects

cdef int NIL
cdef int TREE_NODE

cdef class SwapNodes:
    cdef public SwapObjects objects
    cdef public long long nr_nodes
    cdef public signed char[::1] leaf_used
    cdef public int[::1] leaf_slab
    cdef public signed char[::1] middle_used
    cdef public int[::1] middle_slab
    cdef public signed char[::1] top_used
    cdef public int[::1] top_slab
    cdef int _make(self)
    cdef void _drop(self, int slab)
    cpdef int fill(self, long long offset)
    cpdef int empty(self, long long offset)
