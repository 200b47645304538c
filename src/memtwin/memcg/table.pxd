from memtwin.page.mem_map cimport MemMap
from memtwin.page.tunables cimport Tunables
from memtwin.page.vmstat cimport VmStat

cdef int NR_MEMCG_EVENTS

cdef class MemcgTable:
    cdef public MemMap mem
    cdef public VmStat vmstat
    cdef public Tunables tunables
    cdef public int version
    cdef public int nr
    cdef int nr_stat_items
    cdef int nr_vm_events
    cdef public list names
    cdef public int[::1] parent
    cdef public signed char[::1] online
    cdef public long long[::1] usage
    cdef public long long[::1] watermark
    cdef public long long[::1] failcnt
    cdef public long long[::1] max
    cdef public long long[::1] high
    cdef public long long[::1] min
    cdef public long long[::1] low
    cdef public long long[::1] swap_usage
    cdef public long long[::1] swap_max
    cdef public long long[::1] memsw_usage
    cdef public long long[::1] memsw_watermark
    cdef public long long[::1] memsw_failcnt
    cdef public long long[::1] memsw_max
    cdef public long long[::1] kmem
    cdef public long long[::1] swappiness
    cdef public long long[::1] memory_event
    cdef public long long[::1] stat
    cdef public long long[::1] vm_event
    cpdef int is_descendant(self, int memcg, int ancestor)
    cpdef int next_in_tree(self, int root, int at)
    cpdef long long get_swappiness(self, int memcg)
    cdef void mod_stat(self, int memcg, int item, long long delta) noexcept
    cdef void mod_lruvec_page_state(self, int pfn, int node, int item, long long delta) noexcept
    cdef void count_event(self, int memcg, int event, long long delta) noexcept
    cdef void memory_event_add(self, int memcg, int event) noexcept
