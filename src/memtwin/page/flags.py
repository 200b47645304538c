"""Owns the bits of `MemMap.flags` and the page and migrate type numbers. Imports nothing.

Bits carry the kernel's names (include/linux/page-flags.h enum pageflags, v6.12). The kernel
overlays some of them (PG_readahead = PG_reclaim, PG_swapcache = PG_owner_priv_1); here they are
apart, because an `i8` row has room. Values are masks, not bit numbers.
"""

PG_LOCKED = 1 << 0
PG_REFERENCED = 1 << 1
PG_UPTODATE = 1 << 2
PG_DIRTY = 1 << 3
PG_LRU = 1 << 4
PG_ACTIVE = 1 << 5
PG_WORKINGSET = 1 << 6
PG_RESERVED = 1 << 7
PG_PRIVATE = 1 << 8  # the page has buffer heads
PG_WRITEBACK = 1 << 9
PG_HEAD = 1 << 10
PG_TAIL = 1 << 11
PG_RECLAIM = 1 << 12  # rotate to the tail when writeback ends
PG_READAHEAD = 1 << 13
PG_SWAPBACKED = 1 << 14
PG_UNEVICTABLE = 1 << 15
PG_MLOCKED = 1 << 16
PG_SWAPCACHE = 1 << 17
PG_ANON_EXCLUSIVE = 1 << 18
PG_ANON = 1 << 19  # mapping is an anon_vma id (the kernel's PAGE_MAPPING_ANON)
PG_BUDDY = 1 << 20  # head of a free block, order in `order`
PG_PCP = 1 << 21  # free, on a per-CPU list
PG_SLAB = 1 << 22
PG_TABLE = 1 << 23  # a page table page
PG_ISOLATED = 1 << 24  # taken off the LRU by reclaim or migration
PG_KSTACK = 1 << 25
PG_BOOT = 1 << 26  # taken before the twin began: kernel image, what booting left behind
PG_ZSPAGE = 1 << 27  # part of a zsmalloc zspage
PG_DEFERRED_SPLIT = 1 << 28
PG_DOUBLE_MAP = 1 << 29  # a THP mapped by PTEs too
PG_META = 1 << 30  # file system metadata in the block device's mapping (Buffers)
# Multi-gen LRU keeps generation + 1 and reference counts in flags (include/linux/mm_inline.h,
# v6.12).
LRU_GEN_SHIFT = 40
LRU_GEN_MASK = 7 << LRU_GEN_SHIFT
LRU_REFS_SHIFT = 43
LRU_REFS_MASK = 3 << LRU_REFS_SHIFT
# A free row (PG_BUDDY or PG_PCP) keeps here the migrate type of the list it is on.
FREE_MT_SHIFT = 48
FREE_MT_MASK = 7 << FREE_MT_SHIFT

# include/linux/mmzone.h enum migratetype, v6.1 (CONFIG_CMA moves ISOLATE up by one)
MIGRATE_UNMOVABLE = 0
MIGRATE_MOVABLE = 1
MIGRATE_RECLAIMABLE = 2
MIGRATE_PCPTYPES = 3
MIGRATE_HIGHATOMIC = 3
MIGRATE_CMA = 4
MIGRATE_ISOLATE = 5
MIGRATE_TYPES = 6

# include/linux/mmzone.h enum lru_list, v6.12
LRU_INACTIVE_ANON = 0
LRU_ACTIVE_ANON = 1
LRU_INACTIVE_FILE = 2
LRU_ACTIVE_FILE = 3
LRU_UNEVICTABLE = 4
NR_LRU_LISTS = 5

MAX_ORDER = 10  # the largest order (the kernel's MAX_PAGE_ORDER, v6.12)
NR_PAGE_ORDERS = 11
PAGEBLOCK_ORDER = 9
PAGEBLOCK_SHIFT = 9
PAGEBLOCK_PAGES = 512
