from memtwin.heap.arenas cimport Arenas
from memtwin.heap.heaps cimport Heaps
from memtwin.heap.memory cimport HeapMemory
from memtwin.heap.par cimport MallocPar
from memtwin.heap.system cimport HeapSystem
from memtwin.heap.tcache cimport Tcache
from memtwin.views cimport I8

cdef long long ARENA_ROWS
cdef int BINMAPSIZE
cdef long long CHUNK_HDR_SZ
cdef int CONSOLIDATE_SIZE
cdef int DOUBLE_FREE_OUT
cdef int DOUBLE_FREE_PREV
cdef int DOUBLE_FREE_TOP
cdef long long FASTBIN_CONSOLIDATION_THRESHOLD
cdef int FASTBIN_ENTRY
cdef int FASTTOP
cdef int FREE_INVALID_SIZE
cdef int FREE_NEXT_SIZE
cdef int FREE_NEXT_SIZE_FAST
cdef int FREE_SMALLBIN
cdef int FREE_UNSORTED
cdef long long IS_MMAPPED
cdef long long MIN_LARGE_SIZE
cdef long long MINSIZE
cdef int MUNMAP_INVALID
cdef int NFASTBINS
cdef long long PAGE_SIZE
cdef long long PREV_INUSE
cdef int PREV_SIZE_CONSOLIDATING
cdef int PREV_SIZE_FASTBINS
cdef long long SIZE_BITS
cdef long long TCACHE_KEY

cdef class IntFree:
    cdef HeapMemory memory
    cdef Arenas arenas
    cdef Heaps heaps
    cdef HeapSystem system
    cdef MallocPar par
    cdef Tcache tcache
    cdef I8 word
    cdef long long end_row
    cdef int _is_outside(self, long long row) noexcept
    cdef int _die(self, int fault) except? -1
    cpdef int free_chunk(self, int arena, long long p, int lock) except? -1
    cdef int _to_fastbin(self, int arena, long long p, long long size, int lock) except? -1
    cpdef int merge_chunk(self, int arena, long long p, long long size) except? -1
    cdef long long _take_before(self, long long p, int fault) except? -1
    cpdef long long create_chunk(
        self, int arena, long long p, long long size, long long after, long long after_size
    ) except? -1
    cdef int _to_smallbin(self, int arena, long long p, long long size) except? -1
    cpdef int maybe_consolidate(self, int arena, long long size) except? -1
    cpdef int consolidate(self, int arena) except? -1
    cdef int _consolidate_one(self, int arena, long long p) except? -1
    cpdef int systrim(self, long long pad) except? -1
    cpdef int munmap_chunk(self, long long p) except? -1
