"""Owns one name for what /proc/vmstat has called differently from kernel to kernel.

Imports nothing of memtwin. Knows nothing of rates. A counter that a kernel does not have is None,
never 0.
"""

from __future__ import annotations

from collections.abc import Mapping

ZONES = ("dma", "dma32", "normal", "high", "movable", "device")
# our name -> the counters that make it, newest names first; the first list with any present counts.
# mm/vmstat.c vmstat_text[], v6.12, and what it was before the version at the end of a line
_ERAS: dict[str, tuple[tuple[str, ...], ...]] = {
    "scan_kswapd": (("pgscan_kswapd",), tuple(f"pgscan_kswapd_{zone}" for zone in ZONES)),  # 4.8
    "scan_direct": (("pgscan_direct",), tuple(f"pgscan_direct_{zone}" for zone in ZONES)),
    "scan_khugepaged": (("pgscan_khugepaged",),),  # 6.2
    "scan_proactive": (("pgscan_proactive",),),  # 6.15
    "steal_kswapd": (("pgsteal_kswapd",), tuple(f"pgsteal_kswapd_{zone}" for zone in ZONES)),
    "steal_direct": (("pgsteal_direct",), tuple(f"pgsteal_direct_{zone}" for zone in ZONES)),
    "steal_khugepaged": (("pgsteal_khugepaged",),),
    "steal_proactive": (("pgsteal_proactive",),),
    "scan_anon": (("pgscan_anon",),),  # 5.8
    "scan_file": (("pgscan_file",),),
    "allocstall": (tuple(f"allocstall_{zone}" for zone in ZONES), ("allocstall",)),  # 4.10
    "pageoutrun": (("pageoutrun",),),
    "refault_anon": (("workingset_refault_anon",),),  # 5.9
    "refault_file": (("workingset_refault_file",), ("workingset_refault",)),
    "activate_anon": (("workingset_activate_anon",),),
    "activate_file": (("workingset_activate_file",), ("workingset_activate",)),
    "restore_anon": (("workingset_restore_anon",),),
    "restore_file": (("workingset_restore_file",), ("workingset_restore",)),
    "swap_in": (("pswpin",),),
    "swap_out": (("pswpout",),),
    "major_faults": (("pgmajfault",),),
    "compact_stall": (("compact_stall",),),
    "oom_kill": (("oom_kill",),),  # 4.13
}
NAMES = tuple(_ERAS)


def counter(figures: Mapping[str, int], name: str) -> int | None:
    """The figure called `name` here, whatever this kernel calls it; None when it has none.

    >>> counter({"allocstall_dma": 0, "allocstall_normal": 7}, "allocstall")
    7
    """
    for names in _ERAS[name]:
        found = [figures[one] for one in names if one in figures]
        if found:
            return sum(found)
    return None


def missing(figures: Mapping[str, int]) -> list[str]:
    """The names of ours for which `figures` has nothing."""
    return [name for name in NAMES if counter(figures, name) is None]
