from memtwin.page.buddy cimport Buddy
from memtwin.page.mem_map cimport MemMap
from memtwin.page.mobility cimport Mobility
from memtwin.page.zone cimport Zone

cdef long long FREE_MT_MASK
cdef int FREE_MT_SHIFT
cdef int MIGRATE_CMA
cdef int MIGRATE_ISOLATE
cdef int MIGRATE_MOVABLE
cdef int MIGRATE_PCPTYPES
cdef int PAGEBLOCK_ORDER
cdef int PAGEBLOCK_SHIFT
cdef long long PG_PCP
cdef int FPI_NONE
cdef int NR_LOWORDER_PCP_LISTS
cdef int NR_PCP_LISTS
cdef int PAGE_ALLOC_COSTLY_ORDER
cdef int PCP_BATCH_SCALE_MAX
cdef int NR_FREE_CMA
cdef int NR_FREE_PAGES

cdef class PerCpuPages:
    cdef public Zone zone
    cdef public int cpu
    cdef public Buddy buddy
    cdef public Mobility mobility
    cdef public MemMap mem_map
    cdef public int kernel
    cdef public int count
    cdef public int high
    cdef public int high_min
    cdef public int high_max
    cdef public int batch
    cdef public int free_factor
    cdef public int alloc_factor
    cdef public int free_count
    cdef public int prev_free_high_order
    cdef public int first_head
    cdef int order_to_pindex(self, int migratetype, int order) noexcept
    cdef int rmqueue(self, int order, int migratetype, int alloc_flags) noexcept
    cdef int _nr_pcp_alloc(self, int order) noexcept
    cdef void _rmqueue_bulk(
        self, int order, int count, int head, int migratetype, int alloc_flags
    ) noexcept
    cdef int _refill_runs(self, int count, int head, int migratetype) noexcept
    cdef void free(self, int pfn, int block_mt, int order) noexcept
    cdef int _nr_pcp_high_61(self, int free_high) noexcept
    cdef int _nr_pcp_free_61(self, int high, int free_high) noexcept
    cdef int _nr_pcp_high_612(self, int free_high) noexcept
    cdef int _nr_pcp_free_612(self, int high, int free_high) noexcept
    cdef int _above_high_wmark(self) noexcept
    cdef void free_bulk(self, int count, int pindex) noexcept
    cpdef int drain(self)
    cpdef int decay_high(self)
