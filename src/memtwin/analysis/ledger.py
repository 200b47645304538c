"""Owns the closed ledger: every page of MemTotal in exactly one row, and the remainder in its own.

Imports observe's counters. Does no reading. The kernel's counters overlap; each line below says
what it leaves out of its counter so that no page stands in two rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from memtwin.observe.ledger_texts import BalloonPlace, LedgerCounters, VmapStacks

UNACCOUNTED = "unaccounted"


class LedgerRow(msgspec.Struct):
    """One row. `low_pages` and `high_pages` bound it where the kernel's counters can't tell."""

    row: str
    pages: int
    size_bytes: int
    low_pages: int
    high_pages: int
    counted_by: str


class Attribute(msgspec.Struct):
    """Pages that stand in rows already, seen from another side."""

    name: str
    pages: int
    size_bytes: int
    of_rows: str


class Ledger(msgspec.Struct):
    """All rows, which sum to `total_pages`; attributes; and what never was part of MemTotal."""

    total_pages: int
    page_bytes: int
    rows: list[LedgerRow]
    attributes: list[Attribute]
    outside: list[LedgerRow]
    notes: list[str]

    def row(self, name: str) -> LedgerRow | None:
        """The row called `name`, or None when this kernel has no such counter."""
        return next((row for row in self.rows if row.row == name), None)


class _Part(NamedTuple):
    name: str
    pages: int | None  # None: this kernel does not tell
    counted_by: str
    low: int | None = None
    high: int | None = None


def make_ledger(counters: LedgerCounters) -> Ledger:
    """The ledger of one moment.

    The rows sum to MemTotal to the page. "unaccounted" is what no counter claims; it is negative
    where counters read at different instants claim more than there is, and a note says so.
    """
    count = _Count(counters)
    total = (counters.meminfo.mem_total_kib or 0) * 1024 // counters.page_bytes
    parts = [*_free(count), *_user(count), *_kernel(count), *_rare(count)]
    known = [part for part in parts if part.pages is not None]
    rows = [_row(part, counters.page_bytes) for part in known]
    rest = total - sum(row.pages for row in rows)
    rows.append(
        LedgerRow(
            UNACCOUNTED,
            rest,
            rest * counters.page_bytes,
            rest - sum(row.high_pages - row.pages for row in rows),
            rest + sum(row.pages - row.low_pages for row in rows),
            "MemTotal less all rows above: drivers, alloc_pages()",
        )
    )
    return Ledger(
        total_pages=total,
        page_bytes=counters.page_bytes,
        rows=rows,
        attributes=_attributes(count),
        outside=_outside(counters),
        notes=_notes(rest, counters),
    )


class _Count:
    """The counters by the kernel's name, from /proc/vmstat or else from /proc/meminfo."""

    def __init__(self, counters: LedgerCounters) -> None:
        self.counters = counters

    def vm(self, name: str, field: str | None = None) -> int | None:
        """Pages that /proc/vmstat counts as `name`, or else meminfo's `field`."""
        found = self.counters.vmstat.get(name)
        return found if found is not None or field is None else self.kib(field)

    def kib(self, field: str) -> int | None:
        """Pages of meminfo's field `field`."""
        found: int | None = getattr(self.counters.meminfo, f"{field}_kib")
        return None if found is None else found * 1024 // self.counters.page_bytes

    def file_pages(self) -> int:
        """Page cache of files and block devices: no shmem, no swap cache."""
        # mm/swap_state.c __add_to_swap_cache() and mm/shmem.c count in NR_FILE_PAGES too, v6.12
        whole = self.vm("nr_file_pages")
        if whole is None:
            cached = (self.kib("cached") or 0) + (self.kib("buffers") or 0)
            return cached - (self.kib("shmem") or 0)
        return whole - (self.vm("nr_swapcached", "swap_cached") or 0) - (self.vm("nr_shmem") or 0)


def _free(count: _Count) -> list[_Part]:
    free, cma = count.vm("nr_free_pages", "mem_free"), count.vm("nr_free_cma", "cma_free") or 0
    return [
        # NR_FREE_CMA_PAGES is part of NR_FREE_PAGES: mm/page_alloc.c account_freepages(), v6.12
        _Part("free", None if free is None else free - cma, "nr_free_pages - nr_free_cma"),
        _Part("free_cma", cma, "nr_free_cma"),
        # mm/page_alloc.c rmqueue_bulk(), v6.12: filling a CPU's list takes from NR_FREE_PAGES
        _Part("free_on_cpus", count.counters.percpu_lists, "zoneinfo, pagesets: count"),
        *_free_beyond_zones(count),
    ]


def _free_beyond_zones(count: _Count) -> list[_Part]:
    """Some hypervisors' guests count memory as free that no zone manages yet."""
    managed, total = count.counters.outside.managed, count.kib("mem_total")
    free, in_zones = count.kib("mem_free"), count.vm("nr_free_pages")
    if managed is None or total is None or free is None or in_zones is None:
        return []
    beyond = min(total - managed, max(free - in_zones, 0))
    return [_Part("free_beyond_zones", beyond, "MemTotal - managed")] if beyond > 0 else []


def _user(count: _Count) -> list[_Part]:
    buffers = count.kib("buffers") or 0
    return [
        # NR_ANON_MAPPED: only what a page table maps (mm/rmap.c folio_add_new_anon_rmap(), v6.12)
        _Part("anonymous", count.vm("nr_anon_pages", "anon_pages"), "nr_anon_pages"),
        _swap_cache(count),
        _Part(
            "file",
            count.file_pages() - buffers,
            "nr_file_pages - nr_swapcached - nr_shmem - Buffers",
        ),
        # block/bdev.c nr_blockdev_pages(), v6.12: within NR_FILE_PAGES
        _Part("buffers", buffers, "Buffers"),
        _Part("shmem", count.vm("nr_shmem", "shmem"), "nr_shmem"),
    ]


def _swap_cache(count: _Count) -> _Part:
    """Pages of the swap cache that no page table maps; mapped ones are anonymous already.

    No counter tells them apart. Pages on LRU lists are anonymous, swap cache, shmem or file: what
    the lists hold beyond the other three is swap cache alone. Pages still in a CPU's batch are on
    no list yet, so the figure is a lower bound.
    """
    whole = count.vm("nr_swapcached", "swap_cached")
    if not whole:
        return _Part("swap_cache", whole, "nr_swapcached")
    names = ("active_anon", "inactive_anon", "active_file", "inactive_file", "unevictable")
    lists = sum(count.vm(f"nr_{name}", name) or 0 for name in names)
    lists += sum(count.vm(f"nr_isolated_{kind}") or 0 for kind in ("anon", "file"))
    others = (
        (count.vm("nr_anon_pages", "anon_pages") or 0)
        + (count.vm("nr_shmem", "shmem") or 0)
        + count.file_pages()
    )
    alone = min(max(lists - others, 0), whole)
    return _Part("swap_cache", alone, "LRU lists - anonymous - shmem - file", alone, whole)


def _kernel(count: _Count) -> list[_Part]:
    stacks = count.kib("kernel_stack")  # KiB also in /proc/vmstat: mm/vmstat.c, v6.12
    percpu, first = count.kib("percpu"), count.counters.outside.percpu_first_chunk
    return [
        _Part(
            "slab_reclaimable",
            count.vm("nr_slab_reclaimable", "sreclaimable"),
            "nr_slab_reclaimable",
        ),
        # large kmalloc() is counted here, though /proc/slabinfo has no row for it:
        # mm/slub.c ___kmalloc_large_node(), v6.12
        _Part(
            "slab_unreclaimable",
            count.vm("nr_slab_unreclaimable", "sunreclaim"),
            "nr_slab_unreclaimable",
        ),
        _Part("page_tables", count.vm("nr_page_table_pages", "page_tables"), "nr_page_table_pages"),
        # IOMMU tables are within: drivers/iommu/iommu-pages.h __iommu_alloc_account(), v6.12
        _Part(
            "sec_page_tables",
            count.vm("nr_sec_page_table_pages", "sec_page_tables"),
            "nr_sec_page_table_pages",
        ),
        _Part("kernel_stacks", stacks, "KernelStack"),
        _vmalloc(count, stacks or 0),
        # mm/percpu.c pcpu_nr_pages(), v6.12: counts the first chunk, which memblock gave, so it is
        # no part of MemTotal; later chunks take single pages, which nr_vmalloc_pages has not
        _Part(
            "percpu",
            None if percpu is None else max(percpu - (first or 0), 0),
            "Percpu" if first is None else "Percpu - the first chunk",
            0 if first is None else None,
        ),
    ]


def _vmalloc(count: _Count, stacks: int) -> _Part:
    used = count.vm("nr_vmalloc", "vmalloc_used")
    if not used:  # mm/vmalloc.c counts since v5.3; before, meminfo printed 0
        return _Part("vmalloc", None, "VmallocUsed")
    if count.counters.vmap_stacks is VmapStacks.NO:
        return _Part("vmalloc", used, "VmallocUsed")
    # kernel/fork.c alloc_thread_stack_node(), v6.12: stacks come from vmalloc
    return _Part("vmalloc", max(used - stacks, 0), "VmallocUsed - KernelStack")


def _rare(count: _Count) -> list[_Part]:
    mem, counters = count.counters.meminfo, count.counters
    huge = count.kib("hugetlb")
    if huge is None and mem.hugepages_total_pages is not None and mem.hugepagesize_kib:
        huge = mem.hugepages_total_pages * mem.hugepagesize_kib * 1024 // counters.page_bytes
    zspages, zswap = count.vm("nr_zspages"), count.kib("zswap")
    inside = zswap is None or (counters.zswap_pool or "zsmalloc") == "zsmalloc"
    parts = [
        # zram's and zswap's objects lie in these: mm/zsmalloc.c alloc_zspage(), v6.12
        _Part("zsmalloc", zspages if zspages is not None else counters.zram, "nr_zspages"),
        _Part("zswap", None if inside else zswap, "Zswap, whose pool is not zsmalloc"),
        # mm/hugetlb.c, v6.12: neither in NR_FILE_PAGES nor in NR_ANON_MAPPED
        _Part("hugetlb", huge, "Hugetlb"),
        _Part("balloon", _balloon(count), "Balloon (the device gives back on OOM)"),
        _Part("gpu", _sum(count.vm("nr_gpu_active"), count.vm("nr_gpu_reclaim")), "nr_gpu_*"),
        _Part(
            "misc_reclaimable",
            count.vm("nr_kernel_misc_reclaimable"),
            "nr_kernel_misc_reclaimable",
        ),
        _Part("bounce", count.vm("nr_bounce", "bounce"), "nr_bounce"),
        _Part("fuse_writeback", count.vm("nr_writeback_temp", "writeback_tmp"), "WritebackTmp"),
        _Part("memmap_hotplugged", count.vm("nr_memmap_pages"), "nr_memmap_pages"),
        _Part("hardware_corrupted", count.kib("hardware_corrupted"), "HardwareCorrupted"),
    ]
    return [part for part in parts if part.pages]


def _balloon(count: _Count) -> int | None:
    if count.counters.balloon_place is BalloonPlace.OUTSIDE:
        return None
    now = count.vm("nr_balloon_pages", "balloon")
    vm = count.counters.vmstat
    if now is None and "balloon_inflate" in vm:
        return vm["balloon_inflate"] - vm.get("balloon_deflate", 0)
    return now


def _sum(*figures: int | None) -> int | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known) if known else None


# name, counter of /proc/vmstat, field of meminfo, rows it is part of
_SIDES = (
    ("unaccepted", "nr_unaccepted", "unaccepted", "free"),
    ("on_active_anon_list", "nr_active_anon", "active_anon", "anonymous, swap_cache, shmem"),
    ("on_inactive_anon_list", "nr_inactive_anon", "inactive_anon", "anonymous, swap_cache, shmem"),
    ("on_active_file_list", "nr_active_file", "active_file", "file, buffers"),
    ("on_inactive_file_list", "nr_inactive_file", "inactive_file", "file, buffers"),
    ("unevictable", "nr_unevictable", "unevictable", "anonymous, file, shmem"),
    ("mlocked", "nr_mlock", "mlocked", "anonymous, file, shmem"),
    ("mapped", "nr_mapped", "mapped", "file, shmem"),
    ("swap_cached", "nr_swapcached", "swap_cached", "swap_cache, anonymous"),
    ("dirty", "nr_dirty", "dirty", "file, buffers"),
    ("writeback", "nr_writeback", "writeback", "file, buffers, swap_cache"),
    ("kernel_file", "nr_kernel_file_pages", None, "file"),
    ("iommu_tables", "nr_iommu_pages", None, "sec_page_tables"),
)
_HUGE = (
    ("anonymous_huge", "anon_huge_pages", "anonymous"),
    ("shmem_huge", "shmem_huge_pages", "shmem"),
    ("file_huge", "file_huge_pages", "file"),
)


def _attributes(count: _Count) -> list[Attribute]:
    size, found = count.counters.page_bytes, []
    for name, counter, field, rows in _SIDES:
        found.append((name, count.vm(counter, field), rows))
    found += [(name, count.kib(field), rows) for name, field, rows in _HUGE]
    low, high = mapped_file_bounds(count.counters)
    found += [("mapped_file_at_least", low, "file"), ("mapped_file_at_most", high, "file")]
    if count.vm("nr_zspages"):
        found.append(("zram", count.counters.zram, "zsmalloc"))
        if count.counters.zswap_pool in (None, "zsmalloc"):
            found.append(("zswap_pool", count.kib("zswap"), "zsmalloc"))
    return [Attribute(name, pages, pages * size, rows) for name, pages, rows in found if pages]


def mapped_file_bounds(counters: LedgerCounters) -> tuple[int, int]:
    """(least, most) pages of files that page tables map.

    NR_FILE_MAPPED counts files and shmem together (mm/rmap.c __folio_add_rmap(), v6.12).
    """
    count = _Count(counters)
    mapped, shmem = count.vm("nr_mapped", "mapped") or 0, count.vm("nr_shmem", "shmem") or 0
    return max(mapped - shmem, 0), min(mapped, count.file_pages())


def _outside(counters: LedgerCounters) -> list[LedgerRow]:
    """Rows of what is present in the machine and was never handed to the page allocator."""
    known = counters.outside
    if known.present is None or known.managed is None:
        return []
    parts = [
        _Part("memmap", known.memmap_boot, "nr_memmap_boot_pages"),
        _Part("percpu_first_chunk", known.percpu_first_chunk, "dmesg, percpu: Embedded"),
        _Part("kernel_image", known.kernel_image, "iomem, Kernel code, rodata, data, bss"),
        _Part("crash_kernel", known.crash_kernel or None, "iomem, Crash kernel"),
    ]
    told = [part for part in parts if part.pages is not None]
    rest = known.present - known.managed - sum(part.pages or 0 for part in told)
    told.append(_Part("other_reserved", rest, "zoneinfo, present - managed less the above"))
    return [_row(part, counters.page_bytes) for part in told]


def _row(part: _Part, page_bytes: int) -> LedgerRow:
    pages = part.pages or 0
    return LedgerRow(
        part.name,
        pages,
        pages * page_bytes,
        pages if part.low is None else part.low,
        pages if part.high is None else part.high,
        part.counted_by,
    )


def _notes(rest_pages: int, counters: LedgerCounters) -> list[str]:
    notes = []
    if rest_pages < 0:
        notes.append(
            f"the rows claim {-rest_pages} pages more than there are: counters are read one after"
            " another, and each CPU holds back some of its own (vm stats threshold)"
        )
    if counters.outside.percpu_first_chunk is None and counters.meminfo.percpu_kib:
        notes.append(
            "percpu may hold pages that booting took before MemTotal was counted: no kernel log"
            " tells the size of the first chunk"
        )
    if counters.zswap_pool is None and counters.meminfo.zswap_kib:
        notes.append("zswap is taken to lie within zsmalloc: no zpool parameter says otherwise")
    return notes


class RowTrend(NamedTuple):
    """How a row moved between two ledgers."""

    row: str
    change_pages: int
    pages_per_s: float


def ledger_changes(before: Ledger, after: Ledger, elapsed_s: float) -> Sequence[RowTrend]:
    """What each row of `after` gained since `before`; the changes sum to MemTotal's own change."""
    was = {row.row: row.pages for row in before.rows}
    names = [row.row for row in after.rows]
    now = {row.row: row.pages for row in after.rows}
    names += [name for name in was if name not in now]
    found = []
    for name in names:
        change = now.get(name, 0) - was.get(name, 0)
        found.append(RowTrend(name, change, change / elapsed_s if elapsed_s > 0 else 0.0))
    return found
