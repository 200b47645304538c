from memtwin.page.buddy cimport Buddy
from memtwin.page.tunables cimport Tunables
from memtwin.page.zone cimport Zone, Zones

cdef int LRU_ACTIVE_FILE
cdef int LRU_INACTIVE_FILE
cdef int MAX_ORDER
cdef int MIGRATE_CMA
cdef int MIGRATE_HIGHATOMIC
cdef int MIGRATE_PCPTYPES
cdef int NR_PAGE_ORDERS
cdef int PAGEBLOCK_PAGES
cdef int ALLOC_CMA
cdef int ALLOC_HARDER
cdef int ALLOC_HIGH
cdef int ALLOC_HIGHATOMIC
cdef int ALLOC_OOM
cdef int ALLOC_RESERVES
cdef int ALLOC_WMARK_HIGH
cdef int ALLOC_WMARK_LOW
cdef int ALLOC_WMARK_MASK
cdef int GFP_DIRECT_RECLAIM
cdef int GFP_HIGH
cdef int ALLOC_KSWAPD
cdef int ALLOC_WMARK_MIN
cdef int GFP_KSWAPD_RECLAIM
cdef int GFP_MOVABLE_BIT
cdef int GFP_NOMEMALLOC
cdef int NR_FREE_CMA
cdef int NR_FREE_PAGES
cdef int NR_KERNEL_MISC_RECLAIMABLE
cdef int NR_SLAB_RECLAIMABLE

cdef class Watermarks:
    cdef public Buddy buddy
    cdef public Zones zones
    cdef public Tunables tunables
    cdef long long wmark_pages(self, Zone zone, int which) noexcept
    cdef long long unusable_free(self, Zone zone, int order, int alloc_flags) noexcept
    cdef int watermark_ok(
        self, Zone zone, int order,
        long long mark, int highest_zoneidx, int alloc_flags, long long free_pages
    ) noexcept
    cdef int has_block(self, Zone zone, int order, int alloc_flags) noexcept
    cdef int watermark_fast(
        self, Zone zone, int order, long long mark, int highest_zoneidx, int alloc_flags, int gfp
    ) noexcept
    cdef int cma_flag(self, int gfp) noexcept
    cpdef int gfp_to_alloc_flags(self, int gfp, int order) noexcept
    cpdef long long si_mem_available(self)
