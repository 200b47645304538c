from memtwin.address_space.vma cimport VMA

cdef int VM_GROWSDOWN
cdef int STACK_GUARD_GAP_PAGES
cdef int MMAP_MIN_VPN

cdef class VmaTree:
    cdef public list vmas
    cdef public int nr
    cdef public long long[::1] starts
    cdef int capacity
    cdef int last
    cpdef int index_above(self, long long vpn)
    cpdef int first_ending_above(self, long long vpn)
    cpdef VMA find(self, long long vpn)
    cpdef VMA at(self, int index)
    cdef int _copy_starts(self, int first)
    cpdef long long free_gap_below(self, long long size_pages, long long ceiling_vpn)
    cpdef long long free_gap_above(
        self, long long size_pages, long long floor_vpn, long long ceiling_vpn
    )
