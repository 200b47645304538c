from memtwin.page.buddy cimport Buddy
from memtwin.page.mem_map cimport MemMap
from memtwin.page.page_alloc cimport PageAlloc
from memtwin.page.vmstat cimport VmStat
from memtwin.page.zone cimport Zone, Zones
from memtwin.reclaim.compact_control cimport CompactControl, CompactHints

cdef int ALLOC_CMA
cdef int COMPACT_CLUSTER_MAX
cdef int COMPACT_ISOLATED
cdef int MIGRATE_ASYNC
cdef int MIGRATE_CMA
cdef int MIGRATE_MOVABLE
cdef int MIGRATE_PCPTYPES
cdef int MIGRATE_TYPES
cdef int MOST_FREE_PAGES
cdef int NIL
cdef int NR_PAGE_ORDERS
cdef int PAGEBLOCK_ORDER
cdef int PAGEBLOCK_PAGES
cdef int PAGEBLOCK_SHIFT
cdef long long PG_BUDDY
cdef long long PG_HEAD

cdef class FreeScanner:
    cdef public PageAlloc page_alloc
    cdef public CompactHints hints
    cdef public MemMap mem
    cdef public Buddy buddy
    cdef public Zones zones
    cdef public VmStat vmstat
    cdef int[::1] freepages
    cdef int free_total
    cdef int isolate_pfn
    cdef int highest_seen
    cdef int order_scanned
    cdef int compaction_alloc(self, CompactControl cc)
    cdef void isolate_freepages(self, CompactControl cc)
    cdef int suitable_target(self, CompactControl cc, int pfn) noexcept
    cdef int isolate_freepages_block(
        self, CompactControl cc, int start_pfn, int end_pfn, int stride
    )
    cdef int isolate_free_block(self, CompactControl cc, int pfn)
    cdef void fast_isolate_freepages(self, CompactControl cc)
    cdef int search_free_list(
        self, CompactControl cc, int order, int low_pfn, int min_pfn, int limit
    )
    cdef void fast_isolate_around(self, CompactControl cc, int pfn)
    cdef int give_back(self, CompactControl cc, int pfn)
    cdef int release(self, CompactControl cc)
