"""Owns the numbers of the memcg room. Imports nothing. Knows no behaviour."""

# mm/page_counter.c PAGE_COUNTER_MAX = LONG_MAX / PAGE_SIZE, v6.1
PAGE_COUNTER_MAX = ((1 << 63) - 1) // 4096
MAX_MEMCGS = 4096  # MODEL: rows; columns are lazy, so unused rows cost nothing
CGROUP_V1, CGROUP_V2 = 1, 2
ROOT_MEMCG = 0  # charges nobody

CHARGE_OK = 0  # else a verdict > 0: the id of the group that is over its limit
MEMCG_CHARGE_BATCH = 64  # include/linux/memcontrol.h MEMCG_CHARGE_BATCH, v6.1
KEEP_PAGES, GIVE_PAGES = 0, 1  # what becomes of whole pages among the bytes of objects
OBJ_OVERHEAD_BYTES = 8  # mm/slab.h obj_full_size(): the object's pointer to its group, v6.1

# include/linux/memcontrol.h enum memcg_memory_event, v6.1
MEMCG_LOW, MEMCG_HIGH, MEMCG_MAX, MEMCG_OOM, MEMCG_OOM_KILL = range(5)
MEMCG_OOM_GROUP_KILL, MEMCG_SWAP_HIGH, MEMCG_SWAP_MAX, MEMCG_SWAP_FAIL = range(5, 9)
NR_MEMCG_EVENTS = 9
MEMCG_EVENTS = (
    "low",
    "high",
    "max",
    "oom",
    "oom_kill",
    "oom_group_kill",
    "swap_high",
    "swap_max",
    "swap_fail",
)
