from memtwin.heap.memory cimport HeapMemory
from memtwin.heap.par cimport MallocPar
from memtwin.views cimport I1, I8

cdef int TCACHE_DOUBLE_FREE
cdef long long TCACHE_KEY
cdef int TCACHE_MAX_BINS
cdef int TCACHE_TOO_MANY

cdef class Tcache:
    cdef HeapMemory memory
    cdef MallocPar par
    cdef I8 word
    cdef public long long thread
    cdef public long long first_bin
    cdef public int threads
    cdef public I8 counts
    cdef public I8 entries
    cdef public I8 own_chunk
    cdef public I1 shutting_down
    cpdef int has(self, long long i) noexcept
    cpdef int has_room(self, long long i) noexcept
    cpdef void put(self, long long p, long long i) noexcept
    cpdef long long get(self, long long i) noexcept
    cpdef long long get_aligned(self, long long i, long long alignment) except? -1
    cpdef int holds(self, long long p, long long i) except? -1
