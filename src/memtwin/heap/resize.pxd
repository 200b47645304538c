from memtwin.heap.arenas cimport Arenas
from memtwin.heap.int_free cimport IntFree
from memtwin.heap.int_malloc cimport IntMalloc
from memtwin.heap.memory cimport HeapMemory
from memtwin.heap.par cimport MallocPar
from memtwin.heap.system cimport HeapSystem
from memtwin.views cimport I8

cdef long long CHUNK_HDR_SZ
cdef int HAVE_LOCK
cdef long long IS_MMAPPED
cdef long long MALLOC_ALIGN_MASK
cdef long long MINSIZE
cdef int MREMAP_INVALID
cdef long long NON_MAIN_ARENA
cdef long long PAGE_SIZE
cdef long long PREV_INUSE
cdef int REALLOC_NEXT_SIZE
cdef int REALLOC_OLD_SIZE
cdef long long SIZE_BITS
cdef long long SIZE_SZ

cdef class Resize:
    cdef HeapMemory memory
    cdef Arenas arenas
    cdef HeapSystem system
    cdef MallocPar par
    cdef IntFree int_free
    cdef IntMalloc int_malloc
    cdef I8 word
    cdef public long long copied_bytes
    cdef long long _die(self, int fault) except? -1
    cpdef long long realloc_chunk(self, int arena, long long p, long long nb) except? -1
    cdef int _fill(self, long long p, long long size) except? -1
    cdef long long _move(self, int arena, long long p, long long old_size, long long nb) except? -1
    cdef int _set_size(self, int arena, long long p, long long size) except? -1
    cdef long long _give_tail(self, int arena, long long p, long long size, long long nb) except? -1
    cpdef long long mremap_chunk(self, long long p, long long nb) except? -1
    cpdef long long memalign_chunk(self, int arena, long long alignment, long long nb) except? -1
    cdef long long _give_lead(
        self, int arena, long long p, long long lead, long long size
    ) except? -1
    cdef long long _free_tail(self, int arena, long long p, long long nb) except? -1
    cdef long long _merge_tail(self, int arena, long long p, long long nb) except? -1
