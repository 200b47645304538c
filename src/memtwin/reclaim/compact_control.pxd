from memtwin.page.mem_map cimport MemMap
from memtwin.page.zone cimport Zone, Zones

cdef int COMPACT_CLUSTER_MAX
cdef int MIGRATE_ASYNC
cdef int MIGRATE_MOVABLE
cdef int PAGEBLOCK_PAGES
cdef int PAGEBLOCK_SHIFT
cdef int PAGE_ALLOC_COSTLY_ORDER
cdef long long PG_BUDDY
cdef long long PG_LRU

cdef class CompactControl:
    cdef public Zone zone
    cdef public int order
    cdef public int mode
    cdef public int migratetype
    cdef public int direct_compaction
    cdef public int whole_zone
    cdef public int ignore_skip_hint
    cdef public int ignore_block_suitable
    cdef public int rescan
    cdef public int search_order
    cdef public int fast_search_fail
    cdef public int migrate_pfn
    cdef public int free_pfn
    cdef public int fast_start_pfn
    cdef public int nr_migratepages
    cdef public int nr_freepages
    cdef public long long total_migrate_scanned
    cdef public long long total_free_scanned
    cdef int scan_limit(self) noexcept

cdef class CompactHints:
    cdef public MemMap mem
    cdef public Zones zones
    cdef public signed char[::1] skip
    cdef public int[::1] cached_free_pfn
    cdef public int[::1] cached_migrate_pfn
    cdef public int[::1] cached_sync_pfn
    cdef public int[::1] init_migrate_pfn
    cdef public int[::1] init_free_pfn
    cdef public signed char[::1] blockskip_flush
    cdef void update_cached_migrate(self, CompactControl cc, int pfn) noexcept
    cdef void reset_cached_positions(self, Zone zone) noexcept
    cdef int in_zone(self, int start_pfn, int end_pfn, Zone zone)
    cpdef int reset_isolation_suitable(self, int zone_id)
    cdef int reset_isolation_pfn(self, Zone zone, int pfn, int source, int target)
