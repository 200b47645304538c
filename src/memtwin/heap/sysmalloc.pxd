from memtwin.heap.arenas cimport Arenas
from memtwin.heap.heaps cimport Heaps
from memtwin.heap.int_free cimport IntFree
from memtwin.heap.memory cimport HeapMemory
from memtwin.heap.par cimport MallocPar
from memtwin.heap.system cimport HeapSystem
from memtwin.views cimport I8

cdef long long BLOCK_ROWS
cdef int BLOCK_SHIFT
cdef int BRK_ADJUSTED
cdef long long CHUNK_HDR_SZ
cdef int HAVE_LOCK
cdef long long IS_MMAPPED
cdef long long MALLOC_ALIGN_MASK
cdef int MAP_HUGETLB
cdef long long MINSIZE
cdef long long MMAP_AS_MORECORE_SIZE
cdef long long NON_MAIN_ARENA
cdef long long PAGE_SIZE
cdef long long PREV_INUSE
cdef int PROT_READ_WRITE
cdef long long PTRDIFF_MAX
cdef long long SIZE_BITS
cdef long long SIZE_SZ

cdef class SysMalloc:
    cdef HeapMemory memory
    cdef Arenas arenas
    cdef Heaps heaps
    cdef HeapSystem system
    cdef MallocPar par
    cdef IntFree int_free
    cdef I8 word
    cdef long long region_bytes
    cpdef long long mapped_chunk(self, long long nb) except? -1
    cdef long long _map(self, long long nb, long long page, int flags) except? -1
    cpdef long long more(self, int arena, long long nb) except? -1
    cpdef long long take_top(self, int arena, long long nb) except? -1
    cdef long long _more_heap(self, int arena, long long nb, int tried_mmap) except? -1
    cdef int _leave_heap(self, int arena, long long top, long long old_size) except? -1
    cdef int _more_main(self, long long nb) except? -1
    cdef long long _rounded(self, long long size) noexcept
    cdef long long _instead_of_break(
        self, long long size, long long nb, long long old_size
    ) except? -1
    cdef long long _region(
        self, long long size, long long nb, long long old_size, long long unit, long long least,
        int flags
    ) except? -1
    cdef int _new_top(
        self, long long brk, long long size, long long end, long long old_size
    ) except? -1
    cdef long long _row_at(self, long long start, long long size, long long end) except? -1
    cdef int _fence(self, long long top, long long old_size) except? -1
