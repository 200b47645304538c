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
