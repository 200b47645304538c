from memtwin.heap.memory cimport HeapMemory
from memtwin.views cimport I4, I8, U1

cdef long long ARENA_ROWS
cdef int BINMAPSIZE
cdef int LARGEBIN_BK
cdef int LARGEBIN_NEXTSIZE
cdef long long MIN_LARGE_SIZE
cdef int PREV_INUSE
cdef int ROWS_A_PAGE_SHIFT
cdef long long SIZE_BITS
cdef int UNLINK_LIST
cdef int UNLINK_NEXTSIZE
cdef int UNLINK_SIZE

cdef class Arenas:
    cdef readonly HeapMemory memory
    cdef I8 word
    cdef long long end_row
    cdef U1 resident
    cdef public int count
    cdef public I8 top
    cdef public I8 last_remainder
    cdef public I8 system_mem
    cdef public I8 max_system_mem
    cdef public I4 noncontiguous
    cdef public I4 have_fastchunks
    cdef public I4 next
    cdef public I4 next_free
    cdef public I4 attached_threads
    cdef public I8 fastbin
    cdef public I8 binmap
    cpdef long long bin_at(self, int arena, int i) noexcept
    cpdef long long chunk_size(self, long long p) noexcept
    cdef int put_size(self, long long p, long long value) except -1
    cdef int put_foot(self, long long p, long long size) except -1
    cdef int link_between(self, long long p, long long bck, long long fwd) except -1
    cdef int _is_outside(self, long long row) noexcept
    cdef int unlink_chunk(self, long long p) except? -1
    cdef int _unlink_size(self, long long p, long long fd) except? -1
    cdef int _broken(self, int fault) except? -1
    cdef int to_unsorted(self, int arena, long long p, long long size, int fault) except? -1
    cdef int clear_nextsize(self, long long p) except -1
    cpdef int bin_index(self, long long size) noexcept
    cdef void mark_bin(self, int arena, int i) noexcept
    cdef int sort_chunk(self, int arena, long long p, long long size) except? -1
    cdef long long _place_large(self, long long p, long long size, long long bck) except? -1
    cdef int _place_nextsize(self, long long p, long long smaller, long long larger) except -1
