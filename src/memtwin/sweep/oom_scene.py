"""Owns turning an OOM report into something the twin can run: who held what on which machine.

Imports analysis and observe's OOM records. Knows nothing of running it. Everything that the report
does not say and this file takes for granted is a sentence in `Scene.assumptions`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from memtwin.analysis.oom_cause import Cause, cause_of
from memtwin.analysis.oom_choice import MEMCG, NONE, constraint_of
from memtwin.observe.kernel_release import match_release
from memtwin.observe.oom.records import GroupStat, OomReport, TaskRow, ZoneText

MOST_PAGES = 1 << 18  # MODEL: of RAM and swap together in the twin; what is larger is scaled down
MOST_ACTORS = 24  # MODEL: processes that are rebuilt one by one; the small ones are put together
LEAST_PAGES = 16  # of an actor: below, its page tables outweigh it
ROOM_SHARE = 0.01  # MODEL: free above the marks by more than this share of RAM is no shortage
OTHERS = "others"
_ALL_ITS_SWAP = (
    "the swap that the group had used is all that it could get (swap is full, or memory.swappiness"
    " is 0)"
)


class Actor(msgspec.Struct, kw_only=True):
    """One process of the scene; sizes in pages of the twin (scaled)."""

    word: str  # its name in the script
    comm: str
    pid: int
    anon_pages: int  # resident and in swap together: what it wants to have
    oom_score_adj: int


class Scene(msgspec.Struct, kw_only=True):
    """What the twin is to run. Pages are the twin's: `scale` real pages each."""

    kernel: str  # "6.1" or "6.12"
    in_group: bool
    cgroup_version: int = 2
    ram_pages: int  # what the actors and the rest may have: RAM, or the group's limit
    swap_pages: int
    min_free_pages: int = 0
    actors: list[Actor] = []
    grower: int = 0  # index of the actor that asks for more, last
    victim_pid: int | None = None
    shm_pages: int = 0
    locked_pages: int = 0
    scale: int = 1
    page_bytes: int = 4096
    assumptions: list[str] = []

    def bytes_of(self, pages: int) -> int:
        """Real bytes of so many of the twin's pages."""
        return pages * self.scale * self.page_bytes

    def pages_of(self, size_bytes: int) -> int:
        """The twin's pages for so many real bytes, rounded up."""
        return -(-size_bytes // (self.scale * self.page_bytes))


def scene_of(report: OomReport) -> Scene | str:
    """The scene of `report`, or why it cannot be rebuilt."""
    once = {row.pid: row for row in report.tasks}  # a torn table may have a row twice
    report = msgspec.structs.replace(report, tasks=list(once.values()))
    cause = cause_of(report)
    refusal = _refusal(report, cause)
    if refusal:
        return refusal
    in_group = constraint_of(report)[0] == MEMCG
    scene = _group_scene(report) if in_group else _machine_scene(report)
    if isinstance(scene, str):
        return scene
    _actors(report, scene, _anon_pages(report, scene))
    _say_common(report, scene)
    return scene


def _refusal(report: OomReport, cause: Cause) -> str:
    """Why the twin could not even try, or ""."""
    if not report.kills:
        return "the text has no kill"
    if report.by_sysrq:
        return "an administrator asked for the kill: nothing was short"
    if not report.tasks:
        return (
            f"without the table of tasks nobody's memory is known ({report.missing.get('tasks')})"
        )
    constraint, _ = constraint_of(report)
    if constraint not in (NONE, MEMCG):
        return "the request was held to some nodes, and the zones of the report do not tell more"
    if constraint == MEMCG:
        return ""
    wanted = cause.request.order or 0
    if cause.fragmented:
        return (
            f"memory was in pieces, not short: a block of order {wanted} was wanted; more memory"
            " might not have helped, compaction or a larger vm.min_free_kbytes might"
        )
    ram = sum(zone.kib.get("managed", 0) for zone in _zones(report)) << 10
    room = [
        (zone.usable_bytes or 0) - (zone.min_bytes or 0) - (zone.reserve_bytes or 0)
        for zone in cause.zones
        if zone.reachable and zone.serves
    ]
    if room and ram and max(room) > ram * ROOM_SHARE:
        return "a zone had room by the report's own figures: there is no shortage to rebuild"
    barred = [zone for zone in cause.zones if not zone.reachable]
    free = sum(zone.kib.get("free", 0) for zone in _zones(report)) << 10
    kept = sum(zone.free_bytes or 0 for zone in cause.zones if zone.reachable)
    if barred and ram and free - kept > ram * ROOM_SHARE:
        return (
            f"only zone {cause.request.highest_zone} and lower ran out: more RAM in other zones"
            " would not have helped"
        )
    return ""


def _zones(report: OomReport) -> list[ZoneText]:
    return report.mem_info.zones if report.mem_info is not None else []


def _kernel(report: OomReport) -> str:
    return "6.1" if match_release(report.release or "6.12").kernel == 601 else "6.12"


def _machine_scene(report: OomReport) -> Scene | str:
    info = report.mem_info
    if info is None or "active_anon" not in info.pages or "free" not in info.pages:
        return "the machine's counters are not in the text"
    pages = info.pages
    page_kib = report.page_bytes >> 10
    free = pages["free"]
    held = sum(
        pages.get(name, 0)
        for name in ("active_anon", "inactive_anon", "isolated_anon", "active_file",
                     "inactive_file", "isolated_file", "unevictable", "pagetables")
    )  # fmt: skip
    file = sum(pages.get(name, 0) for name in ("active_file", "inactive_file", "isolated_file"))
    swap_kib = info.swap_total_kib or 0
    scene = Scene(
        kernel=_kernel(report), in_group=False, ram_pages=held + free + pages.get("free_pcp", 0),
        swap_pages=swap_kib // page_kib, min_free_pages=free, page_bytes=report.page_bytes,
        shm_pages=pages.get("shmem", 0) + _swapped_shmem(report, swap_kib, page_kib),
        locked_pages=file,
    )  # fmt: skip
    scene.assumptions.append(
        "what the kernel held for itself (slab, stacks, drivers, what no row names) is taken out of"
        " RAM and does not change"
    )
    if file > scene.ram_pages * 0.01:
        scene.assumptions.append("page cache that reclaim had left is held as if it were locked")
    return scene


def _swapped_shmem(report: OomReport, total_kib: int, page_kib: int) -> int:
    """Swap in use that no process of the table has: shared memory, or tasks not in the table."""
    info = report.mem_info
    if info is None or info.swap_free_kib is None:
        return 0
    used = (total_kib - info.swap_free_kib) // page_kib
    by_tasks = sum(row.swapents_pages or 0 for row in report.tasks)
    return max(used - by_tasks - (info.swapcache_pages or 0), 0)


def _group_scene(report: OomReport) -> Scene | str:
    group = report.memcg
    if group is None or group.memory is None or group.memory.limit_kib is None:
        return "the group's limit is not in the text"
    if not group.groups:
        return "the group's statistics are not in the text"
    page_kib = report.page_bytes >> 10
    stat = _sum(group.groups)
    v1 = group.memsw is not None or "rss" in stat
    limit = group.memory.limit_kib // page_kib
    kernel_bytes = stat.get("kernel", 0) or sum(
        stat.get(key, 0) for key in ("kernel_stack", "slab", "percpu", "vmalloc")
    )
    own = stat.get("pagetables", 0) + stat.get("kernel_stack", 0)
    apart = max(kernel_bytes - own, 0) + stat.get("sock", 0)
    if v1 and group.kmem is not None:
        apart = max((group.kmem.usage_kib << 10) - _tables(report), 0)
    swap_kib, said = _group_swap(report, stat)
    scene = Scene(
        kernel=_kernel(report), in_group=True, cgroup_version=1 if v1 else 2,
        ram_pages=max(limit - apart // report.page_bytes, 1), swap_pages=swap_kib // page_kib,
        page_bytes=report.page_bytes, shm_pages=stat.get("shmem", 0) // report.page_bytes,
    )  # fmt: skip
    file = stat.get("file", stat.get("cache", 0)) - stat.get("shmem", 0)
    if file > (limit * report.page_bytes) * 0.01:
        scene.locked_pages = file // report.page_bytes
        scene.assumptions.append("page cache that reclaim had left is held as if it were locked")
    scene.assumptions.append("the machine outside of the group has memory enough")
    if said:
        scene.assumptions.append(said)
    return scene


def _tables(report: OomReport) -> int:
    return sum(row.pgtables_bytes or (row.nr_ptes or 0) * report.page_bytes for row in report.tasks)


def _sum(groups: Sequence[GroupStat]) -> dict[str, int]:
    if len(groups) == 1 or "anon" in groups[0].stat:
        return dict(groups[0].stat)
    found: dict[str, int] = {}
    for one in groups:
        for key, value in one.stat.items():
            found[key] = found.get(key, 0) + value
    return found


def _group_swap(report: OomReport, stat: dict[str, int]) -> tuple[int, str]:
    """(KiB of swap the group may use, what had to be assumed)."""
    group = report.memcg
    assert group is not None
    assert group.memory is not None
    used_kib = stat.get("swap", 0) >> 10
    if group.swap is not None:
        used_kib = group.swap.usage_kib
        if group.swap.limit_kib is not None:
            return max(group.swap.limit_kib, used_kib), ""
    elif group.memsw is not None and group.memsw.limit_kib is not None:
        limit_kib = group.memory.limit_kib or 0
        if group.memsw.usage_kib >= group.memsw.limit_kib:
            return max(group.memsw.limit_kib - limit_kib, 0), ""
        used_kib = max(group.memsw.usage_kib - group.memory.usage_kib, 0)
    if not used_kib:
        by_tasks = sum(row.swapents_pages or 0 for row in report.tasks)
        used_kib = by_tasks * (report.page_bytes >> 10)
    return used_kib, _ALL_ITS_SWAP


def _anon_pages(report: OomReport, scene: Scene) -> list[int]:
    """Resident anonymous pages of each row, real pages, as near as the text tells."""
    rows = report.tasks
    if all(row.rss_anon_pages is not None for row in rows):
        counts = [row.rss_anon_pages or 0 for row in rows]
    else:
        counts = _estimated(report)
    page = report.page_bytes
    if scene.in_group:
        stat = _sum(report.memcg.groups) if report.memcg is not None else {}
        held = (stat.get("anon") or stat.get("rss", 0)) // page
    else:
        pages = report.mem_info.pages if report.mem_info is not None else {}
        held = sum(pages.get(k, 0) for k in ("active_anon", "inactive_anon", "isolated_anon"))
        held += pages.get("unevictable", 0) - pages.get("shmem", 0)
    total = sum(counts)
    if total > held > 0:
        scene.assumptions.append(
            f"processes count {total - held:,} pages more than there are, as children share their"
            " parents': all are made smaller alike"
        )
        return [count * held // total for count in counts]
    if not scene.in_group and held > total:
        scene.locked_pages += held - total  # of nobody in the table, or locked
    return counts


def _estimated(report: OomReport) -> list[int]:
    """Anonymous pages where the table has rss alone: files' part is known of the victim only."""
    kill = report.kills[0]
    page_kib = report.page_bytes >> 10
    victim_anon = None if kill.anon_rss_kib is None else kill.anon_rss_kib // page_kib
    counts = []
    for row in report.tasks:
        rss = row.rss_pages or 0
        if row.pid == kill.pid and victim_anon is not None:
            counts.append(victim_anon)
            continue
        # MODEL: another process has as many file pages as the victim, and not more than it has
        files = ((kill.file_rss_kib or 0) + (kill.shmem_rss_kib or 0)) // page_kib
        counts.append(max(rss - files, 0))
    return counts


def _actors(report: OomReport, scene: Scene, anon: list[int]) -> None:
    """Fill in the processes, the grower last, and the scale."""
    whole = scene.ram_pages + scene.swap_pages
    while whole // scene.scale > MOST_PAGES:
        scene.scale *= 2
    scale = scene.scale
    for name in ("ram_pages", "swap_pages", "min_free_pages", "shm_pages", "locked_pages"):
        setattr(scene, name, getattr(scene, name) // scale)
    kill = report.kills[0]
    wants = [
        (row, max(resident + (row.swapents_pages or 0), 0) // scale)
        for row, resident in zip(report.tasks, anon, strict=True)
    ]
    wants.sort(key=lambda one: -one[1])
    grower = _grower(report, wants)
    kept = [
        one
        for place, one in enumerate(wants)
        if one[0].pid in (kill.pid, grower) or (place < MOST_ACTORS and one[1] >= LEAST_PAGES)
    ]
    rest = [one for one in wants if one not in kept]
    kept.sort(key=lambda one: one[0].pid == grower)
    scene.actors = [
        Actor(word=f"P{row.pid}", comm=row.name, pid=row.pid, anon_pages=pages,
              oom_score_adj=row.oom_score_adj or 0)
        for row, pages in kept
    ]  # fmt: skip
    left = sum(pages for _, pages in rest)
    if left:
        scene.actors.insert(
            0, Actor(word=OTHERS, comm=OTHERS, pid=0, anon_pages=left, oom_score_adj=-1000)
        )
        scene.assumptions.append(
            f"{len(rest)} small processes are put together into one that cannot be killed"
        )
    scene.grower, scene.victim_pid = len(scene.actors) - 1, kill.pid
    asker = scene.actors[scene.grower]
    scene.assumptions.append(
        f"it is {asker.comm} ({asker.pid}) that asks for more; the others stay as they are"
    )


def _grower(report: OomReport, wants: list[tuple[TaskRow, int]]) -> int:
    """Who asks for more: the asker when it is large, else the one killed."""
    asker, victim = report.invocation, report.kills[0].pid
    sizes = {row.pid: pages for row, pages in wants}
    if asker is not None and asker.pid in sizes and sizes[asker.pid] * 2 >= sizes.get(victim, 0):
        return asker.pid
    return victim if victim in sizes else wants[0][0].pid


def _say_common(report: OomReport, scene: Scene) -> None:
    say = scene.assumptions.append
    match = match_release(report.release) if report.release else None
    if match is None or not match.exact:
        name = report.release or "unknown"
        say(f"kernel {name} is not modelled: {scene.kernel} stands for it")
    if scene.scale > 1:
        say(f"everything is scaled down {scene.scale} times, to be run quickly")
    if not all(row.rss_anon_pages is not None for row in report.tasks):
        say("the table has no file and anonymous parts: the victim's file pages are taken for all")
    if scene.swap_pages:
        say("swap lies on a disk: zram would hold its pages in RAM, and more swap would need more")
    say("zones are one, and so are nodes")
