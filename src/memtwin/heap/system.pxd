from memtwin.heap.call_log cimport CallLog

cdef int BRK
cdef int MADV_HUGEPAGE
cdef int MADVISE
cdef int MAP_HUGETLB
cdef int MMAP
cdef int MPROTECT
cdef int MREMAP
cdef int MUNMAP
cdef long long PAGE_SIZE
cdef int PROT_READ_WRITE

cdef class HeapSystem:
    cdef readonly object map
    cdef readonly CallLog log
    cdef public long long curbrk
    cdef public int break_is_off
    cdef public long long thp_bytes
    cpdef long long sbrk(self, long long increment) except? -1
    cpdef long long morecore(self, long long increment) except? -1
    cpdef long long mmap(self, long long hint, long long length, int protection) except? -1
    cpdef void munmap(self, long long address, long long length)
    cpdef long long mremap(
        self, long long address, long long old_length, long long new_length
    ) except? -1
    cpdef int mprotect(self, long long address, long long length, int protection) except? -1
    cpdef void madvise(self, long long address, long long length, int advice)
    cpdef void advise_huge(self, long long address, long long length)
