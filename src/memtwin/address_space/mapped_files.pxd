from memtwin.address_space.vma cimport VMA

cdef long long VM_SHARED

cdef class MappedFiles:
    cdef public dict areas
    cpdef list of(self, int mapping_id)
    cpdef int is_mapped(self, int mapping_id)
    cpdef int is_writably_mapped(self, int mapping_id)
