from memtwin.page.mem_map cimport MemMap

cdef long long PG_DIRTY
cdef long long PG_META
cdef long long PG_PRIVATE
cdef long long PG_WRITEBACK

cdef int BLOCK_BITS
cdef int DIRTY

cdef class BufferHeads:
    cdef public MemMap mem
    cdef public int blocks_per_page
    cdef public long long nr
    cdef public int spare
    cdef public int[::1] head_slab
    cdef public int[::1] spare_slab
    cpdef int attach(self, int pfn)
    cpdef int busy(self, int pfn)
    cpdef int try_to_free(self, int pfn)
    cpdef int drop(self, int pfn)
    cpdef int set_bit(self, int pfn, int state, int block)
    cpdef int clear_bit(self, int pfn, int state, int block)
    cpdef int bits(self, int pfn, int state)
