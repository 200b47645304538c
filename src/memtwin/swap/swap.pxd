from memtwin.memcg.charge cimport Charge
from memtwin.page.mem_map cimport MemMap
from memtwin.page.vmstat cimport VmStat
from memtwin.page.zone cimport Zones
from memtwin.swap.content cimport PageContent
from memtwin.swap.slab_objects cimport SwapObjects
from memtwin.swap.swap_device cimport SwapDevice
from memtwin.swap.zram cimport Zram
from memtwin.views cimport I4, I8

cdef int CGROUP_V1
cdef int NO_CLUSTER
cdef int NR_FILE_PAGES
cdef int NR_SWAPCACHED
cdef long long PG_DIRTY
cdef long long PG_SWAPCACHE
cdef long long PG_WRITEBACK
cdef int SLOTS_CACHE_OFF_PAGES
cdef int SLOTS_CACHE_ON_PAGES
cdef int SWAP_HAS_CACHE
cdef long long SWAP_OFFSET_MASK
cdef int SWAP_SLOTS_CACHE_SIZE
cdef int SWAP_TYPE_SHIFT
cdef int ZRAM

cdef class Swap:
    cdef public MemMap mem
    cdef public Zones zones
    cdef public VmStat vmstat
    cdef public Charge charge
    cdef public PageContent content
    cdef public int nr_cpus
    cdef public int cpu
    cdef public SwapObjects objects
    cdef public list devices
    cdef public list zrams
    cdef public list order
    cdef public long long nr_swap_pages
    cdef public long long total_swap_pages
    cdef public int nr_rotational
    cdef public int slots_cache_active
    cdef public I8 slots
    cdef public I4 slots_left
    cdef public I4 slots_at
    cdef public I8 returned
    cdef public I4 nr_returned
    cdef I8 _one
    cdef int type_of(self, long long entry) noexcept
    cdef long long offset_of(self, long long entry) noexcept
    cpdef int vm_swap_full(self)
    cpdef int has_free_cluster(self)
    cdef long long get_swap_page(self, int pfn)
    cdef int check_cache_active(self)
    cdef void drain_slots(self)
    cdef int take(self, I8 slots, int base, int goal)
    cdef void free_swap_slot(self, long long entry)
    cdef void flush_returned(self, int cpu)
    cdef void free_to_device(self, long long entry)
    cdef void uncharge_slot(self, SwapDevice device, long long offset) noexcept
    cpdef int record_slot(self, long long entry, int memcg)
    cpdef int slot_owner(self, long long entry)
    cpdef int swapin_uncharge(self, long long entry)
    cdef void put_swap_entry(self, long long entry)
    cpdef int swap_duplicate(self, long long entry, int times)
    cdef int count_of(self, int users) noexcept
    cdef int pack_count(self, int count) noexcept
    cpdef int swap_count(self, long long entry)
    cpdef int swap_free(self, long long entry)
    cpdef int lookup(self, long long entry)
    cpdef long long shadow_of(self, long long entry)
    cdef long long add_to_swap_cache(self, int pfn, long long entry)
    cdef void delete_from_swap_cache(self, int pfn, long long shadow)
    cdef void count_cached(self, int pfn, int delta) noexcept
    cpdef int folio_free_swap(self, int pfn)
    cpdef int is_synchronous(self, long long entry)
