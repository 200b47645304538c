from memtwin.page.mem_map cimport MemMap
from memtwin.page.tunables cimport Tunables

cdef long long LRU_GEN_MASK
cdef int LRU_GEN_SHIFT
cdef long long LRU_REFS_MASK
cdef int LRU_REFS_SHIFT
cdef int LRU_ACTIVE_ANON
cdef int LRU_INACTIVE_ANON
cdef int LRU_INACTIVE_FILE
cdef int GEN_ANON
cdef int GEN_FILE
cdef int MAX_NR_GENS
cdef int MIN_NR_GENS
cdef int NIL
cdef long long PG_ACTIVE
cdef long long PG_DIRTY
cdef long long PG_RECLAIM
cdef long long PG_REFERENCED
cdef long long PG_SWAPBACKED
cdef long long PG_SWAPCACHE
cdef long long PG_UNEVICTABLE
cdef long long PG_WORKINGSET
cdef long long PG_WRITEBACK

cdef class LruGen:
    cdef public MemMap mem
    cdef public Tunables tunables
    cdef public int nr_zone_types
    cdef public int nr_set_up
    cdef public long long[::1] max_seq
    cdef public long long[::1] min_seq
    cdef public long long[::1] birth_ns
    cdef public int[::1] gen_head
    cdef public long long[::1] gen_pages
    cdef public long long[::1] avg_refaulted
    cdef public long long[::1] avg_total
    cdef public long long[::1] protected
    cdef public long long[::1] evicted
    cdef public long long[::1] refaulted
    cdef void set_up(self, int lruvec, long long now_ns)
    cdef int at(self, int lruvec, int gen, int gen_type, int zone_idx) noexcept
    cdef int gen_of(self, int pfn) noexcept
    cdef int is_active(self, int lruvec, int gen) noexcept
    cdef int refs_of(self, long long flags) noexcept
    cdef void inc_refs(self, int pfn) noexcept
    cdef long long seq_for(self, int lruvec, long long flags, int reclaiming) noexcept
    cdef int add_folio(self, int lruvec, int pfn, int zone_idx, int reclaiming) noexcept
    cdef int classic_list(self, int lruvec, int gen, int gen_type) noexcept
    cdef int del_folio(self, int lruvec, int pfn, int zone_idx, int reclaiming) noexcept
