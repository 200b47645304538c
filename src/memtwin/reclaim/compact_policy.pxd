from memtwin.page.page_alloc cimport PageAlloc
from memtwin.page.tunables cimport Tunables
from memtwin.page.vmstat cimport VmStat
from memtwin.page.zone cimport Zone, Zones
from memtwin.reclaim.compact_control cimport CompactControl
from memtwin.reclaim.compaction cimport Compaction
from memtwin.reclaim.vmscan cimport Vmscan

cdef int ALLOC_CMA
cdef int ALLOC_WMARK_MASK
cdef int COMPACTFAIL
cdef int COMPACTSTALL
cdef int COMPACTSUCCESS
cdef int COMPACT_COMPLETE
cdef int COMPACT_CONTINUE
cdef int COMPACT_DAEMON_FREE_SCANNED
cdef int COMPACT_DAEMON_MIGRATE_SCANNED
cdef int COMPACT_DAEMON_WAKE
cdef int COMPACT_DEFERRED
cdef int COMPACT_MAX_DEFER_SHIFT
cdef int COMPACT_PARTIAL_SKIPPED
cdef int COMPACT_PRIO_ASYNC
cdef int COMPACT_SKIPPED
cdef int COMPACT_SUCCESS
cdef int MIGRATE_ASYNC
cdef int MIGRATE_SYNC
cdef int MIGRATE_SYNC_LIGHT
cdef int MIGRATE_UNMOVABLE
cdef int MIN_COMPACT_COSTLY_PRIORITY
cdef int MIN_COMPACT_PRIORITY
cdef int NR_FREE_PAGES
cdef int NR_PAGE_ORDERS
cdef int PAGE_ALLOC_COSTLY_ORDER
cdef int WHOLE_ZONES
cdef int _MAX_COMPACT_RETRIES

cdef class CompactPolicy:
    cdef public Compaction compaction
    cdef public PageAlloc page_alloc
    cdef public Vmscan vmscan
    cdef public Zones zones
    cdef public VmStat vmstat
    cdef public Tunables tunables
    cdef public int[::1] considered
    cdef public int[::1] defer_shift
    cdef public int[::1] order_failed
    cdef public int result
    cdef public int retries
    cdef public int priority
    cpdef int compact_all(self)
    cpdef int kswapd_sleeps(self, int node, int order, int highest)
    cpdef int wakeup_kcompactd(self, int node, int order, int highest)
    cdef void kcompactd(self, int node, int order, int highest)
    cdef int suitable(
        self, Zone zone, int order, int alloc_flags, int highest, long long free_pages
    )
    cdef int compaction_suitable(self, Zone zone, int order, int alloc_flags, int highest)
    cdef long long fragmentation_index(self, Zone zone, int order)
    cdef int deferred(self, Zone zone, int order)
    cdef void defer_compaction(self, Zone zone, int order)
    cdef void defer_reset(self, Zone zone, int order, int succeeded)
    cpdef int direct_compact(self, int gfp, int order, int alloc_flags, int priority)
    cdef int try_to_compact_pages(self, int gfp, int order, int alloc_flags, int priority)
    cdef int compact_zone_order(
        self, Zone zone, int gfp, int order, int alloc_flags, int highest, int priority
    )
    cdef void start_request(self)
    cdef int should_retry(self, int gfp, int order, int alloc_flags)
    cdef int zonelist_suitable(self, int gfp, int order, int alloc_flags)
