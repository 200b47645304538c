cdef int MIGRATE_TYPES
cdef int PAGEBLOCK_SHIFT
cdef int GFP_DMA
cdef int GFP_DMA32
cdef int GFP_HIGHMEM
cdef int GFP_MOVABLE_BIT
cdef int NR_ZONE_ITEMS

cdef class Zone:
    cdef public int zone_id
    cdef public int node
    cdef public int zone_idx
    cdef public str name
    cdef public int pgalloc_event
    cdef public int stat_base
    cdef public int start_pfn
    cdef public int end_pfn
    cdef public long long spanned_pages
    cdef public long long present_pages
    cdef public long long managed_pages
    cdef public long long cma_pages
    cdef public long long wmark_min
    cdef public long long wmark_low
    cdef public long long wmark_high
    cdef public long long wmark_promo
    cdef public long long watermark_boost
    cdef public int boosted
    cdef public int below_high
    cdef public int reclaim_active
    cdef public long long nr_reserved_highatomic
    cdef public long long nr_free_highatomic
    cdef public long long[::1] lowmem_reserve
    cdef public long long pageset_high_min
    cdef public long long pageset_high_max
    cdef public long long pageset_batch
    cdef public int deferred_start_pfn
    cdef public int deferred_end_pfn

cdef class Zones:
    cdef public int nr_frames
    cdef public int nr_nodes
    cdef public int nr_types
    cdef public int nr_zones
    cdef public tuple names
    cdef public list zones
    cdef public signed char[::1] zone_of_block
    cdef public signed char[::1] block_type
    cdef int _stride
    cdef public int[::1] zonelist
    cdef public long long totalreserve_pages
    cdef public long long[::1] node_totalreserve_pages
    cdef public int idx_dma
    cdef public int idx_normal
    cdef public int idx_dma32
    cdef public int idx_high
    cdef public int idx_movable
    cpdef int zone_of(self, int pfn) noexcept
    cdef int _zone_of_mixed(self, int pfn) noexcept
    cpdef Zone zone(self, int zone_id)
    cpdef int gfp_zone(self, int gfp) noexcept
    cdef int zonelist_row(self, int node, int highest_zoneidx) noexcept
