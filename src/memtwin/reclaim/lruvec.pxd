from memtwin.memcg.table cimport MemcgTable
from memtwin.page.mem_map cimport MemMap
from memtwin.page.tunables cimport Tunables
from memtwin.page.vmstat cimport VmStat
from memtwin.page.zone cimport Zones
from memtwin.reclaim.lru_gen cimport LruGen

cdef int HEAD_SIDE
cdef int LRU_INACTIVE_ANON
cdef int LRU_INACTIVE_FILE
cdef int LRU_UNEVICTABLE
cdef int NR_LRU_LISTS
cdef long long PG_ACTIVE
cdef long long PG_LRU
cdef long long PG_SWAPBACKED
cdef long long PG_UNEVICTABLE

cdef class Lruvecs:
    cdef public MemMap mem
    cdef public Zones zones
    cdef public VmStat vmstat
    cdef public Tunables tunables
    cdef public MemcgTable memcgs
    cdef public LruGen gen
    cdef public int nr_nodes
    cdef public int nr_zone_types
    cdef int nr_zone_items
    cdef int nr_node_items
    cdef int zone_lru_base
    cdef public int nr_set_up
    cdef public int folding
    cdef public int in_lru_fault
    cdef public int[::1] list_head
    cdef public long long[::1] lru_size
    cdef public long long[::1] lru_zone_size
    cdef public long long[::1] anon_cost
    cdef public long long[::1] file_cost
    cdef public long long[::1] nonresident_age
    cdef public long long[::1] refaults
    cdef public long long[::1] activations
    cdef public long long[::1] folded_size
    cdef public long long[::1] folded_activations
    cdef int node_of(self, int pfn) noexcept
    cdef int of(self, int memcg, int node)
    cdef int of_page(self, int pfn)
    cdef void set_up(self, int lruvec)
    cdef void update_size(self, int lruvec, int lru, int zone_id, long long nr_pages) noexcept
    cdef int list_of(self, long long flags) noexcept
    cdef void add_folio(self, int lruvec, int pfn, int side) noexcept
    cdef void del_folio(self, int lruvec, int pfn) noexcept
    cdef void relist(self, int pfn, long long clear, int side) noexcept
    cpdef long long size_up_to(self, int lruvec, int lru, int zone_idx)
    cpdef long long tree_size(self, int lruvec, int lru)
    cpdef long long activated(self, int lruvec, int is_file)
    cpdef int fold(self)
    cdef long long exact_tree_size(self, int lruvec, int lru)
    cdef void note_cost(self, int lruvec, int is_file, long long cost)
    cdef void age_nonresident(self, int lruvec, long long nr_pages) noexcept
