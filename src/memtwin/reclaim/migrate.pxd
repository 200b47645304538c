from memtwin.address_space.page_table cimport PageTables
from memtwin.address_space.rmap cimport Rmap
from memtwin.hardware.clock cimport Clock
from memtwin.hardware.cost cimport CostTable
from memtwin.page.mem_map cimport MemMap
from memtwin.page.vmstat cimport VmStat
from memtwin.page_cache.buffer_head cimport BufferHeads
from memtwin.page_cache.page_cache cimport PageCache
from memtwin.reclaim.lru cimport Lru
from memtwin.swap.swap cimport Swap

cdef int DIRTY
cdef int MIGRATED
cdef int MIGRATE_AGAIN
cdef int MIGRATE_ASYNC
cdef long long PG_ANON
cdef long long PG_DIRTY
cdef long long PG_LOCKED
cdef long long PG_LRU
cdef long long PG_META
cdef long long PG_MLOCKED
cdef long long PG_PRIVATE
cdef long long PG_SWAPBACKED
cdef long long PG_SWAPCACHE
cdef long long PG_WRITEBACK
cdef int NR_ISOLATED_ANON
cdef int NR_ISOLATED_FILE
cdef long long PTE_DIRTY
cdef long long PTE_PFN_MASK
cdef int PTE_PFN_SHIFT
cdef int UNEVICTABLE_PGS_MLOCKED
cdef int UNEVICTABLE_PGS_STRANDED

cdef class Migrate:
    cdef public MemMap mem
    cdef public VmStat vmstat
    cdef public Lru lru
    cdef public Rmap rmap
    cdef public PageTables tables
    cdef public PageCache page_cache
    cdef public BufferHeads buffer_heads
    cdef public Swap swap
    cdef public Clock clock
    cdef public CostTable cost
    cpdef int isolate(self, int pfn, int mode)
    cpdef int putback(self, int pfn)
    cpdef int move(self, int source, int target)
    cdef int has_mapping(self, int pfn) noexcept
    cdef int expected_refs(self, int pfn) noexcept
    cdef int count_isolated(self, int pfn, int delta)
    cdef int move_owner(self, int source, int target)
    cdef int move_row(self, int source, int target)
    cdef int move_entries(self, int source, int target)
