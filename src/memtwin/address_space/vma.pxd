from memtwin.address_space.mm cimport Mm

cdef int VM_ACCESS
cdef int VM_EXEC
cdef int VM_SHARED
cdef int VM_WRITE
cdef int VMA_ANON
cdef int VMA_FILE
cdef int PTE_ACCESSED
cdef long long PTE_NX
cdef int PTE_PRESENT
cdef int PTE_RW
cdef int PTE_USER

cdef class VMA:
    cdef public Mm mm
    cdef public long long start_vpn
    cdef public long long end_vpn
    cdef public long long vm_flags
    cdef public int kind
    cdef public long long pgoff
    cdef public int mapping_id
    cdef public int anon_vma
    cdef public list chain
    cdef public object file
    cdef public object ra
    cdef public object swap_ra
    cdef public int special_pfn
    cdef public str name
    cdef public long long prot
    cpdef void set_prot(self)
