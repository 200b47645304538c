from memtwin.hardware.clock cimport Clock
from memtwin.memcg.table cimport MemcgTable
from memtwin.page.page_alloc cimport PageAlloc
from memtwin.page.tunables cimport Tunables
from memtwin.page.vmstat cimport VmStat
from memtwin.page.zone cimport Zone, Zones
from memtwin.reclaim.folio_io cimport FolioIo
from memtwin.reclaim.lru_scan cimport LruScan
from memtwin.reclaim.lruvec cimport Lruvecs
from memtwin.reclaim.mglru_node cimport MglruNode
from memtwin.reclaim.scan_balance cimport ScanBalance
from memtwin.reclaim.scan_control cimport ScanControl
from memtwin.reclaim.shrinker cimport Shrinkers

cdef int ALLOCSTALL_DMA
cdef int DEF_PRIORITY
cdef int GFP_HIGHUSER_MOVABLE
cdef int GFP_IO
cdef int MAX_RECLAIM_RETRIES
cdef int MEMCG_LOW
cdef int NR_FREE_PAGES
cdef int NR_INACTIVE_ANON
cdef int NR_INACTIVE_FILE
cdef int NR_ZONE_ACTIVE_ANON
cdef int NR_ZONE_ACTIVE_FILE
cdef int NR_ZONE_INACTIVE_ANON
cdef int NR_ZONE_INACTIVE_FILE
cdef int NR_ZONE_WRITE_PENDING
cdef int PAGE_ALLOC_COSTLY_ORDER
cdef int STALL_RECLAIM
cdef int SWAP_CLUSTER_MAX
cdef long long THROTTLE_JIFFY_NS

cdef class Vmscan:
    cdef public LruScan lru_scan
    cdef public MglruNode mglru
    cdef public Shrinkers shrinkers
    cdef public PageAlloc page_alloc
    cdef public FolioIo folio_io
    cdef public Clock clock
    cdef public ScanBalance balance
    cdef public Lruvecs lruvecs
    cdef public MemcgTable memcgs
    cdef public Zones zones
    cdef public VmStat vmstat
    cdef public Tunables tunables
    cdef public signed char[::1] congested
    cdef public signed char[::1] node_congested
    cdef public int[::1] iter_at
    cdef public int[::1] kswapd_failures
    cdef public int[::1] stall_event
    cdef void shrink_one_memcg(self, int memcg, int node, ScanControl sc)
    cdef void shrink_node_memcgs(self, int node, ScanControl sc)
    cdef long long shrink_node(self, int node, ScanControl sc)
    cdef long long mark_node(self, int node, ScanControl sc)
    cdef void mark_congested(self, int node, int target, ScanControl sc)
    cdef void throttle_briefly(self, int node)
    cdef int should_continue(self, int node, long long progress, ScanControl sc)
    cdef int compaction_suitable(self, Zone zone, int order, int highest)
    cpdef long long zone_reclaimable_pages(self, int zone_id)
    cdef void shrink_zones(self, ScanControl sc)
    cdef long long do_try_to_free_pages(self, ScanControl sc)
    cpdef long long try_to_free_pages(self, int gfp, int order)
    cpdef long long try_to_free_mem_cgroup_pages(
        self, int memcg, long long nr_pages, int gfp, int may_swap
    )
    cpdef long long reclaim_proactively(self, int memcg, long long nr_pages, int swappiness)
