from memtwin.hardware.clock cimport Clock
from memtwin.memcg.charge cimport Charge
from memtwin.memcg.table cimport MemcgTable
from memtwin.page.mem_map cimport MemMap
from memtwin.page.page_alloc cimport PageAlloc
from memtwin.page.zone cimport Zone, Zones
from memtwin.reclaim.compact_policy cimport CompactPolicy
from memtwin.reclaim.kswapd cimport Kswapd
from memtwin.reclaim.vmscan cimport Vmscan

cdef int ALLOC_FAILED
cdef int ALLOC_NO_WATERMARKS
cdef int ALLOC_WMARK_HIGH
cdef int CHARGE_OK
cdef int KEEP_PAGES
cdef int COMPACT_DEFERRED
cdef int COMPACT_PRIO_ASYNC
cdef int GFP_DIRECT_RECLAIM
cdef int GFP_HIGHUSER_MOVABLE
cdef int GFP_KERNEL
cdef int GFP_KSWAPD_RECLAIM
cdef int GFP_MEMALLOC
cdef int GFP_MOVABLE_BIT
cdef int GFP_NOFAIL
cdef int GFP_NORETRY
cdef int GFP_RETRY_MAYFAIL
cdef int HZ
cdef int MAX_RECLAIM_RETRIES
cdef int MEMCG_HIGH
cdef int MEMCG_MAX
cdef int MEMCG_OOM
cdef int NEED_OOM
cdef int NEED_RECLAIM
cdef int NIL
cdef int PAGE_SIZE
cdef int NR_FREE_PAGES
cdef int PAGE_ALLOC_COSTLY_ORDER
cdef int PGSCAN_DIRECT_THROTTLE
cdef int STALL_HIGH
cdef int STALL_RECLAIM
cdef int SWAP_CLUSTER_MAX
cdef long long THROTTLE_JIFFY_NS

cdef class Slowpath:
    cdef public MemMap mem
    cdef public PageAlloc page_alloc
    cdef public Charge charge
    cdef public MemcgTable memcgs
    cdef public Vmscan vmscan
    cdef public Kswapd kswapd
    cdef public Clock clock
    cdef public Zones zones
    cdef public int oom_memcg_id
    cdef public int no_progress_loops
    cdef public CompactPolicy compact
    cpdef int alloc_page(self, int gfp, int order)
    cdef void wake_boosted(self)
    cdef int alloc_slowly(self, int gfp, int order)
    cdef int compact_first(self, int gfp, int order, int alloc_flags)
    cdef long long direct_reclaim(self, int gfp, int order)
    cdef void throttle_direct_reclaim(self, int node)
    cdef int allow_direct_reclaim(self, int node)
    cdef int should_reclaim_retry(self, int gfp, int order, int alloc_flags, long long progress)
    cdef int out_of_memory(self, int gfp, int order)
    cpdef int charge_page(self, int pfn, int memcg, int gfp)
    cpdef int try_charge(self, int memcg, int nr_pages, int gfp)
    cdef int charge_slowly(self, int memcg, int nr_pages, int gfp)
    cdef int refuse(self, int memcg, int nr_pages, int gfp)
    cpdef int charge_kmem(self, int memcg, int nr_pages, int gfp)
    cpdef int charge_object(self, int memcg, int size_bytes, int gfp)
    cpdef int alloc_anon(self, int memcg)
    cdef void handle_over_high(self, int memcg)
    cdef long long reclaim_high(self, int memcg, long long nr_pages)
    cdef long long high_delay(self, int memcg, long long nr_pages) noexcept
    cpdef int shrink_to_max(self, int memcg)
    cpdef int shrink_to_high(self, int memcg)
    cpdef int resize_v1(self, int memcg, long long limit_pages, int is_memsw)
