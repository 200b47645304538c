"""Owns the twin as a source of texts: asks it for a path as one would ask a live host.

Imports the rooms up to process, and observe's records and writers. Has never heard of configs or
of scripts.

A twin seeded from a recorded start carries that start's texts. Figures that the twin keeps follow
the twin; what booting left behind and the twin has no row for stays as it was: every counter is
printed as the start's figure plus what the twin counted since. Lines that the twin does not know
at all keep the start's text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import zip_longest

import msgspec

from memtwin.memcg.table import MemcgTable
from memtwin.observe import fragments, system
from memtwin.observe.formulas import (
    MemTotals,
    commit_limit_pages,
    meminfo_figures,
    si_mem_available,
)
from memtwin.observe.layout import Layout, load_layout
from memtwin.observe.meminfo import FIELDS, meminfo_of, parse_meminfo, render_meminfo
from memtwin.observe.scan import parse_flat, render_flat
from memtwin.observe.slabinfo import SlabRow, parse_slabinfo, render_slabinfo
from memtwin.observe.swaps import SwapRow, ZramMmStat, parse_mm_stat, render_mm_stat, render_swaps
from memtwin.observe.twin.memcg import cgroup_text
from memtwin.observe.twin.vmalloc import stack_areas, without_stacks
from memtwin.observe.twin.zones import (
    HUGE_PAGES,
    PRINTED_IN_THP,
    buddyinfo_record,
    free_blocks,
    pagetypeinfo_record,
    zoneinfo_record,
)
from memtwin.observe.vmallocinfo import PATH as VMALLOC_PATH
from memtwin.observe.vmallocinfo import VmallocArea, parse_vmallocinfo, render_vmallocinfo
from memtwin.observe.zoneinfo import ZoneInfo, ZoneText, parse_zoneinfo, render_zoneinfo
from memtwin.page.flags import PAGEBLOCK_ORDER
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.tunables import SYSCTLS
from memtwin.page.zone import ZONES_32
from memtwin.units import PAGE_SHIFT

# MODEL: page/zone.py counts HighMem in the row of DMA32, which a 32-bit kernel has not
_HIGH_ROWS = {f"{event}_high": f"{event}_dma32" for event in ("pgalloc", "allocstall", "pgskip")}
PRESSURE_FILES = ("cpu.pressure", "io.pressure", "memory.pressure")
MAX_RECLAIM_RETRIES = 16  # mm/internal.h MAX_RECLAIM_RETRIES, v6.12


@dataclass
class Pages:
    """Page counts that no counter of /proc/vmstat holds, asked for when a text is made."""

    swap_total: int = 0
    swap_free: int = 0
    committed: int = 0  # vm_committed_as
    buffers: int = 0  # page cache of block devices
    dirty_threshold: int = 0
    dirty_background_threshold: int = 0
    vmalloc_used: int = 0
    percpu: int = 0


def _no_rows() -> list[SlabRow]:
    return []


def _no_swaps() -> list[SwapRow]:
    return []


@dataclass
class TwinRooms:
    """The rooms of one machine that texts are made from; `machine` fills it when it boots.

    The callables give plain records, so that a text costs nothing until somebody asks for it.
    """

    layout: str  # a name of observe/layouts
    page_alloc: PageAlloc
    memcg: MemcgTable
    pages: Callable[[], Pages] = Pages
    slabs: Callable[[], list[SlabRow]] = _no_rows
    swaps: Callable[[], list[SwapRow]] = _no_swaps
    zrams: Callable[[], Mapping[str, ZramMmStat]] = dict  # "zram0" -> figures
    # (memcg, 0: the machine; "memory") -> its pressure
    pressure: Callable[[int, str], system.Pressure] | None = None
    process_text: Callable[[int, str], str | None] = lambda pid, name: None
    kswapd_failures: Callable[[int], int] = lambda node: 0
    # of the kernel: first frame -> node -> pages
    stacks: Callable[[], dict[int, dict[int, int]]] = dict
    vmalloc_objects: Callable[[], list[VmallocArea]] = list  # that scripts allocated
    cgroup_root: str = "/cg"  # where the hierarchy is mounted


class TwinTexts:
    """The twin as a Source. Make it when the machine has booted, before it runs anything."""

    def __init__(self, rooms: TwinRooms, start_texts: Mapping[str, str] | None = None) -> None:
        self.rooms = rooms
        self.start = dict(start_texts or {})
        self.layout: Layout = load_layout(rooms.layout)
        self._vmstat_offset: dict[str, int] = {}
        self._meminfo_offset: dict[str, int] = {}
        self._zone_offset: dict[tuple[int, str, str], int] = {}
        self._slab_offset: dict[str, tuple[int, ...]] = {}
        self._zram_offset: dict[str, tuple[int, ...]] = {}
        self._stacks_at_start = frozenset(rooms.stacks())
        if self.start:
            self._measure_offsets()

    def read(self, path: str) -> str | None:
        """The text of `path` ("/proc/meminfo", "/proc/42/statm", "/cg/g/memory.stat"), or None."""
        makers: dict[str, Callable[[], str]] = {
            "/proc/vmstat": self.vmstat,
            "/proc/meminfo": self.meminfo,
            "/proc/zoneinfo": self.zoneinfo,
            "/proc/buddyinfo": self.buddyinfo,
            "/proc/pagetypeinfo": self.pagetypeinfo,
            "/proc/slabinfo": self.slabinfo,
            "/proc/swaps": self.swaps,
            VMALLOC_PATH: self.vmallocinfo,
            fragments.UNUSABLE_PATH: self.unusable_index,
            fragments.EXTFRAG_PATH: self.extfrag_index,
            "/sys/kernel/mm/lru_gen/enabled": self.lru_gen_enabled,
        }
        if path in makers:
            return makers[path]()
        return self._read_other(path)

    def _read_other(self, path: str) -> str | None:
        parts = path.strip("/").split("/")
        if path.startswith("/proc/sys/vm/"):
            return self._sysctl(f"vm.{parts[-1]}")
        if path in system.PRESSURE_PATHS and self.rooms.pressure is not None:
            return system.render_pressure(self.rooms.pressure(0, parts[-1]))
        if len(parts) == 3 and parts[0] == "proc" and parts[1].isdigit():
            return self.rooms.process_text(int(parts[1]), parts[2])
        if path.startswith("/sys/block/") and parts[-1] == "mm_stat":
            stat = self.rooms.zrams().get(parts[2])
            return self.start.get(path) if stat is None else render_mm_stat(self._zram(path, stat))
        if path.startswith(self.rooms.cgroup_root + "/"):
            return self._cgroup(path.removeprefix(self.rooms.cgroup_root + "/"))
        return self.start.get(path)

    # each text --------------------------------------------------------------------------------

    def vmstat(self) -> str:
        """/proc/vmstat."""
        figures = self._vmstat_shown()
        return render_flat({name: figures.get(name, 0) for name in self._vmstat_order()})

    def meminfo(self) -> str:
        """/proc/meminfo."""
        figures, offset = self._meminfo_now(), self._meminfo_offset
        order = self._meminfo_order()
        return render_meminfo(meminfo_of({n: figures.get(n, 0) + offset.get(n, 0) for n in order}))

    def zoneinfo(self) -> str:
        """/proc/zoneinfo."""
        return render_zoneinfo(self.zoneinfo_shown())

    def zoneinfo_shown(self) -> ZoneInfo:
        """The record of /proc/zoneinfo, with what booting left behind."""
        info = self._zoneinfo_now()
        for zone in info:
            for stats in (zone.zone_stats, zone.node_stats or {}):
                for name in stats:
                    stats[name] += self._zone_offset.get((zone.node, zone.name, name), 0)
            if zone.populated:
                zone.pages["free"] = zone.zone_stats["nr_free_pages"]
        return ZoneInfo(info)

    def buddyinfo(self) -> str:
        """/proc/buddyinfo."""
        return fragments.render_buddyinfo(buddyinfo_record(self.rooms.page_alloc))

    def pagetypeinfo(self) -> str:
        """/proc/pagetypeinfo."""
        return fragments.render_pagetypeinfo(
            pagetypeinfo_record(self.rooms.page_alloc, self.layout)
        )

    def vmallocinfo(self) -> str:
        """/proc/vmallocinfo."""
        stacks, text = self.rooms.stacks(), self.start.get(VMALLOC_PATH)
        if text is not None:
            gone = len(self._stacks_at_start - stacks.keys())
            left = without_stacks(parse_vmallocinfo(text), gone)
            made = [one for first, one in stacks.items() if first not in self._stacks_at_start]
            grown = stack_areas(made, 0)
            return render_vmallocinfo([*left, *self.rooms.vmalloc_objects(), *grown])
        boot_pages = self._meminfo_offset.get("VmallocUsed", 0) >> (PAGE_SHIFT - 10)
        areas = stack_areas(stacks.values(), boot_pages)
        return render_vmallocinfo([*self.rooms.vmalloc_objects(), *areas])

    def unusable_index(self) -> str:
        """debugfs extfrag/unusable_index."""
        rows = self._indices(fragments.unusable_index)
        return fragments.render_unusable_index(rows)

    def extfrag_index(self) -> str:
        """debugfs extfrag/extfrag_index."""
        rows = self._indices(fragments.extfrag_index)
        return fragments.render_extfrag_index(rows)

    def slabinfo(self) -> str:
        """/proc/slabinfo: caches of the start in its order, then caches made since."""
        now = {row.name: row for row in self.rooms.slabs()}
        rows = []
        for row in parse_slabinfo(self.start.get("/proc/slabinfo", "")):
            live = now.pop(row.name, None)
            rows.append(row if live is None else self._shifted(live))
        return render_slabinfo(rows + list(now.values()))

    def swaps(self) -> str:
        """/proc/swaps."""
        return render_swaps(self.rooms.swaps())

    def lru_gen_enabled(self) -> str:
        """/sys/kernel/mm/lru_gen/enabled: the multi-gen LRU's three parts, or none."""
        # include/linux/mmzone.h: core, page table walks, non-leaf young bits (LRU_GEN_*), v6.12
        return "0x0007\n" if self.rooms.page_alloc.tunables.lru_gen_enabled else "0x0000\n"

    # figures of this moment -------------------------------------------------------------------

    def _vmstat_now(self) -> dict[str, int]:
        page_alloc = self.rooms.page_alloc
        figures = page_alloc.vmstat.by_name()
        for name in PRINTED_IN_THP:
            figures[name] //= HUGE_PAGES
        figures["nr_free_pages_blocks"] = sum(
            blocks << order
            for zone in page_alloc.zones.populated()
            for order, blocks in enumerate(free_blocks(page_alloc, zone))
            if order >= PAGEBLOCK_ORDER
        )
        if page_alloc.zones.names == ZONES_32:
            figures.update({high: figures[row] for high, row in _HIGH_ROWS.items()})
        pages = self.rooms.pages()
        figures["nr_dirty_threshold"] = pages.dirty_threshold
        figures["nr_dirty_background_threshold"] = pages.dirty_background_threshold
        return figures

    def _vmstat_shown(self) -> dict[str, int]:
        """Every counter with what booting left behind."""
        figures = self._vmstat_now()
        for name, offset in self._vmstat_offset.items():
            figures[name] = figures.get(name, 0) + offset
        return figures

    def _meminfo_now(self) -> dict[str, int]:
        page_alloc, pages = self.rooms.page_alloc, self.rooms.pages()
        zones = page_alloc.zones.zones
        high = [zone for zone in zones if zone.is_highmem()]
        total = sum(zone.managed_pages for zone in zones)
        tunables, vm = page_alloc.tunables, self._vmstat_shown()
        wmark_low = sum(zone.wmark_low + zone.watermark_boost for zone in zones)
        limit = commit_limit_pages(
            total,
            pages.swap_total,
            int(tunables.get("vm.overcommit_ratio")),
            int(tunables.get("vm.overcommit_kbytes")),
        )
        totals = MemTotals(
            total_pages=total,
            available_pages=si_mem_available(vm, wmark_low, page_alloc.zones.totalreserve_pages),
            buffers_pages=pages.buffers,
            high_total_pages=sum(zone.managed_pages for zone in high),
            high_free_pages=sum(int(page_alloc.vmstat.zone_page_state(z.zone_id, 0)) for z in high),
            swap_total_pages=pages.swap_total,
            swap_free_pages=pages.swap_free,
            commit_limit_pages=limit,
            committed_pages=pages.committed,
            cma_total_pages=sum(zone.cma_pages for zone in zones),
            vmalloc_used_pages=pages.vmalloc_used,
            percpu_pages=pages.percpu,
            direct_map_2m_kib=sum(zone.present_pages for zone in zones) << (PAGE_SHIFT - 10),
        )
        return meminfo_figures(vm, totals)

    def _zoneinfo_now(self) -> list[ZoneText]:
        page_alloc = self.rooms.page_alloc
        gave_up = {
            node: int(self.rooms.kswapd_failures(node) >= MAX_RECLAIM_RETRIES)
            for node in range(page_alloc.zones.nr_nodes)
        }
        return zoneinfo_record(page_alloc, self.layout, gave_up).zones

    def _indices(
        self, index: Callable[[tuple[int, ...]], tuple[int, ...]]
    ) -> list[fragments.ZoneIndex]:
        rows = buddyinfo_record(self.rooms.page_alloc)
        return [fragments.ZoneIndex(row.node, row.zone, index(row.blocks)) for row in rows]

    def _sysctl(self, name: str) -> str | None:
        if name in SYSCTLS or name == "vm.lowmem_reserve_ratio":
            return self.rooms.page_alloc.tunables.get(name) + "\n"
        return self.start.get("/proc/sys/" + name.replace(".", "/", 1))

    def _cgroup(self, path: str) -> str | None:
        group, _, name = path.rpartition("/")
        if group not in self.rooms.memcg.names:
            return None
        if name in PRESSURE_FILES and self.rooms.memcg.version == 2:
            pressure, memcg = self.rooms.pressure, int(self.rooms.memcg.find(group))
            resource = name.partition(".")[0]
            return None if pressure is None else system.render_pressure(pressure(memcg, resource))
        return cgroup_text(self.rooms.memcg, self.rooms.memcg.find(group), name, self.layout)

    # the start --------------------------------------------------------------------------------

    def _vmstat_order(self) -> list[str]:
        text = self.start.get("/proc/vmstat")
        return list(parse_flat(text, "/proc/vmstat")) if text else list(self.layout.vmstat)

    def _meminfo_order(self) -> list[str]:
        text = self.start.get("/proc/meminfo")
        return list(parse_meminfo(text).order) if text else list(self.layout.meminfo)

    def _measure_offsets(self) -> None:
        if "/proc/vmstat" in self.start:
            now = self._vmstat_now()
            for name, figure in parse_flat(self.start["/proc/vmstat"], "/proc/vmstat").items():
                self._vmstat_offset[name] = figure - now.get(name, 0)
        if "/proc/meminfo" in self.start:
            info, figures = parse_meminfo(self.start["/proc/meminfo"]), self._meminfo_now()
            for name in info.order:
                figure = getattr(info, FIELDS[name]) if name in FIELDS else info.other[name]
                self._meminfo_offset[name] = figure - figures.get(name, 0)
        if "/proc/zoneinfo" in self.start:
            self._measure_zones()
        if "/proc/slabinfo" in self.start:
            self._measure_slabs()
        for name, stat in self.rooms.zrams().items():
            self._measure_zram(f"/sys/block/{name}/mm_stat", stat)

    def _measure_zones(self) -> None:
        now = {(zone.node, zone.name): zone for zone in self._zoneinfo_now()}
        for zone in parse_zoneinfo(self.start["/proc/zoneinfo"]).zones:
            live = now.get((zone.node, zone.name))
            if live is None:
                continue
            for before, after in (
                (zone.zone_stats, live.zone_stats),
                (zone.node_stats or {}, live.node_stats or {}),
            ):
                for name, figure in before.items():
                    self._zone_offset[zone.node, zone.name, name] = figure - after.get(name, 0)

    def _measure_slabs(self) -> None:
        now = {row.name: row for row in self.rooms.slabs()}
        for row in parse_slabinfo(self.start["/proc/slabinfo"]):
            live = now.get(row.name)
            if live is not None:
                self._slab_offset[row.name] = (
                    row.active_objs - live.active_objs,
                    row.num_objs - live.num_objs,
                    row.active_slabs - live.active_slabs,
                    row.num_slabs - live.num_slabs,
                )

    def _measure_zram(self, path: str, stat: ZramMmStat) -> None:
        """mkswap wrote the header page before the twin began."""
        if path in self.start:
            before, now = _figures(parse_mm_stat(self.start[path])), _figures(stat)
            self._zram_offset[path] = tuple(b - n for b, n in zip(before, now, strict=False))

    def _zram(self, path: str, stat: ZramMmStat) -> ZramMmStat:
        offset = self._zram_offset.get(path, ())
        figures = _figures(stat)
        return ZramMmStat(*(n + o for n, o in zip_longest(figures, offset, fillvalue=0)))

    def _shifted(self, row: SlabRow) -> SlabRow:
        active, num, active_slabs, slabs = self._slab_offset.get(row.name, (0, 0, 0, 0))
        row.active_objs += active
        row.num_objs += num
        row.active_slabs += active_slabs
        row.num_slabs += slabs
        return row


def _figures(stat: ZramMmStat) -> list[int]:
    return [int(figure or 0) for figure in msgspec.structs.astuple(stat)]
