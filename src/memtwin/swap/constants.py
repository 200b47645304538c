"""Owns the numbers of the swap room. Imports nothing. Knows no behaviour."""

# MODEL: an entry is (type << SWAP_TYPE_SHIFT) | offset; offset 0 is the header, so an entry is
# never 0
SWAP_TYPE_SHIFT = 40
SWAP_OFFSET_MASK = (1 << SWAP_TYPE_SHIFT) - 1

# include/linux/swap.h SWAP_HAS_CACHE, v6.1
SWAP_HAS_CACHE = 0x40
SWAP_MAP_BAD = 0x3F
SWAPFILE_CLUSTER = 512  # mm/swapfile.c with CONFIG_THP_SWAP: HPAGE_PMD_NR, v6.1
SWAP_CLUSTER_COLS = 32  # mm/swapfile.c SWAP_CLUSTER_COLS: one 64 MiB address space, v6.1
LATENCY_LIMIT = 256  # mm/swapfile.c LATENCY_LIMIT, v6.1
SWAP_SLOTS_CACHE_SIZE = 64  # include/linux/swap_slots.h = SWAP_BATCH, v6.1
# include/linux/swap_slots.h THRESHOLD_(DE)ACTIVATE_SWAP_SLOTS_CACHE, v6.1
SLOTS_CACHE_ON_PAGES = 5 * SWAP_SLOTS_CACHE_SIZE
SLOTS_CACHE_OFF_PAGES = 2 * SWAP_SLOTS_CACHE_SIZE
NO_CLUSTER = -1

DISK, ZRAM = 0, 1  # what backs a swap device

# What a page holds, as far as compression goes (swap/content.py)
CONTENT_DEFAULT = 0  # whatever the machine's configuration says
CONTENT_ZERO = 1  # all zero
CONTENT_SAME = 2  # one word repeated
CONTENT_WORD = 3  # one word, then zeros
CONTENT_QUARTER = 4  # a quarter random, then zeros
CONTENT_HALF = 5
CONTENT_RANDOM = 6
NR_CONTENTS = 7

# mm/zsmalloc.c with 4 KiB pages and 64-bit handles, v6.1
ZS_MIN_ALLOC_SIZE = 32
ZS_SIZE_CLASS_DELTA = 16
ZS_SIZE_CLASSES = 255  # 32, 48 .. 4096
ZS_HANDLE_SIZE = 8
CHAIN_ROOM = 8  # frames a zspage row has room for
GROUPS_ROOM = 12  # fullness groups a class row has room for

SAME_FILLED = -1  # zram: the slot holds a same-filled page, without an object

# what swapping takes from slabs (swap/slab_objects.py)
TREE_NODE, ZS_HANDLE, ZSPAGE = 0, 1, 2
