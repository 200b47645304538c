from memtwin.address_space.mm cimport Mm
from memtwin.address_space.page_table cimport PageTables
from memtwin.address_space.rmap cimport Rmap
from memtwin.address_space.vma cimport VMA
from memtwin.fault.anonymous cimport AnonFault
from memtwin.fault.table_alloc cimport TableAlloc
from memtwin.hardware.clock cimport Clock
from memtwin.hardware.cost cimport CostTable
from memtwin.memcg.table cimport MemcgTable
from memtwin.page.mem_map cimport MemMap
from memtwin.page.tunables cimport Tunables
from memtwin.page.vmstat cimport VmStat
from memtwin.reclaim.slowpath cimport Slowpath

cdef int HPAGE_PAGES
cdef int MM_ANONPAGES
cdef long long VM_HUGEPAGE
cdef long long VM_NOHUGEPAGE
cdef long long VM_WRITE
cdef int VMA_ANON
cdef int VM_FAULT_FALLBACK
cdef int VM_FAULT_OOM
cdef int WRITE
cdef int HUGE_ENTRY
cdef int PTE_ACCESSED
cdef int PTE_DIRTY
cdef long long PTE_PFN_MASK
cdef int PTE_PFN_SHIFT
cdef int PTE_PRESENT
cdef long long PTE_PSE
cdef int PTE_RW
cdef int PTE_SPECIAL
cdef int PTE_USER
cdef int CHARGE_OK
cdef long long PG_ANON_EXCLUSIVE
cdef long long PG_SWAPCACHE
cdef long long PG_UPTODATE
cdef int GFP_DIRECT_RECLAIM
cdef int GFP_TRANSHUGE_LIGHT
cdef int THP_ALWAYS
cdef int THP_MADVISE
cdef int THP_NEVER
cdef int THP_FAULT_ALLOC
cdef int THP_FAULT_FALLBACK
cdef int THP_FAULT_FALLBACK_CHARGE
cdef int THP_ZERO_PAGE_ALLOC
cdef int HPAGE_ORDER

cdef class Thp:
    cdef public MemMap mem
    cdef public PageTables tables
    cdef public Rmap rmap
    cdef public Slowpath slowpath
    cdef public Clock clock
    cdef public CostTable cost
    cdef public Tunables tunables
    cdef public AnonFault anon
    cdef public TableAlloc table_alloc
    cdef public MemcgTable memcg
    cdef public VmStat vmstat
    cdef public int zero_head
    cdef int hit(self, Mm mm, long long vpn, int kind) noexcept
    cdef int may_try(self, VMA vma, long long vpn) noexcept
    cdef int anonymous(self, VMA vma, long long vpn, int kind)
    cdef int gfp(self, VMA vma) noexcept
    cdef int map_zero(self, VMA vma, long long vpn)
    cdef int huge_fault(self, VMA vma, long long vpn, int kind)
    cdef int alone(self, int head)
    cpdef int split(self, Mm mm, long long vpn)
