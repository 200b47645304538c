from memtwin.heap.arenas cimport Arenas
from memtwin.heap.memory cimport HeapMemory
from memtwin.heap.par cimport MallocPar
from memtwin.heap.system cimport HeapSystem
from memtwin.views cimport I4, I8

cdef long long BLOCK_ROWS
cdef int BLOCK_SHIFT
cdef int MADV_DONTNEED
cdef int MAP_HUGETLB
cdef long long MINSIZE
cdef long long PAGE_SIZE
cdef long long PREV_INUSE
cdef int PROT_NONE
cdef int PROT_READ_WRITE
cdef long long SIZE_BITS
cdef long long SIZEOF_MALLOC_STATE

cdef class Heaps:
    cdef HeapMemory memory
    cdef Arenas arenas
    cdef HeapSystem system
    cdef MallocPar par
    cdef I8 word
    cdef public I4 arena_of
    cdef public I8 prev
    cdef public I8 size
    cdef public I8 mprotect_size
    cdef public I8 page_bytes
    cdef public long long aligned_heap_area
    cpdef long long heap_for(self, long long row) noexcept
    cpdef long long new_heap(self, long long size) except? -1
    cdef long long _alloc_new_heap(self, long long size, long long page, int flags) except? -1
    cdef long long _aligned_area(self, int flags) except? -1
    cpdef int new_arena(self, long long size) except? -1
    cpdef int grow(self, long long heap, long long difference) except? -1
    cdef int _shrink(self, long long heap, long long difference) except? -1
    cpdef int trim(self, long long heap) except? -1
    cdef int _drop_last(self, long long heap, int arena) except? -1
