"""Owns the numbers of the reclaim room. Imports nothing. Knows no behaviour."""

SWAP_CLUSTER_MAX = 32  # include/linux/swap.h SWAP_CLUSTER_MAX, v6.1
DEF_PRIORITY = 12  # include/linux/mmzone.h DEF_PRIORITY, v6.1
MAX_RECLAIM_RETRIES = 16  # mm/internal.h MAX_RECLAIM_RETRIES, v6.1
PAGE_ALLOC_COSTLY_ORDER = 3  # include/linux/mmzone.h PAGE_ALLOC_COSTLY_ORDER, v6.1

HEAD_SIDE, TAIL_SIDE = 0, 1  # where a page joins a list

# include/linux/mmzone.h MIN_NR_GENS, MAX_NR_GENS and MAX_NR_TIERS, v6.12
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
FOLIO_FREED, FOLIO_KEPT, FOLIO_ACTIVATED, FOLIO_SPLIT = 0, 1, 2, 3
MAX_ISOLATED = 4096  # rows of the arrays that hold isolated pages (a huge page may be split)

THROTTLE_JIFFY_NS = 4_000_000  # one jiffy at HZ 250 (Debian's CONFIG_HZ)
HZ = 250

KSWAPD_ASLEEP, KSWAPD_BALANCING, KSWAPD_THROTTLED, KSWAPD_DOZING = 0, 1, 2, 3
KSWAPD_WOKEN, KSWAPD_PREEMPTED = 4, 5  # both want a CPU
# MODEL: two runnable tasks of one CPU take turns at ticks: each is looked at (kernel/sched/fair.c
# check_preempt_tick(), v6.1), and a slice of 3 ms (v6.12: 0.75 ms) is over by the first
KSWAPD_TURN_NS = THROTTLE_JIFFY_NS

MIN_LRU_BATCH = 64  # include/linux/mmzone.h MIN_LRU_BATCH = BITS_PER_LONG, v6.12
MAX_LRU_BATCH = 4096  # 64 * MIN_LRU_BATCH
MAX_SWAPPINESS = 200  # mm/swap.h, v6.12
REFS_MAX = 4  # BIT(LRU_REFS_WIDTH): accesses after which a page is always protected
MEMCG_NR_GENS = 3
MEMCG_LRU_NOP, MEMCG_LRU_TAIL, MEMCG_LRU_YOUNG = 0, 2, 4
SEG_NONE, SEG_TAIL = 0, 2
# suitable_to_scan(): 8 entries a cache line; a table with one young entry a line is worth walking
YOUNG_FACTOR = 8

SWAP_RA_ORDER_CEILING = 5  # mm/swap_state.c, 64 bits, v6.1
SWAP_RA_HITS_MAX = 63  # mm/swap_state.c SWAP_RA_HITS_MASK, v6.1
