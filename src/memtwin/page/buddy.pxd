from memtwin.page.mem_map cimport MemMap
from memtwin.page.vmstat cimport VmStat
from memtwin.page.zone cimport Zone, Zones

cdef long long FREE_MT_MASK
cdef int FREE_MT_SHIFT
cdef int MAX_ORDER
cdef int MIGRATE_CMA
cdef int MIGRATE_ISOLATE
cdef int MIGRATE_MOVABLE
cdef int MIGRATE_PCPTYPES
cdef int MIGRATE_TYPES
cdef int NR_PAGE_ORDERS
cdef int PAGEBLOCK_ORDER
cdef int PAGEBLOCK_SHIFT
cdef long long PG_BUDDY
cdef int FPI_TO_TAIL
cdef int HEAD_ADD
cdef int TAIL_ADD
cdef int NR_FREE_CMA
cdef int NR_FREE_PAGES

cdef class Buddy:
    cdef public MemMap mem_map
    cdef public Zones zones
    cdef public VmStat vmstat
    cdef public int kernel
    cdef public int[::1] nr_free
    cdef public int[::1] nr_free_type
    cdef public int run_pages
    cdef public int first_head
    cdef void account_freepages(self, Zone zone, long long nr_pages, int migratetype) noexcept
    cdef void add_to_free_list(
        self, int zone_id, int pfn, int order, int migratetype, int where
    ) noexcept
    cdef int del_page_from_free_list(self, int zone_id, int pfn) noexcept
    cdef void move_to_free_list(self, Zone zone, int pfn, int migratetype) noexcept
    cdef int is_empty(self, int zone_id, int order, int migratetype) noexcept
    cdef int first_free(self, Zone zone, int order, int migratetype) noexcept
    cdef void thread_deferred(self, Zone zone, int nr_blocks) noexcept
    cdef int expand(self, int zone_id, int pfn, int low, int high, int migratetype) noexcept
    cdef void take_block(self, Zone zone, int pfn, int order, int migratetype) noexcept
    cdef int rmqueue_smallest(self, Zone zone, int order, int migratetype) noexcept
    cdef int take_run(self, Zone zone, int count, int migratetype) noexcept
    cdef int is_buddy(self, int zone_id, int buddy_pfn, int order) noexcept
    cdef void free_one_page(
        self, Zone zone, int pfn, int order, int migratetype, int fpi_flags
    ) noexcept
    cdef void change_pageblock_range(self, int pfn, int order, int migratetype) noexcept
    cpdef int free_block_pfn(self, Zone zone, int order, int migratetype)
    cpdef int isolate_free_block(self, Zone zone, int pfn)
    cpdef int return_block(self, Zone zone, int pfn, int order, int migratetype, int fpi_flags)
