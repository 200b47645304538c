from memtwin.address_space.mm cimport Mm
from memtwin.address_space.page_table cimport PageTables
from memtwin.address_space.rmap cimport Rmap
from memtwin.address_space.vma cimport VMA
from memtwin.fault.anonymous cimport AnonFault
from memtwin.fault.file_fault cimport FileFault
from memtwin.hardware.clock cimport Clock
from memtwin.hardware.cost cimport CostTable
from memtwin.page.mem_map cimport MemMap
from memtwin.page.vmstat cimport VmStat
from memtwin.reclaim.lru cimport Lru
from memtwin.reclaim.slowpath cimport Slowpath
from memtwin.swap.swap cimport Swap

cdef int MM_ANONPAGES
cdef int MM_FILEPAGES
cdef int MM_SHMEMPAGES
cdef long long VM_LOCKED
cdef long long VM_SHARED
cdef int VM_FAULT_OOM
cdef int PTE_ACCESSED
cdef int PTE_DIRTY
cdef long long PTE_PFN_MASK
cdef int PTE_PFN_SHIFT
cdef int PTE_RW
cdef int PTE_SPECIAL
cdef long long PG_ANON
cdef long long PG_ANON_EXCLUSIVE
cdef long long PG_HEAD
cdef long long PG_LOCKED
cdef long long PG_LRU
cdef long long PG_SWAPBACKED
cdef long long PG_SWAPCACHE
cdef long long PG_TAIL
cdef int PGREUSE

cdef class Cow:
    cdef public MemMap mem
    cdef public PageTables tables
    cdef public Rmap rmap
    cdef public Lru lru
    cdef public Slowpath slowpath
    cdef public Clock clock
    cdef public CostTable cost
    cdef public AnonFault anon
    cdef public FileFault file
    cdef public Swap swap
    cdef public VmStat vmstat
    cdef int do_wp_page(self, VMA vma, long long vpn, long long at)
    cdef int reuse(self, long long at)
    cdef int may_reuse(self, VMA vma, long long vpn, int pfn)
    cdef int copy_page(self, VMA vma, long long vpn, long long at, int old)
    cdef int uncharged(self, int pfn)
    cdef int drop_old(self, VMA vma, int old, int head)
