from memtwin.hardware.clock cimport Clock
from memtwin.hardware.cost cimport CostTable
from memtwin.page.buddy cimport Buddy
from memtwin.page.mem_map cimport MemMap
from memtwin.page.page_alloc cimport PageAlloc
from memtwin.page.vmstat cimport VmStat
from memtwin.page.zone cimport Zone, Zones
from memtwin.reclaim.compact_control cimport CompactControl, CompactHints
from memtwin.reclaim.free_scanner cimport FreeScanner
from memtwin.reclaim.lru cimport Lru
from memtwin.reclaim.migrate cimport Migrate

cdef int COMPACT_CLUSTER_MAX
cdef int COMPACT_COMPLETE
cdef int COMPACT_CONTENDED
cdef int COMPACT_CONTINUE
cdef int COMPACT_FREE_SCANNED
cdef int COMPACT_ISOLATED
cdef int COMPACT_MIGRATE_SCANNED
cdef int COMPACT_PARTIAL_SKIPPED
cdef int COMPACT_SUCCESS
cdef int MAX_ORDER
cdef int MIGRATED
cdef int MIGRATE_ASYNC
cdef int MIGRATE_CMA
cdef int MIGRATE_MOVABLE
cdef int MIGRATE_TYPES
cdef int MOST_MIGRATE_PAGES
cdef int NIL
cdef int NR_PAGE_ORDERS
cdef int PAGEBLOCK_ORDER
cdef int PAGEBLOCK_PAGES
cdef int PAGEBLOCK_SHIFT
cdef int PAGE_ALLOC_COSTLY_ORDER
cdef long long PG_BUDDY
cdef long long PG_HEAD
cdef long long PG_LRU
cdef int PGMIGRATE_FAIL
cdef int PGMIGRATE_SUCCESS

cdef class Compaction:
    cdef public MemMap mem
    cdef public Lru lru
    cdef public Migrate migrate
    cdef public PageAlloc page_alloc
    cdef public Buddy buddy
    cdef public Zones zones
    cdef public VmStat vmstat
    cdef public Clock clock
    cdef public CostTable cost
    cdef public CompactHints hints
    cdef public FreeScanner free_scanner
    cdef int[::1] migratepages
    cdef int order_scanned
    cpdef int compact_zone(self, CompactControl cc)
    cdef void begin(self, CompactControl cc)
    cdef int migrate_batch(self, CompactControl cc)
    cdef void end(self, CompactControl cc)
    cdef int scanners_met(self, CompactControl cc) noexcept
    cdef int finished(self, CompactControl cc)
    cdef int isolate_migratepages(self, CompactControl cc)
    cdef int suitable_source(self, CompactControl cc, int pfn) noexcept
    cdef void isolate_migratepages_block(self, CompactControl cc, int low_pfn, int end_pfn)
    cdef void putback_all(self, CompactControl cc)
    cdef int fast_find_migrateblock(self, CompactControl cc)
    cdef int find_free_source(self, CompactControl cc, int order, int high_pfn, int limit)
