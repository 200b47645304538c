from memtwin.page.tunables cimport Tunables

cdef int MM_FILEPAGES
cdef int MM_ANONPAGES
cdef int MM_SHMEMPAGES
cdef int MM_SWAPENTS
cdef int NR_MM_COUNTERS
cdef int TASK_RSS_EVENTS_THRESH

cdef class Mm:
    cdef public int id
    cdef public Tunables tunables
    cdef public int pgd
    cdef public object tree
    cdef public int users
    cdef public int memcg
    cdef public long long def_flags
    cdef public long long[::1] rss
    cdef public long long[::1] rss_pending
    cdef public int rss_events
    cdef public int split_rss
    cdef public int rss_batch
    cdef public long long pgtables_bytes
    cdef public long long total_vm
    cdef public long long locked_vm
    cdef public long long data_vm
    cdef public long long exec_vm
    cdef public long long stack_vm
    cdef public long long hiwater_vm
    cdef public long long hiwater_rss
    cdef public long long start_code
    cdef public long long end_code
    cdef public long long start_data
    cdef public long long end_data
    cdef public long long start_brk
    cdef public long long brk
    cdef public long long start_stack
    cdef public long long mmap_base_vpn
    cdef public long long min_flt
    cdef public long long maj_flt
    cdef public int oom_skip
    cdef void inc_rss(self, int kind) noexcept
    cdef void dec_rss(self, int kind) noexcept
    cdef void check_sync_rss(self) noexcept
    cpdef void sync_rss(self)
    cdef void add_rss(self, int kind, long long delta) noexcept
    cpdef long long counter(self, int kind)
    cpdef long long exact_counter(self, int kind)
    cpdef long long shown_counter(self, int kind)
    cpdef long long get_rss(self)
    cpdef void update_hiwater_rss(self)

cdef class Mms:
    cdef public Tunables tunables
    cdef public list all
    cdef public int next_id
    cpdef Mm create(self)
