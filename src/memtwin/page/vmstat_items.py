"""Owns the numbers of the counters of /proc/vmstat: the rows of `VmStat`'s columns.

Imports nothing. A constant is the counter's printed name in capitals (mm/vmstat.c vmstat_text[],
v6.1 and v6.12, and what 7.x adds). The tuples hold the printed names in row order; which of them a
kernel version prints, and in which order, is `observe`'s affair.
"""

# per zone (include/linux/mmzone.h enum zone_stat_item, v6.12), then the NUMA events of a zone
NR_FREE_PAGES = 0
NR_ZONE_INACTIVE_ANON = 1
NR_ZONE_ACTIVE_ANON = 2
NR_ZONE_INACTIVE_FILE = 3
NR_ZONE_ACTIVE_FILE = 4
NR_ZONE_UNEVICTABLE = 5
NR_ZONE_WRITE_PENDING = 6
NR_MLOCK = 7
NR_BOUNCE = 8
NR_ZSPAGES = 9
NR_FREE_CMA = 10
NUMA_HIT = 11
NUMA_MISS = 12
NUMA_FOREIGN = 13
NUMA_INTERLEAVE = 14
NUMA_LOCAL = 15
NUMA_OTHER = 16
NR_ZONE_ITEMS = 17

# per node (enum node_stat_item, v6.12); nr_kernel_stack is in KiB
NR_INACTIVE_ANON = 0
NR_ACTIVE_ANON = 1
NR_INACTIVE_FILE = 2
NR_ACTIVE_FILE = 3
NR_UNEVICTABLE = 4
NR_SLAB_RECLAIMABLE = 5
NR_SLAB_UNRECLAIMABLE = 6
NR_ISOLATED_ANON = 7
NR_ISOLATED_FILE = 8
WORKINGSET_NODES = 9
WORKINGSET_REFAULT_ANON = 10
WORKINGSET_REFAULT_FILE = 11
WORKINGSET_ACTIVATE_ANON = 12
WORKINGSET_ACTIVATE_FILE = 13
WORKINGSET_RESTORE_ANON = 14
WORKINGSET_RESTORE_FILE = 15
WORKINGSET_NODERECLAIM = 16
NR_ANON_PAGES = 17
NR_MAPPED = 18
NR_FILE_PAGES = 19
NR_DIRTY = 20
NR_WRITEBACK = 21
NR_WRITEBACK_TEMP = 22
NR_SHMEM = 23
NR_SHMEM_HUGEPAGES = 24
NR_SHMEM_PMDMAPPED = 25
NR_FILE_HUGEPAGES = 26
NR_FILE_PMDMAPPED = 27
NR_ANON_TRANSPARENT_HUGEPAGES = 28
NR_VMSCAN_WRITE = 29
NR_VMSCAN_IMMEDIATE_RECLAIM = 30
NR_DIRTIED = 31
NR_WRITTEN = 32
NR_THROTTLED_WRITTEN = 33
NR_KERNEL_MISC_RECLAIMABLE = 34
NR_FOLL_PIN_ACQUIRED = 35
NR_FOLL_PIN_RELEASED = 36
NR_VMALLOC = 37
NR_KERNEL_STACK = 38
NR_PAGE_TABLE_PAGES = 39
NR_SEC_PAGE_TABLE_PAGES = 40
NR_IOMMU_PAGES = 41
NR_SWAPCACHED = 42
PGPROMOTE_SUCCESS = 43
PGPROMOTE_CANDIDATE = 44
PGPROMOTE_CANDIDATE_NRL = 45
PGREFILL = 46
NR_HUGETLB = 47
NR_BALLOON_PAGES = 48
NR_KERNEL_FILE_PAGES = 49
NR_GPU_ACTIVE = 50
NR_GPU_RECLAIM = 51
PGSTEAL_KSWAPD = 52
PGSTEAL_DIRECT = 53
PGSTEAL_KHUGEPAGED = 54
PGSTEAL_PROACTIVE = 55
PGDEMOTE_KSWAPD = 56
PGDEMOTE_DIRECT = 57
PGDEMOTE_KHUGEPAGED = 58
PGDEMOTE_PROACTIVE = 59
PGSCAN_KSWAPD = 60
PGSCAN_DIRECT = 61
PGSCAN_KHUGEPAGED = 62
PGSCAN_PROACTIVE = 63
PGSCAN_ANON = 64
PGSCAN_FILE = 65
PGROTATE_ANON = 66
PGROTATE_FILE = 67
PGSTEAL_ANON = 68
PGSTEAL_FILE = 69
NR_NODE_ITEMS = 70

# events since boot (include/linux/vm_event_item.h enum vm_event_item, v6.12)
NR_FREE_PAGES_BLOCKS = 0
NR_UNACCEPTED = 1
NR_MEMMAP_PAGES = 2
NR_MEMMAP_BOOT_PAGES = 3
PGPGIN = 4
PGPGOUT = 5
PSWPIN = 6
PSWPOUT = 7
PGALLOC_DMA = 8
PGALLOC_DMA32 = 9
PGALLOC_NORMAL = 10
PGALLOC_MOVABLE = 11
PGALLOC_DEVICE = 12
ALLOCSTALL_DMA = 13
ALLOCSTALL_DMA32 = 14
ALLOCSTALL_NORMAL = 15
ALLOCSTALL_MOVABLE = 16
ALLOCSTALL_DEVICE = 17
PGSKIP_DMA = 18
PGSKIP_DMA32 = 19
PGSKIP_NORMAL = 20
PGSKIP_MOVABLE = 21
PGSKIP_DEVICE = 22
PGFREE = 23
PGACTIVATE = 24
PGDEACTIVATE = 25
PGLAZYFREE = 26
PGFAULT = 27
PGMAJFAULT = 28
PGLAZYFREED = 29
PGREUSE = 30
PGSCAN_DIRECT_THROTTLE = 31
ZONE_RECLAIM_SUCCESS = 32
ZONE_RECLAIM_FAILED = 33
PGINODESTEAL = 34
SLABS_SCANNED = 35
KSWAPD_INODESTEAL = 36
KSWAPD_LOW_WMARK_HIT_QUICKLY = 37
KSWAPD_HIGH_WMARK_HIT_QUICKLY = 38
PAGEOUTRUN = 39
PGROTATED = 40
DROP_PAGECACHE = 41
DROP_SLAB = 42
OOM_KILL = 43
NUMA_PTE_UPDATES = 44
NUMA_HUGE_PTE_UPDATES = 45
NUMA_HINT_FAULTS = 46
NUMA_HINT_FAULTS_LOCAL = 47
NUMA_PAGES_MIGRATED = 48
PGMIGRATE_SUCCESS = 49
PGMIGRATE_FAIL = 50
THP_MIGRATION_SUCCESS = 51
THP_MIGRATION_FAIL = 52
THP_MIGRATION_SPLIT = 53
COMPACT_MIGRATE_SCANNED = 54
COMPACT_FREE_SCANNED = 55
COMPACT_ISOLATED = 56
COMPACT_STALL = 57
COMPACT_FAIL = 58
COMPACT_SUCCESS = 59
COMPACT_DAEMON_WAKE = 60
COMPACT_DAEMON_MIGRATE_SCANNED = 61
COMPACT_DAEMON_FREE_SCANNED = 62
HTLB_BUDDY_ALLOC_SUCCESS = 63
HTLB_BUDDY_ALLOC_FAIL = 64
CMA_ALLOC_SUCCESS = 65
CMA_ALLOC_FAIL = 66
UNEVICTABLE_PGS_CULLED = 67
UNEVICTABLE_PGS_SCANNED = 68
UNEVICTABLE_PGS_RESCUED = 69
UNEVICTABLE_PGS_MLOCKED = 70
UNEVICTABLE_PGS_MUNLOCKED = 71
UNEVICTABLE_PGS_CLEARED = 72
UNEVICTABLE_PGS_STRANDED = 73
THP_FAULT_ALLOC = 74
THP_FAULT_FALLBACK = 75
THP_FAULT_FALLBACK_CHARGE = 76
THP_COLLAPSE_ALLOC = 77
THP_COLLAPSE_ALLOC_FAILED = 78
THP_FILE_ALLOC = 79
THP_FILE_FALLBACK = 80
THP_FILE_FALLBACK_CHARGE = 81
THP_FILE_MAPPED = 82
THP_SPLIT_PAGE = 83
THP_SPLIT_PAGE_FAILED = 84
THP_DEFERRED_SPLIT_PAGE = 85
THP_UNDERUSED_SPLIT_PAGE = 86
THP_SPLIT_PMD = 87
THP_SCAN_EXCEED_NONE_PTE = 88
THP_SCAN_EXCEED_SWAP_PTE = 89
THP_SCAN_EXCEED_SHARE_PTE = 90
THP_SPLIT_PUD = 91
THP_ZERO_PAGE_ALLOC = 92
THP_ZERO_PAGE_ALLOC_FAILED = 93
THP_SWPOUT = 94
THP_SWPOUT_FALLBACK = 95
BALLOON_INFLATE = 96
BALLOON_DEFLATE = 97
BALLOON_MIGRATE = 98
SWAP_RA = 99
SWAP_RA_HIT = 100
SWPIN_ZERO = 101
SWPOUT_ZERO = 102
KSM_SWPIN_COPY = 103
COW_KSM = 104
ZSWPIN = 105
ZSWPOUT = 106
ZSWPWB = 107
DIRECT_MAP_LEVEL2_SPLITS = 108
DIRECT_MAP_LEVEL3_SPLITS = 109
DIRECT_MAP_LEVEL2_COLLAPSES = 110
DIRECT_MAP_LEVEL3_COLLAPSES = 111
NRSWPIN = 112
NRSWPOUT = 113
NR_UNSTABLE = 114
NR_VM_EVENTS = 115

ZONE_ITEMS = (
    "nr_free_pages",
    "nr_zone_inactive_anon",
    "nr_zone_active_anon",
    "nr_zone_inactive_file",
    "nr_zone_active_file",
    "nr_zone_unevictable",
    "nr_zone_write_pending",
    "nr_mlock",
    "nr_bounce",
    "nr_zspages",
    "nr_free_cma",
    "numa_hit",
    "numa_miss",
    "numa_foreign",
    "numa_interleave",
    "numa_local",
    "numa_other",
)
NODE_ITEMS = (
    "nr_inactive_anon",
    "nr_active_anon",
    "nr_inactive_file",
    "nr_active_file",
    "nr_unevictable",
    "nr_slab_reclaimable",
    "nr_slab_unreclaimable",
    "nr_isolated_anon",
    "nr_isolated_file",
    "workingset_nodes",
    "workingset_refault_anon",
    "workingset_refault_file",
    "workingset_activate_anon",
    "workingset_activate_file",
    "workingset_restore_anon",
    "workingset_restore_file",
    "workingset_nodereclaim",
    "nr_anon_pages",
    "nr_mapped",
    "nr_file_pages",
    "nr_dirty",
    "nr_writeback",
    "nr_writeback_temp",
    "nr_shmem",
    "nr_shmem_hugepages",
    "nr_shmem_pmdmapped",
    "nr_file_hugepages",
    "nr_file_pmdmapped",
    "nr_anon_transparent_hugepages",
    "nr_vmscan_write",
    "nr_vmscan_immediate_reclaim",
    "nr_dirtied",
    "nr_written",
    "nr_throttled_written",
    "nr_kernel_misc_reclaimable",
    "nr_foll_pin_acquired",
    "nr_foll_pin_released",
    "nr_vmalloc",
    "nr_kernel_stack",
    "nr_page_table_pages",
    "nr_sec_page_table_pages",
    "nr_iommu_pages",
    "nr_swapcached",
    "pgpromote_success",
    "pgpromote_candidate",
    "pgpromote_candidate_nrl",
    "pgrefill",
    "nr_hugetlb",
    "nr_balloon_pages",
    "nr_kernel_file_pages",
    "nr_gpu_active",
    "nr_gpu_reclaim",
    "pgsteal_kswapd",
    "pgsteal_direct",
    "pgsteal_khugepaged",
    "pgsteal_proactive",
    "pgdemote_kswapd",
    "pgdemote_direct",
    "pgdemote_khugepaged",
    "pgdemote_proactive",
    "pgscan_kswapd",
    "pgscan_direct",
    "pgscan_khugepaged",
    "pgscan_proactive",
    "pgscan_anon",
    "pgscan_file",
    "pgrotate_anon",
    "pgrotate_file",
    "pgsteal_anon",
    "pgsteal_file",
)
VM_EVENTS = (
    "nr_free_pages_blocks",
    "nr_unaccepted",
    "nr_memmap_pages",
    "nr_memmap_boot_pages",
    "pgpgin",
    "pgpgout",
    "pswpin",
    "pswpout",
    "pgalloc_dma",
    "pgalloc_dma32",
    "pgalloc_normal",
    "pgalloc_movable",
    "pgalloc_device",
    "allocstall_dma",
    "allocstall_dma32",
    "allocstall_normal",
    "allocstall_movable",
    "allocstall_device",
    "pgskip_dma",
    "pgskip_dma32",
    "pgskip_normal",
    "pgskip_movable",
    "pgskip_device",
    "pgfree",
    "pgactivate",
    "pgdeactivate",
    "pglazyfree",
    "pgfault",
    "pgmajfault",
    "pglazyfreed",
    "pgreuse",
    "pgscan_direct_throttle",
    "zone_reclaim_success",
    "zone_reclaim_failed",
    "pginodesteal",
    "slabs_scanned",
    "kswapd_inodesteal",
    "kswapd_low_wmark_hit_quickly",
    "kswapd_high_wmark_hit_quickly",
    "pageoutrun",
    "pgrotated",
    "drop_pagecache",
    "drop_slab",
    "oom_kill",
    "numa_pte_updates",
    "numa_huge_pte_updates",
    "numa_hint_faults",
    "numa_hint_faults_local",
    "numa_pages_migrated",
    "pgmigrate_success",
    "pgmigrate_fail",
    "thp_migration_success",
    "thp_migration_fail",
    "thp_migration_split",
    "compact_migrate_scanned",
    "compact_free_scanned",
    "compact_isolated",
    "compact_stall",
    "compact_fail",
    "compact_success",
    "compact_daemon_wake",
    "compact_daemon_migrate_scanned",
    "compact_daemon_free_scanned",
    "htlb_buddy_alloc_success",
    "htlb_buddy_alloc_fail",
    "cma_alloc_success",
    "cma_alloc_fail",
    "unevictable_pgs_culled",
    "unevictable_pgs_scanned",
    "unevictable_pgs_rescued",
    "unevictable_pgs_mlocked",
    "unevictable_pgs_munlocked",
    "unevictable_pgs_cleared",
    "unevictable_pgs_stranded",
    "thp_fault_alloc",
    "thp_fault_fallback",
    "thp_fault_fallback_charge",
    "thp_collapse_alloc",
    "thp_collapse_alloc_failed",
    "thp_file_alloc",
    "thp_file_fallback",
    "thp_file_fallback_charge",
    "thp_file_mapped",
    "thp_split_page",
    "thp_split_page_failed",
    "thp_deferred_split_page",
    "thp_underused_split_page",
    "thp_split_pmd",
    "thp_scan_exceed_none_pte",
    "thp_scan_exceed_swap_pte",
    "thp_scan_exceed_share_pte",
    "thp_split_pud",
    "thp_zero_page_alloc",
    "thp_zero_page_alloc_failed",
    "thp_swpout",
    "thp_swpout_fallback",
    "balloon_inflate",
    "balloon_deflate",
    "balloon_migrate",
    "swap_ra",
    "swap_ra_hit",
    "swpin_zero",
    "swpout_zero",
    "ksm_swpin_copy",
    "cow_ksm",
    "zswpin",
    "zswpout",
    "zswpwb",
    "direct_map_level2_splits",
    "direct_map_level3_splits",
    "direct_map_level2_collapses",
    "direct_map_level3_collapses",
    "nrswpin",
    "nrswpout",
    "nr_unstable",
)
