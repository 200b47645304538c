from memtwin.views cimport I8, U1

cdef int PREV_INUSE
cdef int _FLAGS
cdef int _MIN_CHUNK_BYTES
cdef int _FENCE_BYTES
cdef int _AT_END
cdef int _AT_TOP
cdef int _AT_FENCE
cdef int _BAD_SIZE
cdef int _BAD_FOOTER
cdef int _PAST_TOP
cdef int _LIST_END
cdef int _BAD_POINTER
cdef int _TOO_LONG

cdef class ChunkReader:
    cdef I8 starts
    cdef I8 ends
    cdef I8 rows
    cdef I8 words
    cdef int nr_regions
    cdef readonly int stop
    cdef readonly long long stop_vaddr
    cpdef long long row_of(self, long long vaddr) noexcept
    cdef void _halt(self, int why, long long vaddr) noexcept
    cpdef long long walk(self, long long start, long long end, long long top, I8 vaddrs,
                        I8 sizes, U1 inuse) noexcept
    cpdef long long follow(self, long long head, long long link_offset, int mangled,
                          long long limit, I8 members) noexcept
