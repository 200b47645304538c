from memtwin.heap.arenas cimport Arenas
from memtwin.heap.int_free cimport IntFree
from memtwin.heap.memory cimport HeapMemory
from memtwin.heap.par cimport MallocPar
from memtwin.heap.sysmalloc cimport SysMalloc
from memtwin.heap.tcache cimport Tcache
from memtwin.views cimport I8, U1

cdef long long ARENA_ROWS
cdef int BINMAPSIZE
cdef int BITSPERMAP
cdef long long CHUNK_HDR_SZ
cdef int FAST_CORRUPTION
cdef long long MAX_ITERS
cdef long long MIN_LARGE_SIZE
cdef long long MINSIZE
cdef int NFASTBINS
cdef int NO_ARENA
cdef long long NON_MAIN_ARENA
cdef long long PREV_INUSE
cdef int ROWS_A_PAGE_SHIFT
cdef long long SIZE_BITS
cdef int SMALLBIN_LIST
cdef int TOP_SIZE
cdef int UNSORTED_CHUNKS
cdef int UNSORTED_CHUNKS_2
cdef int UNSORTED_LIST
cdef int UNSORTED_MISMATCH
cdef int UNSORTED_NEXT_SIZE
cdef int UNSORTED_PREV_INUSE
cdef int UNSORTED_SIZE

cdef class IntMalloc:
    cdef HeapMemory memory
    cdef Arenas arenas
    cdef MallocPar par
    cdef Tcache tcache
    cdef IntFree int_free
    cdef SysMalloc sysmalloc
    cdef I8 word
    cdef long long end_row
    cdef U1 resident
    cdef long long sorted_chunks
    cdef int _is_outside(self, long long row) noexcept
    cdef long long _die(self, int fault) except? -1
    cpdef long long malloc_chunk(self, int arena, long long nb) except? -1
    cdef long long _from_fastbin(self, int arena, long long nb) except? -1
    cdef long long _from_smallbin(self, int arena, long long nb) except? -1
    cdef void _use(self, int arena, long long p, long long size) noexcept
    cdef long long _from_unsorted(self, int arena, long long nb) except? -1
    cdef int _is_broken(self, int arena, long long p, long long unsorted) except? -1
    cdef long long _split_last_remainder(
        self, int arena, long long p, long long size, long long nb
    ) except? -1
    cdef int _set_heads(
        self, int arena, long long p, long long nb, long long rest, long long rest_size
    ) except? -1
    cdef long long _from_large_bin(self, int arena, long long nb) except? -1
    cdef long long _from_larger_bins(self, int arena, long long nb) except? -1
    cdef long long _cut(self, int arena, long long p, long long nb, int fault) except? -1
    cdef long long _from_top(self, int arena, long long nb) except? -1
