"""Owns allocation requests: gfp masks, allocation flags, and the verdicts of allocating.

Imports nothing. Names and meanings: include/linux/gfp_types.h, v6.12; mm/internal.h ALLOC_*, v6.12.
The masks' bit values are our own: nothing prints them.
"""

GFP_DMA = 1 << 0  # __GFP_DMA
GFP_DMA32 = 1 << 1
GFP_HIGHMEM = 1 << 2
GFP_MOVABLE_BIT = 1 << 3  # __GFP_MOVABLE
GFP_RECLAIMABLE = 1 << 4  # __GFP_RECLAIMABLE
GFP_HIGH = 1 << 5  # __GFP_HIGH: may use reserves
GFP_IO = 1 << 6
GFP_FS = 1 << 7
GFP_DIRECT_RECLAIM = 1 << 8
GFP_KSWAPD_RECLAIM = 1 << 9
GFP_NOWARN = 1 << 10
GFP_NORETRY = 1 << 11
GFP_RETRY_MAYFAIL = 1 << 12
GFP_NOFAIL = 1 << 13
GFP_ACCOUNT = 1 << 14  # charge kernel memory to the memcg
GFP_WRITE = 1 << 15  # spread dirty pages over zones (__GFP_WRITE)
GFP_COMP = 1 << 16
GFP_NOMEMALLOC = 1 << 17
GFP_MEMALLOC = 1 << 18  # the allocating task has PF_MEMALLOC: reclaim itself
GFP_THISNODE = 1 << 19

GFP_RECLAIM = GFP_DIRECT_RECLAIM | GFP_KSWAPD_RECLAIM
GFP_KERNEL = GFP_RECLAIM | GFP_IO | GFP_FS
GFP_NOFS = GFP_RECLAIM | GFP_IO
GFP_NOIO = GFP_RECLAIM
GFP_USER = GFP_KERNEL
GFP_HIGHUSER_MOVABLE = GFP_KERNEL | GFP_HIGHMEM | GFP_MOVABLE_BIT
GFP_ATOMIC = GFP_HIGH | GFP_KSWAPD_RECLAIM
GFP_TRANSHUGE_LIGHT = (GFP_HIGHUSER_MOVABLE | GFP_COMP | GFP_NOMEMALLOC | GFP_NOWARN) & ~GFP_RECLAIM
GFP_TRANSHUGE = GFP_TRANSHUGE_LIGHT | GFP_DIRECT_RECLAIM

ALLOC_WMARK_MIN = 0
ALLOC_WMARK_LOW = 1
ALLOC_WMARK_HIGH = 2
ALLOC_WMARK_MASK = 3
ALLOC_NO_WATERMARKS = 4
ALLOC_HARDER = 16  # the kernel's ALLOC_NON_BLOCK
ALLOC_HIGH = 32  # the kernel's ALLOC_MIN_RESERVE
ALLOC_CMA = 128
ALLOC_OOM = 8
ALLOC_NOFRAGMENT = 256  # do not mix migrate types in a page block
ALLOC_HIGHATOMIC = 512
ALLOC_KSWAPD = 2048
ALLOC_RESERVES = ALLOC_HARDER | ALLOC_HIGH | ALLOC_HIGHATOMIC | ALLOC_OOM

# mm/page_alloc.c fpi_t, v6.12: FPI_TO_TAIL puts a freed block last on its list
FPI_NONE = 0
FPI_TO_TAIL = 2
HEAD_ADD, TAIL_ADD = 0, 1  # where on its list a free block goes
# How far a bulk request has gone for its last block (mm/page_alloc.c enum rmqueue_mode, v6.12)
RMQUEUE_NORMAL, RMQUEUE_CMA, RMQUEUE_CLAIM, RMQUEUE_STEAL = 0, 1, 2, 3

# Verdicts of the allocator: a pfn >= 0, or one of these
NEED_RECLAIM = (
    -2
)  # the fast path found nothing above the watermarks; reclaim/slowpath owns the loop
NEED_OOM = -3  # reclaim made no progress; process/oom acts, then the caller tries again
ALLOC_FAILED = -4  # the request may fail and did

# include/linux/mmzone.h NR_LOWORDER_PCP_LISTS, NR_PCP_THP and PAGE_ALLOC_COSTLY_ORDER, v6.12
PAGE_ALLOC_COSTLY_ORDER = 3
NR_LOWORDER_PCP_LISTS = 12
NR_PCP_LISTS = 14
PCP_BATCH_SCALE_MAX = 5  # CONFIG_PCP_BATCH_SCALE_MAX, v6.12
MIN_PERCPU_PAGELIST_HIGH_FRACTION = 8  # mm/page_alloc.c, v6.12
