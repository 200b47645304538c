cdef class Tunables:
    cdef public int kernel
    cdef public int nr_cpus
    cdef public int lru_gen_enabled
    cdef public int thp_enabled
    cdef public int thp_defrag
    cdef public list lowmem_reserve_ratio
    cdef public long long swappiness
    cdef public long long min_free_kbytes
    cdef public long long watermark_scale_factor
    cdef public long long watermark_boost_factor
    cdef public long long page_cluster
    cdef public long long vfs_cache_pressure
    cdef public long long dirty_ratio
    cdef public long long dirty_background_ratio
    cdef public long long dirty_bytes
    cdef public long long dirty_background_bytes
    cdef public long long dirty_expire_centisecs
    cdef public long long dirty_writeback_centisecs
    cdef public long long overcommit_memory
    cdef public long long overcommit_ratio
    cdef public long long overcommit_kbytes
    cdef public long long admin_reserve_kbytes
    cdef public long long user_reserve_kbytes
    cdef public long long oom_kill_allocating_task
    cdef public long long panic_on_oom
    cdef public long long oom_dump_tasks
    cdef public long long laptop_mode
    cdef public long long extfrag_threshold
    cdef public long long compaction_proactiveness
    cdef public long long percpu_pagelist_high_fraction
    cdef public long long zone_reclaim_mode
    cdef public long long max_map_count
    cdef public long long stat_interval
