from memtwin.memcg.table cimport MemcgTable
from memtwin.page.mem_map cimport MemMap
from memtwin.views cimport I4, I8

cdef int CGROUP_V1
cdef int CHARGE_OK
cdef int GIVE_PAGES
cdef int MAX_MEMCGS
cdef int MEMCG_CHARGE_BATCH
cdef int MEMCG_SWAP_FAIL
cdef int MEMCG_SWAP_MAX
cdef int PGPGIN
cdef int PGPGOUT
cdef int PAGE_SIZE

cdef class Charge:
    cdef public MemcgTable table
    cdef public MemMap mem
    cdef public int nr_cpus
    cdef public int cpu
    cdef public int over_memsw
    cdef public long long over_high_pages
    cdef public I4 stock_memcg
    cdef public I4 stock_pages
    cdef public I4 obj_memcg
    cdef public I4 obj_bytes
    cdef public I4 obj_left
    cdef int try_charge(self, int memcg, int nr_pages) noexcept
    cdef int charge_counters(self, int memcg, int nr_pages) noexcept
    cdef int charge_both(self, int memcg, int nr_pages) noexcept
    cdef int counter_try_charge(
        self, I8 usage, I8 limit, I8 watermark, I8 failcnt,
        int memcg, int nr_pages
    ) noexcept
    cdef void counter_add(self, I8 usage, int memcg, long long delta) noexcept
    cpdef void force_charge(self, int memcg, int nr_pages) noexcept
    cpdef void cancel(self, int memcg, long long nr_pages) noexcept
    cdef void refill_stock(self, int memcg, int nr_pages) noexcept
    cdef void drain_stock(self, int cpu) noexcept
    cpdef int drain_all_stock(self, int memcg)
    cpdef int consume_obj_stock(self, int memcg, int size_bytes) noexcept
    cpdef void refill_obj_stock(self, int memcg, int size_bytes, int pages) noexcept
    cpdef void uncharge_object(self, int memcg, int size_bytes) noexcept
    cdef void drain_obj_stock(self, int cpu) noexcept
    cdef void commit_charge(self, int pfn, int memcg) noexcept
    cdef void uncharge_page(self, int pfn) noexcept
    cdef void account_kmem(self, int memcg, long long nr_pages) noexcept
    cpdef void uncharge_kmem(self, int memcg, int nr_pages) noexcept
    cpdef long long margin(self, int memcg)
    cdef int try_charge_swap(self, int memcg, int nr_pages) noexcept
    cdef int swapout(self, int pfn) noexcept
    cdef void uncharge_swap(self, int memcg, int nr_pages) noexcept
    cpdef long long nr_swap_pages(self, int memcg, long long machine_free_pages)
    cpdef int swap_full(self, int memcg)
