"""Owns the words of the system-wide views: vmstat, slabtop, meminfo, zones, cgroups and the rest.

Imports cli/declared, cli/view_words; a view itself only when it is asked for.
"""

from __future__ import annotations

from typing import Annotated

from memtwin.cli.declared import argument, option
from memtwin.cli.view_words import LIVE_HOST, SHOWN, Csv, Interval, Json, Live, Root, Shown
from memtwin.errors import UserError

Rows = Annotated[int | None, option("--rows", metavar="N", help="The first N rows alone.")]
Seconds = Annotated[
    float | None, option("-d", "--delay", metavar="S", help="Look every S seconds.")
]


def vmstat(
    delay: Annotated[float | None, argument(metavar="DELAY", help="Seconds.")] = None,
    count: Annotated[int | None, argument(metavar="COUNT", help="Looks.")] = None,
    active: Annotated[bool, option("-a", "--active", help="Active, inactive.")] = False,
    forks: Annotated[bool, option("-f", "--forks", help="Forks since boot.")] = False,
    slabs: Annotated[bool, option("-m", "--slabs", help="Slab caches.")] = False,
    one_header: Annotated[bool, option("-n", "--one-header", help="Print the head once.")] = False,
    stats: Annotated[bool, option("-s", "--stats", help="Counters since boot.")] = False,
    disk: Annotated[bool, option("-d", "--disk", help="Disks.")] = False,
    disk_sum: Annotated[bool, option("-D", "--disk-sum", help="Sums of disks.")] = False,
    partition: Annotated[
        str | None, option("-p", "--partition", metavar="DEV", help="One device.")
    ] = None,
    unit: Annotated[str, option("-S", "--unit", metavar="U", help="Unit: b, k, K, m or M.")] = "K",
    wide: Annotated[bool, option("-w", "--wide", help="Wide columns.")] = False,
    timestamp: Annotated[bool, option("-t", "--timestamp", help="Add the time.")] = False,
    no_first: Annotated[
        bool, option("-y", "--no-first", help="Leave out the line since boot.")
    ] = False,
    reclaim: Annotated[
        bool, option("--reclaim", help="What reclaim scanned, freed and cost.")
    ] = False,
    root: Root = LIVE_HOST,
    as_json: Json = False,
    as_csv: Csv = False,
    once: Annotated[bool, option("--once", help="Look once.")] = False,
    live: Live = False,
    interval: Interval = None,
) -> None:
    """Processes, memory, swap, blocks and CPU, as procps' vmstat shows them."""
    from memtwin.cli import vmstat_sums as sums
    from memtwin.cli.view import show, showing
    from memtwin.cli.vmstat_view import VmstatLayout, look_at, rows_of_terminal

    units = {"b": 1, "B": 1, "k": 1000, "K": 1 << 10, "m": 10**6, "M": 1 << 20}
    if unit[:1] not in units:
        raise UserError(f"--unit: found {unit!r}, allowed is b, k, K, m or M")
    modes = [forks, slabs, stats, disk, disk_sum, partition is not None, reclaim]
    if sum(modes) > 1:
        raise UserError("vmstat: found several of -f -m -s -d -D -p --reclaim, allowed is one")
    interval_s = delay if delay is not None else interval
    how = showing(
        as_json=as_json, as_csv=as_csv, once=once, live=live, interval_s=interval_s, count=count
    )
    every = 0 if one_header else rows_of_terminal()
    layout = VmstatLayout(
        wide, active, timestamp, no_first, reclaim, units[unit[0]], every, is_live=live
    )
    if stats:
        look = sums.sums_at(root, layout, unit[0])
    elif forks:
        look = sums.forks_at(root)
    elif slabs:
        look = sums.slabs_at(root, layout)
    elif disk:
        look = sums.disks_at(root, layout)
    elif disk_sum:
        look = sums.disk_sums_at(root)
    elif partition is not None:
        look = sums.partition_at(root, partition)
    else:
        look = look_at(root, layout, how.interval_s)
    show(look, how)


def slabtop(
    once: Annotated[bool, option("-o", "-n", "--once", help="Look once (as when piped).")] = False,
    sort: Annotated[
        str, option("-s", "--sort", metavar="C", help="Sort by a b c l v n o p s or u.")
    ] = "o",
    delay: Seconds = None,
    rows: Rows = None,
    root: Root = LIVE_HOST,
    as_json: Json = False,
    as_csv: Csv = False,
    live: Live = False,
    interval: Interval = None,
) -> None:
    """Slab caches, as procps' slabtop shows them, and what of them gives way."""
    from memtwin.cli.slabtop_view import look_at
    from memtwin.cli.view import show, showing

    interval_s = delay if delay is not None else interval
    how = showing(as_json=as_json, as_csv=as_csv, once=once, live=live, interval_s=interval_s)
    show(look_at(root, sort[:1].lower(), rows), how)


def meminfo(
    explain: Annotated[
        str | None, option("--explain", metavar="NAME", help="This line alone.")
    ] = None,
    shown: Shown = SHOWN,
) -> None:
    """Every line of /proc/meminfo, its share of memory and what it means."""
    from memtwin.cli.memory_views import meminfo_at
    from memtwin.cli.view import show

    show(meminfo_at(shown.root, explain), shown.how())


def buddyinfo(
    shown: Shown = SHOWN,
) -> None:
    """Free blocks by zone and order, and how fragmented they are."""
    from memtwin.cli.memory_views import buddyinfo_at
    from memtwin.cli.view import show

    show(buddyinfo_at(shown.root), shown.how())


def zoneinfo(
    shown: Shown = SHOWN,
) -> None:
    """How far each zone is from its watermarks, and where kswapd wakes."""
    from memtwin.cli.memory_views import zoneinfo_at
    from memtwin.cli.view import show

    show(zoneinfo_at(shown.root), shown.how())


def vmallocinfo(
    by: Annotated[str, option("--by", help="caller, kind or area.")] = "caller",
    rows: Rows = None,
    shown: Shown = SHOWN,
) -> None:
    """The kernel's vmalloc areas, by caller, by kind or one by one."""
    from memtwin.analysis.vmalloc import VmallocBy
    from memtwin.cli.memory_views import vmallocinfo_at
    from memtwin.cli.view import show

    if by not in [one.value for one in VmallocBy]:
        raise UserError(f"--by: found {by!r}, allowed is caller, kind or area")
    show(vmallocinfo_at(shown.root, VmallocBy(by), rows), shown.how())


def cgroups(
    sort: Annotated[
        str,
        option(
            "-s", "--sort", help="path, current, anon, file, kernel, swap, used, dirty or oom ..."
        ),
    ] = "path",
    depth: Annotated[
        int | None, option("--depth", metavar="N", help="So many levels below the root.")
    ] = None,
    rows: Rows = None,
    shown: Shown = SHOWN,
) -> None:
    """Memory of the cgroups, v1 or v2, as a tree or sorted."""
    from memtwin.cli.pressure_views import cgroups_at
    from memtwin.cli.view import show

    show(cgroups_at(shown.root, sort, depth, rows), shown.how())


def zram(
    shown: Shown = SHOWN,
) -> None:
    """What each zram device holds, takes and gains."""
    from memtwin.cli.pressure_views import zram_at
    from memtwin.cli.view import show

    show(zram_at(shown.root), shown.how())


def dirty(
    shown: Shown = SHOWN,
) -> None:
    """Dirty memory, and the limits at which it is written."""
    from memtwin.cli.pressure_views import dirty_at
    from memtwin.cli.view import show

    show(dirty_at(shown.root), shown.how())


def pressure(
    by_cgroup: Annotated[bool, option("--cgroups", help="Each cgroup too.")] = False,
    shown: Shown = SHOWN,
) -> None:
    """How long tasks waited for CPU, memory and IO (PSI)."""
    from memtwin.cli.pressure_views import pressure_at
    from memtwin.cli.view import show

    show(pressure_at(shown.root, by_cgroup=by_cgroup), shown.how())
