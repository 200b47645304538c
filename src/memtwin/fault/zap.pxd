from memtwin.address_space.mm cimport Mm
from memtwin.address_space.page_table cimport PageTables
from memtwin.address_space.rmap cimport Rmap
from memtwin.address_space.vma cimport VMA
from memtwin.fault.table_alloc cimport TableAlloc
from memtwin.file_io.dirty cimport Dirty
from memtwin.file_io.open_file cimport OpenFile
from memtwin.hardware.clock cimport Clock
from memtwin.hardware.cost cimport CostTable
from memtwin.page.mem_map cimport MemMap
from memtwin.reclaim.lru cimport Lru
from memtwin.swap.swap cimport Swap
from memtwin.views cimport I4

cdef int HPAGE_PAGES
cdef int MM_ANONPAGES
cdef int MM_FILEPAGES
cdef int MM_SHMEMPAGES
cdef int MM_SWAPENTS
cdef int NR_MM_COUNTERS
cdef long long VM_LOCKED
cdef long long VM_SEQ_READ
cdef int VMA_FILE
cdef int HUGE_ENTRY
cdef int PTE_ACCESSED
cdef int PTE_DIRTY
cdef long long PTE_PFN_MASK
cdef int PTE_PFN_SHIFT
cdef int PTE_PRESENT
cdef int PTE_SPECIAL
cdef long long PTE_SWAP_MASK
cdef int PTE_SWAP_SHIFT
cdef int PTRS_PER_TABLE
cdef long long PG_ANON
cdef long long PG_DIRTY
cdef long long PG_HEAD
cdef long long PG_SWAPBACKED
cdef long long PG_SWAPCACHE
cdef int BATCH_PAGES
cdef int BUNDLE_PAGES
cdef int GATHER_PAGES

cdef class Zap:
    cdef public MemMap mem
    cdef public PageTables tables
    cdef public Rmap rmap
    cdef public Lru lru
    cdef public Swap swap
    cdef public TableAlloc table_alloc
    cdef public Dirty dirty
    cdef public Clock clock
    cdef public CostTable cost
    cdef public int[::1] gathered
    cdef public int nr_gathered
    cdef I4 batch
    cdef long long[::1] rss
    cpdef long long unmap_range(self, VMA vma, long long start_vpn, long long end_vpn)
    cdef long long zap_table(self, VMA vma, long long first, long long beyond)
    cdef int zap_present(self, VMA vma, long long entry)
    cdef int mark_dirty(self, VMA vma, int pfn)
    cdef long long zap_huge(self, VMA vma, long long vpn)
    cdef int free_swap_and_cache(self, long long entry)
    cdef int gather(self, int pfn)
    cpdef int finish(self)
