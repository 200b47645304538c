"""Owns the numbers of compaction and migration. Imports nothing. Knows no behaviour."""

COMPACT_CLUSTER_MAX = 32  # include/linux/swap.h COMPACT_CLUSTER_MAX, v6.1
COMPACT_MAX_DEFER_SHIFT = 6  # mm/compaction.c COMPACT_MAX_DEFER_SHIFT, v6.1
WHOLE_ZONES = -1  # the order of a request through /proc/sys/vm/compact_memory

# include/linux/migrate_mode.h enum migrate_mode, v6.1
MIGRATE_ASYNC, MIGRATE_SYNC_LIGHT, MIGRATE_SYNC = 0, 1, 2

# include/linux/compaction.h enum compact_priority, v6.1: low numbers work harder
COMPACT_PRIO_SYNC_FULL, COMPACT_PRIO_SYNC_LIGHT, COMPACT_PRIO_ASYNC = 0, 1, 2
MIN_COMPACT_PRIORITY, MIN_COMPACT_COSTLY_PRIORITY = 0, 1

# include/linux/compaction.h enum compact_result, v6.1
COMPACT_NOT_SUITABLE_ZONE, COMPACT_SKIPPED, COMPACT_DEFERRED = 0, 1, 2
COMPACT_NO_SUITABLE_PAGE, COMPACT_CONTINUE, COMPACT_COMPLETE = 3, 4, 5
COMPACT_PARTIAL_SKIPPED, COMPACT_CONTENDED, COMPACT_SUCCESS = 6, 7, 8

# what migrating one page ended in
MIGRATED, MIGRATE_AGAIN, MIGRATE_NO_FRAME = 0, 1, 2

# how many free frames compaction may hold: a page block's need and one block of the largest order
MOST_FREE_PAGES = 4096
MOST_MIGRATE_PAGES = 1024
