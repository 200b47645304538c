"""Owns where memory was when it ran out: every page of a report in exactly one row, and the rest.

Imports observe's OOM records and analysis.oom_choice. Knows no screen.
"""

from __future__ import annotations

import msgspec

from memtwin.analysis.oom_choice import managed_pages
from memtwin.observe.oom.records import GroupStat, MemInfoText, OomReport

REST = "not named by the report"


class LedgerRow(msgspec.Struct, kw_only=True):
    """One part of memory; `inside` names the row that holds it already."""

    name: str
    size_bytes: int
    inside: str = ""
    note: str = ""


class Ledger(msgspec.Struct, kw_only=True):
    """The rows, and what they add up to."""

    what: str  # whose memory: "all RAM" or a group
    total_bytes: int | None = None
    rows: list[LedgerRow] = []
    absent: list[str] = []  # parts the report does not print

    def size_of(self, name: str) -> int:
        """The bytes of row `name`, 0 when there is none."""
        return next((row.size_bytes for row in self.rows if row.name == name), 0)


# row -> the machine-wide counters it is the sum of (mm/show_mem.c show_free_areas(), v6.12)
_SUMS = {
    "anonymous and shmem": ("active_anon", "inactive_anon", "isolated_anon"),
    "page cache": ("active_file", "inactive_file", "isolated_file"),
    "unevictable": ("unevictable",),
    "slab, reclaimable": ("slab_reclaimable",),
    "slab, unreclaimable": ("slab_unreclaimable",),
    "page tables": ("pagetables",),
    "page tables of devices": ("sec_pagetables",),
    "bounce buffers": ("bounce",),
    "other reclaimable kernel memory": ("kernel_misc_reclaimable",),
    "free": ("free",),
}
# what newer kernels name on the lines of nodes and zones (mm/show_mem.c show_free_areas(), v7.0)
_NAMED_PLACES = {
    "balloon": ("node", "Balloon"),
    "GPU, in use": ("node", "gpu_active"),
    "GPU, reclaimable": ("node", "gpu_reclaim"),
    "zram's and zswap's pools": ("zone", "zspages"),
}
_OPTIONAL = ("page tables of devices", "other reclaimable kernel memory", "bounce buffers")


def ledger_of(report: OomReport) -> Ledger | None:
    """The ledger of a report's scope: the group it is about, or all RAM; None without figures."""
    group = report.memcg
    if group is not None and group.groups:
        return _group_ledger(report)
    if report.mem_info is None or not report.mem_info.pages:
        return None
    return _machine_ledger(report, report.mem_info)


def _machine_ledger(report: OomReport, info: MemInfoText) -> Ledger:
    page = report.page_bytes
    total, _ = managed_pages(report)
    found = Ledger(what="all RAM", total_bytes=None if total is None else total * page)
    for name, counters in _SUMS.items():
        values = [info.pages[one] for one in counters if one in info.pages]
        if values:
            found.rows.append(LedgerRow(name=name, size_bytes=sum(values) * page))
        elif name not in _OPTIONAL:
            found.absent.append(name)
    _from_zones(info, found, page)
    shmem = info.pages.get("shmem")
    if shmem is not None:
        note = "tmpfs, shared memory"
        found.rows.insert(
            1, LedgerRow(name="shmem", size_bytes=shmem * page, inside="anonymous", note=note)
        )
    _rest(found, "drivers, vmalloc, per-CPU data, a balloon, zram's pool, GPU buffers")
    return found


def _from_zones(info: MemInfoText, found: Ledger, page: int) -> None:
    """What stands on the lines of nodes or zones alone."""
    places = [node.kib for node in info.nodes] or [zone.kib for zone in info.zones]
    stacks = [kib["kernel_stack"] for kib in places if "kernel_stack" in kib]
    if not stacks:
        stacks = [zone.kib["kernel_stack"] for zone in info.zones if "kernel_stack" in zone.kib]
    if stacks:
        found.rows.append(LedgerRow(name="kernel stacks", size_bytes=sum(stacks) << 10))
    else:
        found.absent.append("kernel stacks")
    pcp = info.pages.get("free_pcp")
    if pcp is not None:
        found.rows.append(LedgerRow(name="free, on a CPU's own list", size_bytes=pcp * page))
    for name, (place, key) in _NAMED_PLACES.items():
        kibs = [node.kib for node in info.nodes] if place == "node" else [z.kib for z in info.zones]
        size_kib = sum(kib.get(key, 0) for kib in kibs)
        if size_kib:
            found.rows.append(LedgerRow(name=name, size_bytes=size_kib << 10))
    huge = sum(pool.size_kib * pool.total_pages for pool in info.huge_pools)
    if huge:
        unused = sum(pool.size_kib * pool.free_pages for pool in info.huge_pools) << 10
        note = f"{unused} bytes of it unused" if unused else ""
        found.rows.append(LedgerRow(name="huge page pools", size_bytes=huge << 10, note=note))


def _rest(found: Ledger, note: str) -> None:
    if found.total_bytes is None:
        return
    named = sum(row.size_bytes for row in found.rows if not row.inside)
    left = found.total_bytes - named
    absent = f"; and {', '.join(found.absent)}" if found.absent else ""
    found.rows.append(LedgerRow(name=REST, size_bytes=left, note=note + absent))


# memory.stat of v2: parts of a group that do not overlap (mm/memcontrol.c memory_stats[], v6.12)
_V2_PARTS = ("anon", "file", "kernel", "sock", "zswap")
_V2_KERNEL = ("kernel_stack", "pagetables", "sec_pagetables", "percpu", "vmalloc", "slab")
_V2_INSIDE = {
    "shmem": "file", "file_dirty": "file", "file_writeback": "file",
    "slab_unreclaimable": "slab", "slab_reclaimable": "slab", "unevictable": "anon",
}  # fmt: skip


def _group_ledger(report: OomReport) -> Ledger:
    group = report.memcg
    assert group is not None
    stats = _whole(group.groups)
    usage = group.memory.usage_kib << 10 if group.memory is not None else None
    found = Ledger(what=f"memory cgroup {group.limit_path or stats.path}", total_bytes=usage)
    stat = stats.stat
    if "rss" in stat or "cache" in stat:  # v1
        parts = {"rss": "anonymous", "cache": "page cache and shmem"}
        for key, name in parts.items():
            if key in stat:
                found.rows.append(LedgerRow(name=name, size_bytes=stat[key]))
        if group.kmem is not None:
            found.rows.append(LedgerRow(name="kernel", size_bytes=group.kmem.usage_kib << 10))
        inside = {"shmem": "page cache and shmem", "unevictable": "anonymous"}
    else:
        kernel = () if "kernel" in stat else _V2_KERNEL
        for key in (*_V2_PARTS, *kernel):
            if key in stat:
                found.rows.append(LedgerRow(name=key, size_bytes=stat[key]))
        inside = dict(_V2_INSIDE)
        if "kernel" in stat:
            inside.update(dict.fromkeys(_V2_KERNEL, "kernel"))
    for key, where in inside.items():
        if stat.get(key):
            found.rows.append(LedgerRow(name=key, size_bytes=stat[key], inside=where))
    _rest(found, "swap cache that no process maps, and counters that lag")
    return found


def _whole(groups: list[GroupStat]) -> GroupStat:
    """One record for the whole group.

    v1 prints each group of the hierarchy by itself; v2's figures are of all below already.
    """
    if len(groups) == 1 or "anon" in groups[0].stat:
        return groups[0]
    total: dict[str, int] = {}
    for one in groups:
        for key, value in one.stat.items():
            total[key] = total.get(key, 0) + value
    return GroupStat(path=groups[0].path, stat=total)
