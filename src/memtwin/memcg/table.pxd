from memtwin.page.mem_map cimport MemMap
from memtwin.page.tunables cimport Tunables
from memtwin.page.vmstat cimport VmStat
from memtwin.views cimport I4, I8

cdef int NR_MEMCG_EVENTS

cdef class MemcgTable:
    cdef public MemMap mem
    cdef public VmStat vmstat
    cdef public Tunables tunables
    cdef public int version
    cdef public int nr
    cdef public long long nr_stat_updates
    cdef int nr_stat_items
    cdef int nr_vm_events
    cdef public list names
    cdef public I4 parent
    cdef public signed char[::1] online
    cdef public I8 usage
    cdef public I8 watermark
    cdef public I8 failcnt
    cdef public I8 max
    cdef public I8 high
    cdef public I8 min
    cdef public I8 low
    cdef public I8 swap_usage
    cdef public I8 swap_max
    cdef public I8 memsw_usage
    cdef public I8 memsw_watermark
    cdef public I8 memsw_failcnt
    cdef public I8 memsw_max
    cdef public I8 kmem
    cdef public I8 swappiness
    cdef public I8 memory_event
    cdef public I8 stat
    cdef public I8 vm_event
    cpdef int is_descendant(self, int memcg, int ancestor)
    cpdef int next_in_tree(self, int root, int at)
    cpdef long long get_swappiness(self, int memcg)
    cdef void mod_stat(self, int memcg, int item, long long delta) noexcept
    cdef void mod_lruvec_page_state(self, int pfn, int node, int item, long long delta) noexcept
    cdef void count_event(self, int memcg, int event, long long delta) noexcept
    cdef void memory_event_add(self, int memcg, int event) noexcept
