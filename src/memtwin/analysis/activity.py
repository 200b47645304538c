"""Owns what `vmstat` says: memory, swap, block and CPU figures between two looks or since boot.

Imports observe's records, analysis/vmstat_eras and units. Knows nothing of columns. Rates are per
second; those of the first look are since boot, by /proc/uptime.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from memtwin.analysis.vmstat_eras import counter
from memtwin.observe.meminfo import MemInfo
from memtwin.observe.system import StatText
from memtwin.units import KIB, PAGE_SIZE

# fs/proc/stat.c show_stat(), v6.12
CPU_FIELDS = (
    "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice",
)  # fmt: skip


class Moment(msgspec.Struct, kw_only=True):
    """What one look read."""

    taken_s: float
    vmstat: dict[str, int]
    stat: StatText
    meminfo: MemInfo
    up_s: float | None = None

    def ticks(self) -> dict[str, int]:
        """Ticks of all CPUs together, by what they went to."""
        return dict(zip(CPU_FIELDS, [*self.stat.rows.get("cpu", []), *[0] * 10], strict=False))


class Activity(msgspec.Struct, kw_only=True):
    """One line of `vmstat`. A rate is None where nothing says how much time has passed."""

    taken_s: float
    since_boot: bool
    running: int
    blocked: int
    swap_used_bytes: int
    free_bytes: int
    buffers_bytes: int
    cache_bytes: int
    inactive_bytes: int
    active_bytes: int
    swap_in_bytes_per_s: float | None
    swap_out_bytes_per_s: float | None
    block_in_bytes_per_s: float | None
    block_out_bytes_per_s: float | None
    interrupts_per_s: float | None
    context_switches_per_s: float | None
    cpu_ticks: dict[str, int]


def cpu_ticks(before: Moment | None, now: Moment) -> dict[str, int]:
    """Ticks since `before`, or since boot, by CPU_FIELDS; idle may run backwards."""
    if before is None:
        return now.ticks()
    old = before.ticks()
    return {name: figure - old[name] for name, figure in now.ticks().items()}


def delta(before: Moment | None, now: Moment, name: str) -> int:
    """How much counter `name` of /proc/vmstat grew since `before`, or since boot."""
    old = 0 if before is None else before.vmstat.get(name, 0)
    return now.vmstat.get(name, 0) - old


def stat_delta(before: Moment | None, now: Moment, name: str) -> int:
    """How much the first figure of line `name` of /proc/stat grew since `before`, or since boot."""
    return now.stat.figure(name) - (0 if before is None else before.stat.figure(name))


def elapsed_s(before: Moment | None, now: Moment) -> float | None:
    """Seconds from `before`, or from boot, until `now`."""
    return now.up_s if before is None else now.taken_s - before.taken_s


def activity(before: Moment | None, now: Moment) -> Activity:
    """The line that `vmstat` prints of `now`."""
    passed_s = elapsed_s(before, now)

    def rate(amount: int) -> float | None:
        return amount / passed_s if passed_s else None

    info = now.meminfo
    swap_used_kib = (info.swap_total_kib or 0) - (info.swap_free_kib or 0)
    return Activity(
        taken_s=now.taken_s,
        since_boot=before is None,
        running=now.stat.figure("procs_running"),
        blocked=now.stat.figure("procs_blocked"),
        swap_used_bytes=max(swap_used_kib, 0) * KIB,
        free_bytes=(info.mem_free_kib or 0) * KIB,
        buffers_bytes=(info.buffers_kib or 0) * KIB,
        cache_bytes=((info.cached_kib or 0) + (info.sreclaimable_kib or 0)) * KIB,
        inactive_bytes=(info.inactive_kib or 0) * KIB,
        active_bytes=(info.active_kib or 0) * KIB,
        swap_in_bytes_per_s=rate(delta(before, now, "pswpin") * PAGE_SIZE),
        swap_out_bytes_per_s=rate(delta(before, now, "pswpout") * PAGE_SIZE),
        block_in_bytes_per_s=rate(delta(before, now, "pgpgin") * KIB),
        block_out_bytes_per_s=rate(delta(before, now, "pgpgout") * KIB),
        interrupts_per_s=rate(stat_delta(before, now, "intr")),
        context_switches_per_s=rate(stat_delta(before, now, "ctxt")),
        cpu_ticks=cpu_ticks(before, now),
    )


class Reclaim(msgspec.Struct, kw_only=True):
    """What reclaim did since the look before, or since boot; None: the kernel does not count it.

    Pages unless the name says otherwise; `per_s` fields are None where no time is known.
    """

    taken_s: float
    since_boot: bool
    scan_kswapd_pages: int | None
    scan_direct_pages: int | None
    scan_khugepaged_pages: int | None
    scan_proactive_pages: int | None
    steal_kswapd_pages: int | None
    steal_direct_pages: int | None
    steal_khugepaged_pages: int | None
    steal_proactive_pages: int | None
    efficiency_kswapd_percent: float | None  # freed of what was looked at
    efficiency_direct_percent: float | None
    direct_share_percent: float | None  # of what was freed, by those who waited for it
    allocstall: int | None  # allocations that reclaimed by themselves
    refault_anon_pages: int | None
    refault_file_pages: int | None
    activate_anon_pages: int | None
    activate_file_pages: int | None
    restore_anon_pages: int | None
    restore_file_pages: int | None
    swap_in_pages: int | None
    swap_out_pages: int | None
    major_faults: int | None
    oom_kills: int | None
    elapsed_s: float | None


def reclaim(before: Moment | None, now: Moment) -> Reclaim:
    """What reclaim did between two looks, or since boot."""

    def grown(name: str) -> int | None:
        figure = counter(now.vmstat, name)
        if figure is None or before is None:
            return figure
        return figure - (counter(before.vmstat, name) or 0)

    scans = {who: grown(f"scan_{who}") for who in ("kswapd", "direct", "khugepaged", "proactive")}
    steals = {who: grown(f"steal_{who}") for who in scans}
    freed = [figure for figure in steals.values() if figure is not None]
    pages = {f"scan_{who}_pages": figure for who, figure in scans.items()}
    pages |= {f"steal_{who}_pages": figure for who, figure in steals.items()}
    for what in ("refault", "activate", "restore"):
        for kind in ("anon", "file"):
            pages[f"{what}_{kind}_pages"] = grown(f"{what}_{kind}")
    return Reclaim(
        taken_s=now.taken_s,
        since_boot=before is None,
        efficiency_kswapd_percent=_percent(steals["kswapd"], scans["kswapd"]),
        efficiency_direct_percent=_percent(steals["direct"], scans["direct"]),
        direct_share_percent=_percent(steals["direct"], sum(freed) if freed else None),
        allocstall=grown("allocstall"),
        swap_in_pages=grown("swap_in"),
        swap_out_pages=grown("swap_out"),
        major_faults=grown("major_faults"),
        oom_kills=grown("oom_kill"),
        elapsed_s=elapsed_s(before, now),
        **pages,
    )


def _percent(part: int | None, whole: int | None) -> float | None:
    return None if part is None or not whole else 100 * part / whole


def sums(moment: Moment) -> Mapping[str, int]:
    """The counters that `vmstat -s` prints besides memory, by name."""
    ticks = {f"{name}_ticks": figure for name, figure in moment.ticks().items()}
    return {
        **ticks,
        "paged_in_kib": moment.vmstat.get("pgpgin", 0),
        "paged_out_kib": moment.vmstat.get("pgpgout", 0),
        "swapped_in_pages": moment.vmstat.get("pswpin", 0),
        "swapped_out_pages": moment.vmstat.get("pswpout", 0),
        "interrupts": moment.stat.figure("intr"),
        "context_switches": moment.stat.figure("ctxt"),
        "boot_time_s": moment.stat.figure("btime"),
        "forks": moment.stat.figure("processes"),
    }
