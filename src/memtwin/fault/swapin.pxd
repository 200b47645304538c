from memtwin.address_space.mm cimport Mm
from memtwin.address_space.page_table cimport PageTables
from memtwin.address_space.rmap cimport Rmap
from memtwin.address_space.vma cimport VMA
from memtwin.fault.cow cimport Cow
from memtwin.hardware.clock cimport Clock
from memtwin.hardware.cost cimport CostTable
from memtwin.memcg.table cimport MemcgTable
from memtwin.page.mem_map cimport MemMap
from memtwin.page.vmstat cimport VmStat
from memtwin.reclaim.folio_io cimport FolioIo
from memtwin.reclaim.lru cimport Lru
from memtwin.reclaim.swapin_readahead cimport SwapIn
from memtwin.swap.swap cimport Swap

cdef int MM_ANONPAGES
cdef int MM_SWAPENTS
cdef long long VM_LOCKED
cdef long long VM_WRITE
cdef int READ
cdef int VM_FAULT_MAJOR
cdef int VM_FAULT_OOM
cdef int VM_FAULT_RETRY
cdef int VM_FAULT_SIGBUS
cdef int WRITE
cdef int STALL_SWAP_IN
cdef int PTE_DIRTY
cdef int PTE_PFN_SHIFT
cdef int PTE_RW
cdef int PTE_SWAP_EXCLUSIVE
cdef long long PTE_SWAP_MASK
cdef int PTE_SWAP_SHIFT
cdef long long PG_LOCKED
cdef long long PG_LRU
cdef long long PG_MLOCKED
cdef long long PG_SWAPCACHE
cdef long long PG_UPTODATE
cdef long long PG_WRITEBACK
cdef int PGMAJFAULT

cdef class SwapFault:
    cdef public MemMap mem
    cdef public PageTables tables
    cdef public Rmap rmap
    cdef public Lru lru
    cdef public Clock clock
    cdef public CostTable cost
    cdef public VmStat vmstat
    cdef public Cow cow
    cdef public Swap swap
    cdef public SwapIn swap_in
    cdef public FolioIo folio_io
    cdef public MemcgTable memcg
    cdef int do_swap_page(self, VMA vma, long long vpn, long long at, int kind, int tried)
    cdef int map_page(
        self, VMA vma, long long vpn, long long at, int pfn, long long entry, int kind
    )
    cdef int is_exclusive(self, int pfn, long long entry, long long old)
    cdef int should_try_to_free_swap(self, VMA vma, int pfn, int kind)
