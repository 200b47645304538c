from libc.stdint cimport int64_t

cdef int DEF_PRIORITY
cdef int GLOBAL_RECLAIM
cdef int SWAP_CLUSTER_MAX

cdef class ScanControl:
    cdef public int gfp
    cdef public int order
    cdef public int reclaim_idx
    cdef public long long nr_to_reclaim
    cdef public int target_memcg
    cdef public int priority
    cdef public int is_kswapd
    cdef public int may_writepage
    cdef public int may_unmap
    cdef public int may_swap
    cdef public int proactive
    cdef public int proactive_swappiness
    cdef public int may_deactivate
    cdef public int force_deactivate
    cdef public int skipped_deactivate
    cdef public int memcg_low_reclaim
    cdef public int memcg_low_skipped
    cdef public int memcg_full_walk
    cdef public int compaction_ready
    cdef public int cache_trim_mode
    cdef public int cache_trim_mode_failed
    cdef public int no_cache_trim_mode
    cdef public int file_is_tiny
    cdef public long long anon_cost
    cdef public long long file_cost
    cdef public long long nr_scanned
    cdef public long long nr_reclaimed
    cdef public long long turn_end_ns
    cdef public long long blocked_until_ns
    cdef public int preempted
    cdef public int at_lruvec
    cdef public long long at_done
    cdef public long long nr_before
    cdef public int64_t[::1] nr_left
    cdef public int64_t[::1] nr_target
    cdef public long long nr_dirty
    cdef public long long nr_unqueued_dirty
    cdef public long long nr_congested
    cdef public long long nr_writeback
    cdef public long long nr_immediate
    cdef public long long nr_file_taken
    cdef public long long nr_taken
    cdef int turn_is_over(self, long long now_ns, int lruvec, long long done) noexcept
    cdef void block(self, long long now_ns, long long until_ns) noexcept
    cdef void clear_nr(self) noexcept
