"""Owns the numbers of the reclaim room. Imports nothing. Knows no behaviour."""

SWAP_CLUSTER_MAX = 32  # include/linux/swap.h SWAP_CLUSTER_MAX, v6.1
DEF_PRIORITY = 12  # include/linux/mmzone.h DEF_PRIORITY, v6.1
MAX_RECLAIM_RETRIES = 16  # mm/internal.h MAX_RECLAIM_RETRIES, v6.1
PAGE_ALLOC_COSTLY_ORDER = 3  # include/linux/mmzone.h, v6.1

HEAD_SIDE, TAIL_SIDE = 0, 1  # where a page joins a list

# include/linux/mmzone.h, v6.12
MIN_NR_GENS, MAX_NR_GENS, MAX_NR_TIERS = 2, 4, 4
GEN_ANON, GEN_FILE = 0, 1

# batches of `Lru`, one of each kind a CPU
BATCH_ADD, BATCH_ROTATE, BATCH_DEACTIVATE_FILE, BATCH_DEACTIVATE = 0, 1, 2, 3
BATCH_LAZYFREE, BATCH_ACTIVATE, BATCH_MLOCK = 4, 5, 6
NR_BATCHES = 7
BATCH_ROOM = 32
MUNLOCK, MLOCK_LRU, MLOCK_NEW = 0, 1, 2  # mm/mlock.c LRU_PAGE, NEW_PAGE, v6.1

IO_READ, IO_WRITE = 0, 1

# MODEL: a shadow is 1, then 40 bits of age, 12 of memcg, 6 of node, 1 workingset; > 0 in an i8.
# The kernel has 16 bits for the memcg and 63 in all (mm/workingset.c pack_shadow(), v6.1).
EVICTION_BITS = 40

# a scan_control's target when the machine as a whole is short
GLOBAL_RECLAIM = -1

SCAN_EQUAL, SCAN_FRACT, SCAN_ANON, SCAN_FILE = 0, 1, 2, 3  # mm/vmscan.c enum scan_balance, v6.1
DEACTIVATE_ANON, DEACTIVATE_FILE = 1, 2
FOLIOREF_RECLAIM, FOLIOREF_RECLAIM_CLEAN, FOLIOREF_KEEP, FOLIOREF_ACTIVATE = 0, 1, 2, 3

# What one page's pass through shrink_folio_list ended in
FOLIO_FREED, FOLIO_KEPT, FOLIO_ACTIVATED = 0, 1, 2
MAX_ISOLATED = 4096  # rows of the arrays that hold isolated pages (a huge page may be split)
