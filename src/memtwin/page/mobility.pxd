from memtwin.page.buddy cimport Buddy
from memtwin.page.tunables cimport Tunables
from memtwin.page.zone cimport Zone

cdef int MAX_ORDER
cdef int MIGRATE_CMA
cdef int MIGRATE_HIGHATOMIC
cdef int MIGRATE_MOVABLE
cdef int MIGRATE_PCPTYPES
cdef int MIGRATE_RECLAIMABLE
cdef int MIGRATE_UNMOVABLE
cdef int NR_PAGE_ORDERS
cdef int PAGEBLOCK_ORDER
cdef int PAGEBLOCK_PAGES
cdef int PAGEBLOCK_SHIFT
cdef long long PG_BUDDY
cdef long long PG_LRU
cdef int ALLOC_CMA
cdef int ALLOC_KSWAPD
cdef int ALLOC_NOFRAGMENT
cdef int GFP_MOVABLE_BIT
cdef int GFP_RECLAIMABLE
cdef int NR_FREE_CMA
cdef int NR_FREE_PAGES
cdef int RMQUEUE_NORMAL
cdef int RMQUEUE_CMA
cdef int RMQUEUE_CLAIM
cdef int RMQUEUE_STEAL

cdef class Mobility:
    cdef public Buddy buddy
    cdef public Tunables tunables
    cdef public int mode
    cdef public long long nr_fallbacks
    cdef void begin_bulk(self) noexcept
    cdef int rmqueue(self, Zone zone, int order, int migratetype, int alloc_flags) noexcept
    cdef int _rmqueue_612(self, Zone zone, int order, int migratetype, int alloc_flags) noexcept
    cpdef int gfp_migratetype(self, int gfp) noexcept
    cdef int find_suitable_fallback(self, int zone_id, int order, int migratetype) noexcept
    cdef int can_steal_fallback(self, int order, int start_mt) noexcept
    cdef int _rmqueue_fallback(self, Zone zone, int order, int start_mt, int alloc_flags) noexcept
    cdef void _steal_suitable_fallback(
        self, Zone zone, int pfn, int alloc_flags, int start_type, int whole_block
    ) noexcept
    cdef int _rmqueue_claim(self, Zone zone, int order, int start_mt, int alloc_flags) noexcept
    cdef int _try_to_steal_block(
        self, Zone zone, int pfn, int order, int start_type, int alloc_flags
    ) noexcept
    cdef int _rmqueue_steal(self, Zone zone, int order, int start_mt) noexcept
    cdef int _alike_pages(
        self, int start_type, int old_type, int free_pages, int movable_pages
    ) noexcept
    cdef int boost_watermark(self, Zone zone) noexcept
    cdef int _block_in_zone(self, Zone zone, int pfn) noexcept
    cpdef int free_pages_in_block(self, int pfn)
    cpdef int movable_pages_in_block(self, int pfn)
    cdef int _move_freepages(self, Zone zone, int pfn, int migratetype) noexcept
    cpdef int set_block_type(self, Zone zone, int pfn, int migratetype)
    cpdef int reserve_highatomic_pageblock(self, Zone zone, int pfn, int order)
    cpdef int unreserve_highatomic(self, Zone zone, int migratetype, int force)
