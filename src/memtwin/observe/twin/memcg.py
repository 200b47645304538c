"""Owns how the twin's memory cgroups become the memory.* texts of v1 and v2.

Imports memcg, page numbers and the writers. Knows nothing of limits being enforced.
"""

from __future__ import annotations

from memtwin.memcg.constants import PAGE_COUNTER_MAX
from memtwin.memcg.table import MemcgTable
from memtwin.observe.cgroup import render_limit_v1, render_limit_v2, render_numa_stat
from memtwin.observe.layout import Layout
from memtwin.observe.scan import render_flat
from memtwin.page import vmstat_items as items
from memtwin.units import KIB, PAGE_SIZE

# memory.stat name -> counter (mm/memcontrol.c memory_stats[], v6.12); pages become bytes
_V2_PAGES = {
    "anon": items.NR_ANON_PAGES,
    "file": items.NR_FILE_PAGES,
    "pagetables": items.NR_PAGE_TABLE_PAGES,
    "sec_pagetables": items.NR_SEC_PAGE_TABLE_PAGES,
    "shmem": items.NR_SHMEM,
    "file_mapped": items.NR_MAPPED,
    "file_dirty": items.NR_DIRTY,
    "file_writeback": items.NR_WRITEBACK,
    "swapcached": items.NR_SWAPCACHED,
    "anon_thp": items.NR_ANON_TRANSPARENT_HUGEPAGES,
    "file_thp": items.NR_FILE_HUGEPAGES,
    "shmem_thp": items.NR_SHMEM_HUGEPAGES,
    "inactive_anon": items.NR_INACTIVE_ANON,
    "active_anon": items.NR_ACTIVE_ANON,
    "inactive_file": items.NR_INACTIVE_FILE,
    "active_file": items.NR_ACTIVE_FILE,
    "unevictable": items.NR_UNEVICTABLE,
    "slab_reclaimable": items.NR_SLAB_RECLAIMABLE,
    "slab_unreclaimable": items.NR_SLAB_UNRECLAIMABLE,
}
_V2_COUNTS = {
    name: items.NODE_ITEMS.index(name)
    for name in items.NODE_ITEMS
    if name.startswith(
        ("workingset_", "pgdemote_", "pgpromote_", "pgscan_", "pgsteal_", "pgrefill")
    )
}
_V2_EVENTS = {name: row for row, name in enumerate(items.VM_EVENTS)}
# v1 name -> counter (mm/memcontrol.c memcg1_stats[], v6.1)
_V1_PAGES = {
    "cache": items.NR_FILE_PAGES,
    "rss": items.NR_ANON_PAGES,
    "rss_huge": items.NR_ANON_TRANSPARENT_HUGEPAGES,
    "shmem": items.NR_SHMEM,
    "mapped_file": items.NR_MAPPED,
    "dirty": items.NR_DIRTY,
    "writeback": items.NR_WRITEBACK,
    "inactive_anon": items.NR_INACTIVE_ANON,
    "active_anon": items.NR_ACTIVE_ANON,
    "inactive_file": items.NR_INACTIVE_FILE,
    "active_file": items.NR_ACTIVE_FILE,
    "unevictable": items.NR_UNEVICTABLE,
}
_V1_COUNTS = {
    "workingset_refault_anon": items.WORKINGSET_REFAULT_ANON,
    "workingset_refault_file": items.WORKINGSET_REFAULT_FILE,
}
_V1_EVENTS = {
    "pgpgin": items.PGPGIN,
    "pgpgout": items.PGPGOUT,
    "pgfault": items.PGFAULT,
    "pgmajfault": items.PGMAJFAULT,
}


_V2_NAMES = [
    "current", "peak", "min", "low", "high", "max", "stat", "numa_stat", "events", "events.local",
    "oom.group", "swap.current", "swap.high", "swap.max", "swap.events",
]  # fmt: skip
_V1_NAMES = [
    "usage_in_bytes", "max_usage_in_bytes", "limit_in_bytes", "failcnt", "stat", "swappiness",
    "soft_limit_in_bytes", "oom_control", "use_hierarchy", "move_charge_at_immigrate",
    "kmem.usage_in_bytes", "kmem.limit_in_bytes", "memsw.usage_in_bytes",
    "memsw.max_usage_in_bytes", "memsw.limit_in_bytes", "memsw.failcnt",
]  # fmt: skip
_V2_ROOT_NAMES = ["stat", "numa_stat"]  # mm/memcontrol.c CFTYPE_NOT_ON_ROOT, v6.12


def group_files(version: int, group: str) -> list[str]:
    """The memory.* files of `group` (a path, "" is the root) that `cgroup_text` answers for."""
    names = (_V2_NAMES if group else _V2_ROOT_NAMES) if version == 2 else _V1_NAMES
    return [f"memory.{name}" for name in names]


def row_figure(table: MemcgTable, column: str, row: int) -> int:
    """Row `row` of the table's column called `column`."""
    return int(getattr(table, column)[row])


def memory_stat_v2(table: MemcgTable, memcg: int, layout: Layout) -> dict[str, int]:
    """name -> figure of the group's memory.stat, itself and all below."""
    found = {}
    for name in layout.memory_stat_v2:
        if name in _V2_PAGES:
            found[name] = table.stat_total(memcg, _V2_PAGES[name]) * PAGE_SIZE
        elif name == "kernel":
            found[name] = row_figure(table, "kmem", memcg) * PAGE_SIZE
        elif name == "kernel_stack":
            found[name] = table.stat_total(memcg, items.NR_KERNEL_STACK) * KIB
        elif name == "slab":
            found[name] = found["slab_reclaimable"] + found["slab_unreclaimable"]
        elif name in ("pgscan", "pgsteal"):
            found[name] = _sum_by_reclaimer(table, memcg, name)
        elif name in _V2_COUNTS:
            found[name] = table.stat_total(memcg, _V2_COUNTS[name])
        elif name in _V2_EVENTS:
            found[name] = table.event_total(memcg, _V2_EVENTS[name])
        else:
            found[name] = 0  # percpu, sock, vmalloc: the twin charges none
    return found


def _sum_by_reclaimer(table: MemcgTable, memcg: int, name: str) -> int:
    rows = [_V2_COUNTS[f"{name}_{who}"] for who in ("kswapd", "direct", "khugepaged")]
    return sum(table.stat_total(memcg, row) for row in rows)


def memory_stat_v1(table: MemcgTable, memcg: int, layout: Layout) -> dict[str, int]:
    """name -> figure of the group's v1 memory.stat; total_* count the groups below too."""
    found = {}
    for name in layout.memory_stat_v1:
        plain = name.removeprefix("total_")
        if name.startswith("hierarchical_"):
            found[name] = _hierarchical_limit(table, memcg, name)
        else:
            found[name] = _v1_figure(table, memcg, plain, name != plain)
    return found


def _v1_figure(table: MemcgTable, memcg: int, name: str, below: bool) -> int:  # noqa: FBT001
    if name in _V1_EVENTS:
        row = _V1_EVENTS[name]
        own = row_figure(table, "vm_event", memcg * items.NR_VM_EVENTS + row)
        return table.event_total(memcg, row) if below else own
    item = _V1_PAGES.get(name, _V1_COUNTS.get(name))
    if item is None:
        # swap: pages charged to memory+swap that are not in memory
        swapped = row_figure(table, "memsw_usage", memcg) - row_figure(table, "usage", memcg)
        return max(swapped, 0) * PAGE_SIZE if name == "swap" else 0
    own = row_figure(table, "stat", memcg * items.NR_NODE_ITEMS + item)
    figure = table.stat_total(memcg, item) if below else own
    return figure if name in _V1_COUNTS else figure * PAGE_SIZE


def _hierarchical_limit(table: MemcgTable, memcg: int, name: str) -> int:
    column = "memsw_max" if name.endswith("memsw_limit") else "max"
    least = PAGE_COUNTER_MAX
    while memcg >= 0:
        least = min(least, row_figure(table, column, memcg))
        memcg = row_figure(table, "parent", memcg)
    return least * PAGE_SIZE


def numa_stat_v2(table: MemcgTable, memcg: int, layout: Layout) -> dict[str, dict[str, int]]:
    """name -> {'N0': figure} of the group's memory.numa_stat.

    # DIFFERS: all stands on node 0; the twin keeps memcg counters for the machine; memory.numa_stat
    # on machines of several nodes.
    """
    stat = memory_stat_v2(table, memcg, layout)
    return {name: {"N0": stat.get(name, 0)} for name in layout.memory_numa_stat_v2}


def _limit(pages: int) -> int | None:
    return None if pages >= PAGE_COUNTER_MAX else pages * PAGE_SIZE


def cgroup_text(table: MemcgTable, memcg: int, name: str, layout: Layout) -> str | None:
    """The text of file `name` (as "memory.stat") of group `memcg`; None when there is none."""
    return (
        _text_v2(table, memcg, name, layout)
        if table.version == 2
        else _text_v1(table, memcg, name, layout)
    )


def _text_v2(table: MemcgTable, memcg: int, name: str, layout: Layout) -> str | None:
    usages = {
        "memory.current": "usage",
        "memory.peak": "watermark",
        "memory.swap.current": "swap_usage",
    }
    limits = {
        "memory.max": "max",
        "memory.high": "high",
        "memory.swap.max": "swap_max",
    }
    protections = {"memory.min": "min", "memory.low": "low"}
    events = table.memory_events(memcg)
    if name in usages:
        return f"{row_figure(table, usages[name], memcg) * PAGE_SIZE}\n"
    if name in limits:
        return render_limit_v2(_limit(row_figure(table, limits[name], memcg)))
    if name in protections:
        return render_limit_v2(_limit(row_figure(table, protections[name], memcg)))
    if name == "memory.stat":
        return render_flat(memory_stat_v2(table, memcg, layout))
    if name == "memory.numa_stat":
        return render_numa_stat(numa_stat_v2(table, memcg, layout))
    if name in ("memory.events", "memory.events.local"):
        plain = {event: n for event, n in events.items() if not event.startswith("swap_")}
        return render_flat(plain)
    if name == "memory.swap.events":
        return render_flat({event: events[f"swap_{event}"] for event in ("high", "max", "fail")})
    return {"memory.oom.group": "0\n", "memory.swap.high": "max\n"}.get(name)


def _text_v1(table: MemcgTable, memcg: int, name: str, layout: Layout) -> str | None:
    usages = {
        "memory.usage_in_bytes": "usage",
        "memory.max_usage_in_bytes": "watermark",
        "memory.memsw.usage_in_bytes": "memsw_usage",
        "memory.memsw.max_usage_in_bytes": "memsw_watermark",
        "memory.kmem.usage_in_bytes": "kmem",
    }
    limits = {"memory.limit_in_bytes": "max", "memory.memsw.limit_in_bytes": "memsw_max"}
    counts = {
        "memory.failcnt": "failcnt",
        "memory.memsw.failcnt": "memsw_failcnt",
        "memory.swappiness": "swappiness",
    }
    if name in usages:
        return f"{row_figure(table, usages[name], memcg) * PAGE_SIZE}\n"
    if name in limits:
        return render_limit_v1(_limit(row_figure(table, limits[name], memcg)))
    if name in counts:
        return f"{row_figure(table, counts[name], memcg)}\n"
    if name == "memory.stat":
        return render_flat(memory_stat_v1(table, memcg, layout))
    if name == "memory.oom_control":
        kills = table.memory_events(memcg)["oom_kill"]
        return render_flat({"oom_kill_disable": 0, "under_oom": 0, "oom_kill": kills})
    return {
        "memory.soft_limit_in_bytes": render_limit_v1(None),
        "memory.kmem.limit_in_bytes": render_limit_v1(None),
        "memory.use_hierarchy": "1\n",
        "memory.move_charge_at_immigrate": "0\n",
    }.get(name)
