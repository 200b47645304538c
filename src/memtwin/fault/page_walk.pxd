from memtwin.address_space.mm cimport Mm
from memtwin.address_space.page_table cimport PageTables
from memtwin.address_space.rmap cimport Rmap
from memtwin.address_space.vma cimport VMA
from memtwin.fault.thp cimport Thp
from memtwin.fault.zap cimport Zap
from memtwin.page.mem_map cimport MemMap
from memtwin.reclaim.lru cimport Lru
from memtwin.swap.swap cimport Swap

cdef int MM_SWAPENTS
cdef long long VM_SHARED
cdef long long VM_WRITE
cdef int WALK_COLD
cdef int WALK_FREE
cdef int WALK_MLOCK
cdef int WALK_MUNLOCK
cdef int WALK_PROTECT
cdef int WALK_SWAPPED
cdef int HUGE_ENTRY
cdef int PTE_ACCESSED
cdef int PTE_DIRTY
cdef long long PTE_NX
cdef long long PTE_PFN_MASK
cdef int PTE_PFN_SHIFT
cdef int PTE_PRESENT
cdef int PTE_RW
cdef int PTE_SPECIAL
cdef long long PTE_SWAP_MASK
cdef int PTE_SWAP_SHIFT
cdef int PTE_USER
cdef int PTRS_PER_TABLE
cdef long long PG_ANON
cdef long long PG_ANON_EXCLUSIVE
cdef long long PG_DIRTY
cdef long long PG_HEAD
cdef long long PG_LRU
cdef long long PG_REFERENCED
cdef long long PG_SWAPCACHE
cdef long long PG_TAIL

cdef class PageWalk:
    cdef public MemMap mem
    cdef public PageTables tables
    cdef public Rmap rmap
    cdef public Lru lru
    cdef public Swap swap
    cdef public Thp thp
    cdef public Zap zap
    cdef public int nr_found
    cdef int capacity
    cdef public long long[::1] found
    cpdef long long walk(self, VMA vma, long long start_vpn, long long end_vpn, int what)
    cdef int visit(self, VMA vma, long long vpn, long long at, int what)
    cdef int note(self, long long value)
    cdef int free_lazily(self, long long at, long long entry, int pfn)
    cdef int cool(self, long long at, long long entry, int pfn, int what)
    cdef int protect(self, VMA vma, long long at, long long entry)
    cpdef long long resident(self, VMA vma, long long start_vpn, long long end_vpn)
