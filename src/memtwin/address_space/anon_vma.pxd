from memtwin.address_space.vma cimport VMA

cdef class AnonVma:
    cdef public int id
    cdef public int parent
    cdef public int num_children
    cdef public int num_active_vmas
    cdef public list vmas

cdef class AnonVmas:
    cdef public list all
    cdef public list unused
    cpdef AnonVma get(self, int number)
    cpdef int prepare(self, VMA vma, VMA before, VMA after)
