from memtwin.address_space.mm cimport Mm
from memtwin.address_space.page_table cimport PageTables
from memtwin.address_space.rmap cimport Rmap
from memtwin.address_space.vma cimport VMA
from memtwin.fault.table_alloc cimport TableAlloc
from memtwin.hardware.clock cimport Clock
from memtwin.hardware.cost cimport CostTable
from memtwin.page.mem_map cimport MemMap
from memtwin.swap.swap cimport Swap

cdef int HPAGE_PAGES
cdef int MM_ANONPAGES
cdef int MM_FILEPAGES
cdef int MM_SHMEMPAGES
cdef int MM_SWAPENTS
cdef int NR_MM_COUNTERS
cdef long long VM_SHARED
cdef int VMA_PFNMAP
cdef int HUGE_ENTRY
cdef int PTE_ACCESSED
cdef int PTE_DIRTY
cdef long long PTE_PFN_MASK
cdef int PTE_PFN_SHIFT
cdef int PTE_PRESENT
cdef int PTE_RW
cdef int PTE_SPECIAL
cdef int PTE_SWAP_EXCLUSIVE
cdef long long PTE_SWAP_MASK
cdef int PTE_SWAP_SHIFT
cdef int PTRS_PER_TABLE
cdef long long PG_ANON
cdef long long PG_SWAPBACKED
cdef int NEED_OOM

cdef class CopyRange:
    cdef public MemMap mem
    cdef public PageTables tables
    cdef public Rmap rmap
    cdef public Swap swap
    cdef public TableAlloc table_alloc
    cdef public Clock clock
    cdef public CostTable cost
    cdef long long[::1] rss
    cpdef int copy_vma(self, Mm child, VMA vma)
    cdef int copy_entry(self, VMA vma, long long source, long long target)
    cdef int copy_huge(self, Mm child, VMA vma, long long vpn)
