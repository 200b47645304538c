from memtwin.address_space.anon_vma cimport AnonVmas
from memtwin.address_space.mm cimport Mm
from memtwin.address_space.page_table cimport PageTables
from memtwin.address_space.rmap cimport Rmap
from memtwin.address_space.vma cimport VMA
from memtwin.address_space.vma_tree cimport VmaTree
from memtwin.hardware.clock cimport Clock
from memtwin.hardware.cost cimport CostTable
from memtwin.page.mem_map cimport MemMap
from memtwin.page.tunables cimport Tunables
from memtwin.reclaim.lru cimport Lru
from memtwin.reclaim.slowpath cimport Slowpath

cdef int MM_ANONPAGES
cdef long long VM_LOCKED
cdef long long VM_WRITE
cdef int VM_FAULT_OOM
cdef int PTE_DIRTY
cdef int PTE_PFN_SHIFT
cdef int PTE_RW
cdef int PTE_SPECIAL
cdef long long PG_ACTIVE
cdef long long PG_UPTODATE

cdef class AnonFault:
    cdef public MemMap mem
    cdef public PageTables tables
    cdef public Rmap rmap
    cdef public AnonVmas anon_vmas
    cdef public Slowpath slowpath
    cdef public Lru lru
    cdef public Clock clock
    cdef public CostTable cost
    cdef public Tunables tunables
    cdef public int zero_pfn
    cdef int read_zero(self, VMA vma, long long at)
    cdef int write_new(self, VMA vma, long long vpn, long long at)
    cdef int map_new(self, int pfn, VMA vma, long long vpn, long long at)
    cpdef int place(self, int pfn, VMA vma, long long vpn)
    cdef int add_to_lru(self, int pfn, VMA vma)
    cdef int prepare(self, VMA vma)
