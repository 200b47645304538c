from memtwin.page.buddy cimport Buddy
from memtwin.page.compound cimport Compound
from memtwin.page.mem_map cimport MemMap
from memtwin.page.mobility cimport Mobility
from memtwin.page.pagesets cimport Pagesets
from memtwin.page.pcp cimport PerCpuPages
from memtwin.page.tunables cimport Tunables
from memtwin.page.vmstat cimport VmStat
from memtwin.page.watermark cimport Watermarks
from memtwin.page.zone cimport Zone, Zones

cdef int MIGRATE_HIGHATOMIC
cdef int MIGRATE_ISOLATE
cdef int MIGRATE_MOVABLE
cdef int PAGEBLOCK_ORDER
cdef int PAGEBLOCK_SHIFT
cdef int ALLOC_CMA
cdef int ALLOC_HARDER
cdef int ALLOC_HIGHATOMIC
cdef int ALLOC_KSWAPD
cdef int ALLOC_NO_WATERMARKS
cdef int ALLOC_NOFRAGMENT
cdef int ALLOC_OOM
cdef int ALLOC_WMARK_HIGH
cdef int ALLOC_WMARK_LOW
cdef int ALLOC_WMARK_MASK
cdef int FPI_NONE
cdef int GFP_HIGHUSER_MOVABLE
cdef int GFP_KSWAPD_RECLAIM
cdef int GFP_THISNODE
cdef int NEED_RECLAIM
cdef int PAGE_ALLOC_COSTLY_ORDER
cdef int NR_FREE_PAGES
cdef int NUMA_FOREIGN
cdef int NUMA_HIT
cdef int NUMA_LOCAL
cdef int NUMA_MISS
cdef int NUMA_OTHER
cdef int PGFREE

cdef class PageAlloc:
    cdef public MemMap mem_map
    cdef public Zones zones
    cdef public VmStat vmstat
    cdef public Tunables tunables
    cdef public int kernel
    cdef public list cpu_nodes
    cdef public int nr_cpus
    cdef public Buddy buddy
    cdef public Mobility mobility
    cdef public Watermarks watermarks
    cdef public Compound compound
    cdef public Pagesets pagesets
    cdef public list pcps
    cdef public int boosted_zone
    cdef public int cpu
    cdef public int node
    cdef long long _busy_flags
    cdef int _free_zone_id
    cdef PerCpuPages _free_pcp
    cdef PerCpuPages _fast_pcp
    cdef Zone _fast_zone
    cpdef int set_cpu(self, int cpu)
    cpdef PerCpuPages pcp_of(self, int zone_id, int cpu)
    cpdef int alloc_fast(self, int gfp, int order) noexcept
    cdef int _fast_zone_ok(self) noexcept
    cpdef int get_page_from_freelist(self, int gfp, int order, int alloc_flags) noexcept
    cdef int _zone_allows(
        self, Zone zone, int order, int highest, int alloc_flags, int gfp
    ) noexcept
    cdef int _rmqueue(
        self, Zone zone, int preferred, int order, int migratetype, int alloc_flags
    ) noexcept
    cdef int _rmqueue_buddy(self, Zone zone, int order, int migratetype, int alloc_flags) noexcept
    cdef void _zone_statistics(self, Zone zone, int preferred) noexcept
    cpdef int nofragment_flags(self, int gfp) noexcept
    cpdef int gfp_to_alloc_flags(self, int gfp, int order) noexcept
    cpdef int free_page(self, int pfn) except -1
    cdef void _free_large(self, Zone zone, int pfn, int order) noexcept
    cdef int _bad_page(self, int pfn) except -1
    cpdef int put_page(self, int pfn) except -1
    cpdef int free_pages_bulk(self, int head) except -1
    cpdef int split_page(self, int pfn) noexcept
    cpdef int drain_pcp(self, int cpu)
    cpdef int drain_all_pages(self)
    cpdef int refresh_cpu_vm_stats(self, int cpu)
    cpdef long long si_mem_available(self)
    cpdef int zone_watermark_ok(
        self, int zone_id, int order, long long mark, int highest_zoneidx, int alloc_flags
    ) noexcept
    cpdef int zone_watermark_ok_safe(
        self, int zone_id, int order, long long mark, int highest
    ) noexcept
    cpdef long long wmark_pages(self, int zone_id, int which) noexcept
    cpdef int zone_has_block(self, int zone_id, int order) noexcept
