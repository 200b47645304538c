from memtwin.heap.arenas cimport Arenas
from memtwin.heap.heaps cimport Heaps
from memtwin.heap.int_free cimport IntFree
from memtwin.heap.int_malloc cimport IntMalloc
from memtwin.heap.memory cimport HeapMemory
from memtwin.heap.par cimport MallocPar
from memtwin.heap.resize cimport Resize
from memtwin.heap.sysmalloc cimport SysMalloc
from memtwin.heap.system cimport HeapSystem
from memtwin.heap.tcache cimport Tcache
from memtwin.heap.thread_arenas cimport ThreadArenas
from memtwin.views cimport I8

cdef int BLOCK_SHIFT
cdef long long CHUNK_HDR_SZ
cdef long long DEFAULT_MMAP_THRESHOLD_MAX
cdef long long IS_MMAPPED
cdef long long MALLOC_ALIGN_MASK
cdef long long MINSIZE
cdef int NO_ARENA
cdef int NO_LOCK
cdef long long NON_MAIN_ARENA
cdef long long PAGE_SIZE
cdef long long PREV_INUSE
cdef long long PTRDIFF_MAX
cdef int ROWS_A_PAGE_SHIFT
cdef long long SIZE_BITS
cdef long long SIZE_SZ
cdef long long SIZEOF_TCACHE
cdef long long TCACHE_KEY
cdef int TCACHE_MAX_BINS

cdef class Heap:
    cdef readonly HeapMemory memory
    cdef readonly Arenas arenas
    cdef readonly Heaps heaps
    cdef readonly HeapSystem system
    cdef readonly MallocPar par
    cdef readonly Tcache tcache
    cdef I8 word
    cdef readonly IntFree int_free
    cdef readonly SysMalloc sysmalloc
    cdef readonly IntMalloc int_malloc
    cdef readonly Resize resize
    cdef readonly ThreadArenas thread_arenas
    cdef public int is_threaded
    cdef readonly long long zeroed_bytes
    cdef readonly dict requested
    cpdef int arena_for_chunk(self, long long p) except? -1
    cdef int _arena(self, long long size) except? -1
    cdef int _init_tcache(self) except? -1
    cdef long long _checked_malloc(self, long long size) except? -1
    cdef long long _checked(self, long long p, long long size) except? -1
    cdef long long _cached(self, long long i) noexcept
    cdef int _cache(self, long long p, long long size) noexcept
    cdef long long _from_arenas(self, long long size, long long nb) except? -1
    cdef int _touch(self, long long p, long long end_bytes) except? -1
    cpdef long long malloc_row(self, long long size) except? -1
    cpdef int free_row(self, long long p) except? -1
    cpdef long long calloc_row(self, long long size) except? -1
    cdef long long _dirty_top(self, int arena, long long top) except? -1
    cdef long long _zeroed(self, long long p, long long zeroed, long long size) except? -1
    cpdef long long realloc_row(self, long long p, long long size) except? -1
    cdef long long _reallocate(self, long long p, long long size) except? -1
    cpdef long long memalign_row(self, long long alignment, long long size) except? -1
    cpdef long long usable_row(self, long long p) except? -1
