"""Owns the twin's answer to kills that more RAM alone would not have avoided.

Imports machine, page, analysis and observe's OOM records. Three kinds: memory in pieces, a request
held to low zones, a request held to some nodes. Each zone of the report becomes a zone of the twin
that has the same free blocks and marks; the request is asked of the twin's own page allocator, as
it was and as it might have been. What was in use stays in use: the kernel had tried to free it.
"""

from __future__ import annotations

import enum

import msgspec

from memtwin.analysis.oom_cause import Cause, cause_of
from memtwin.analysis.oom_choice import CPUSET, POLICY, constraint_of
from memtwin.machine.config import config_from_text
from memtwin.machine.machine import Machine
from memtwin.observe.oom.records import OomReport, ZoneText
from memtwin.page.flags import (
    MAX_ORDER,
    MIGRATE_CMA,
    MIGRATE_HIGHATOMIC,
    MIGRATE_MOVABLE,
    MIGRATE_TYPES,
    PAGEBLOCK_SHIFT,
)
from memtwin.page.gfp import (
    GFP_DIRECT_RECLAIM,
    GFP_DMA,
    GFP_DMA32,
    GFP_FS,
    GFP_HIGHMEM,
    GFP_HIGHUSER_MOVABLE,
    GFP_IO,
    GFP_KSWAPD_RECLAIM,
    GFP_MOVABLE_BIT,
    PAGE_ALLOC_COSTLY_ORDER,
)
from memtwin.page.zone import Zone
from memtwin.units import GIB, MIB, PAGE_SIZE

MOST_FREE_PAGES = 1 << 17  # MODEL: of a zone; what has more free is scaled down
MOST_MORE = 1 << 16  # pages: a zone that would have to have more free is not said to help
MOST_APART, LEAST_APART_PAGES = 0.1, 256  # MODEL: of the sum of a zone's blocks and its free pages
_FLAGS = {
    "DMA": GFP_DMA, "DMA32": GFP_DMA32, "HIGHMEM": GFP_HIGHMEM, "MOVABLE": GFP_MOVABLE_BIT,
    "IO": GFP_IO, "FS": GFP_FS, "DIRECT_RECLAIM": GFP_DIRECT_RECLAIM,
    "KSWAPD_RECLAIM": GFP_KSWAPD_RECLAIM,
}  # fmt: skip

# where a zone lies: arch/x86/mm/init.c zone_sizes_init(), v6.12
_START_64 = {"DMA": 0, "DMA32": 16 * MIB, "Normal": 4 * GIB}
_START_32 = {"DMA": 0, "Normal": 16 * MIB, "HighMem": 896 * MIB}
_DMA_END = 16 * MIB
_MOST_RAM = 1 << 40
_MOVABLE = ("active_anon", "inactive_anon", "active_file", "inactive_file")
_BLOCK_PAGES = 1 << MAX_ORDER


class Kind(enum.Enum):
    """Why RAM in general was not what was short."""

    PIECES = "memory in pieces"
    LOW_ZONE = "a low zone ran out"
    NODES = "a node ran out"


class Bound(msgspec.Struct, kw_only=True):
    """What the twin's allocator says of the request. None: not tried, or not found."""

    kind: Kind
    refused: bool  # the twin refuses the request as the kernel did
    order: int
    zone: str  # where more memory is asked about: "DMA32 of node 0"
    more_bytes: int | None = None  # free memory more in that zone with which it is served
    elsewhere_serves: bool | None = None  # with twice the memory in the zones it may not use
    lower_orders: list[int] = []  # orders below the one asked for that are served as things were
    any_zone_serves: bool | None = None  # asked for without its limit to low zones
    any_node_serves: bool | None = None
    without_reserve_serves: bool | None = None  # lowmem_reserve of 0
    highest_min_share: float | None = None  # of min_free_kbytes, with which it is served
    min_free_kib: int | None = None  # as it was: the zones' min marks together
    compaction_short_bytes: int | None = None  # free memory that it lacked to run; 0: it could
    movable_bytes: int | None = None  # in that zone: what compaction could move
    assumptions: list[str] = []


class _Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One way to ask."""

    gfp: int
    order: int
    nodes: frozenset[int] | None = None  # None: all
    more: tuple[str, int, int] | None = None  # (zone, node, pages)
    doubled: bool = False  # zones that it may not use have twice the free memory
    no_reserve: bool = False
    min_share: float = 1.0


def kind_of(report: OomReport, cause: Cause) -> Kind | None:
    """Which of the three a kill is; None when it is none of them."""
    constraint, _ = constraint_of(report)
    if constraint in (CPUSET, POLICY):
        return Kind.NODES
    if cause.fragmented:
        return Kind.PIECES
    barred = [zone for zone in cause.zones if not zone.reachable]
    failing = [zone for zone in cause.zones if zone.reachable and zone.serves is False]
    kept = _free(report, {(zone.node, zone.name) for zone in barred})
    return Kind.LOW_ZONE if failing and kept > _short(cause) else None


def _free(report: OomReport, names: set[tuple[int | None, str]]) -> int:
    zones = report.mem_info.zones if report.mem_info is not None else []
    return sum(z.kib.get("free", 0) for z in zones if (z.node, z.name) in names) << 10


def _short(cause: Cause) -> int:
    return sum(zone.min_bytes or 0 for zone in cause.zones if zone.reachable)


def bound_of(report: OomReport) -> Bound | str:
    """The twin's answer for a kill of `kind_of`, or why the twin cannot try."""
    cause = cause_of(report)
    kind = kind_of(report, cause)
    zones = report.mem_info.zones if report.mem_info is not None else []
    if kind is None:
        return "the request could have been met from any zone and node"
    if cause.request.order is None or not cause.request.flags:
        return "what was asked for is not in the text"
    if not zones or any("free" not in z.kib or "min" not in z.kib for z in zones):
        return "the zones' figures are not in the text"
    if not all(zone.blocks for zone in zones if zone.kib["free"]):
        return "the zones' free blocks are not in the text"
    if any(zone.name not in {**_START_64, **_START_32} for zone in zones):
        return "the machine has zones that are not rebuilt (Movable, Device)"
    if not all(_adds_up(zone, report.page_bytes >> 10) for zone in zones):
        return "the zones' free blocks do not add up to what is free in them"
    return _Twin(report, cause, kind).answer()


def _adds_up(zone: ZoneText, page_kib: int) -> bool:
    """Whether the blocks are those of the figures: both are read while others go on."""
    blocks_kib = sum(count << order for order, count in enumerate(zone.blocks)) * page_kib
    allowed_kib = max(zone.kib["free"] * MOST_APART, LEAST_APART_PAGES * page_kib)
    return abs(blocks_kib - zone.kib["free"]) <= allowed_kib


class _Twin:
    """The zones of one report, asked in several ways."""

    def __init__(self, report: OomReport, cause: Cause, kind: Kind) -> None:
        assert report.mem_info is not None
        self.report, self.cause, self.kind = report, cause, kind
        self.zones = sorted(report.mem_info.zones, key=lambda zone: zone.node or 0)
        self.order = max(cause.request.order or 0, 0)
        self.gfp = 0
        for name, bit in _FLAGS.items():
            if name in cause.request.flags:
                self.gfp |= bit
        nodes = {zone.node or 0 for zone in cause.zones if zone.reachable}
        self.nodes = frozenset(nodes) if kind is Kind.NODES else None
        page_kib = report.page_bytes >> 10
        largest = max(
            (z.kib["free"] // page_kib for z in self.zones if self._may_use(z)), default=0
        )
        self.scale = 1
        while largest // self.scale > MOST_FREE_PAGES:
            self.scale *= 2

    def answer(self) -> Bound | str:
        """The answer, or why the zones cannot be rebuilt."""
        if self.nodes is not None and not self.nodes & {zone.node or 0 for zone in self.zones}:
            return "the nodes that the request may use are not in the text"
        if not any(zone.reachable for zone in self.cause.zones):
            return "the zones that the request may use are not in the text"
        if self._machine(_Ask(gfp=self.gfp, order=self.order, nodes=self.nodes)) is None:
            return "a zone has more free than it can have where it lies"
        target = self._target()
        node = f" of node {target.node}" if len({z.node for z in self.zones}) > 1 else ""
        asked = _Ask(gfp=self.gfp, order=self.order, nodes=self.nodes)
        found = Bound(
            kind=self.kind, refused=not self.serves(asked), order=self.order,
            zone=f"{target.name}{node}",
        )  # fmt: skip
        found.assumptions.append(
            "what was in use stays in use (the kernel had tried to reclaim it), and more memory in"
            " a zone comes as whole free blocks"
        )
        if self.scale > 1:
            found.assumptions.append(f"free blocks are scaled down {self.scale} times in number")
        if not found.refused:
            return found
        self._try_all(found, asked, target)
        return found

    def _try_all(self, found: Bound, asked: _Ask, target: ZoneText) -> None:
        replace = msgspec.structs.replace
        place = (target.name, target.node or 0)
        more = self._least_more(asked, place)
        found.more_bytes = None if more is None else more * self.scale * self.report.page_bytes
        if any(not zone.reachable for zone in self.cause.zones):
            found.elsewhere_serves = self.serves(replace(asked, doubled=True))
        found.lower_orders = [
            order for order in range(self.order) if self.serves(replace(asked, order=order))
        ]
        if self.kind is Kind.PIECES:
            self._compaction(found, target)
        if self.kind is Kind.LOW_ZONE:
            anywhere = GFP_HIGHUSER_MOVABLE | self.gfp & ~(GFP_DMA | GFP_DMA32)
            found.any_zone_serves = self.serves(replace(asked, gfp=anywhere))
        if self.nodes is not None:
            found.any_node_serves = self.serves(replace(asked, nodes=None))
        if any(zone.reserve_bytes for zone in self.cause.zones if zone.reachable):
            found.without_reserve_serves = self.serves(replace(asked, no_reserve=True))
        found.min_free_kib = sum(
            zone.kib["min"] for zone in self.zones if zone.name not in ("HighMem", "Movable")
        )
        found.highest_min_share = self._highest_min_share(asked)

    def _compaction(self, found: Bound, target: ZoneText) -> None:
        """Whether compaction had what it needs to run (mm/compaction.c compaction_suitable())."""
        kib, page_kib = target.kib, self.report.page_bytes >> 10
        mark = kib["low" if self.order > PAGE_ALLOC_COSTLY_ORDER and "low" in kib else "min"]
        # compact_gap(), v6.1: room for the pages moved, and as much again
        needed_kib = mark + (2 << self.order) * page_kib
        usable_kib = kib["free"] - kib.get("free_cma", 0)
        found.compaction_short_bytes = max(needed_kib - usable_kib, 0) << 10
        if all(name in kib for name in _MOVABLE):
            found.movable_bytes = sum(kib[name] for name in _MOVABLE) << 10

    def _target(self) -> ZoneText:
        """Where more memory is asked about: the largest zone that the request may use."""
        usable = {(z.node, z.name) for z in self.cause.zones if z.reachable}
        own = [zone for zone in self.zones if (zone.node, zone.name) in usable]
        return max(own or self.zones, key=lambda z: z.kib.get("managed", z.kib.get("present", 0)))

    def _least_more(self, asked: _Ask, place: tuple[str, int]) -> int | None:
        """Free pages more in a zone with which the request is served: whole blocks of its order."""

        def served(more: int) -> bool:
            return self.serves(msgspec.structs.replace(asked, more=(*place, more)))

        step = 1 << self.order
        high = step
        while not served(high):
            high *= 2
            if high > MOST_MORE:
                return None
        low = high // 2 if high > step else 0
        while high - low > step:
            middle = (low + high) // 2 // step * step
            low, high = (low, middle) if served(middle) else (middle, high)
        return high

    def _highest_min_share(self, asked: _Ask) -> float | None:
        """The largest share of the min marks that lets the request through, to a hundredth."""

        def served(percent: int) -> bool:
            return self.serves(msgspec.structs.replace(asked, min_share=percent / 100))

        if not served(0):
            return None
        low, high = 0, 100
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if served(middle) else (low, middle)
        return low / 100

    def serves(self, ask: _Ask) -> bool:
        """Whether the twin's page allocator serves the request so asked."""
        machine = self._machine(ask)
        if machine is None:
            return False
        page_alloc = machine.kernel.page_alloc
        page_alloc.node = 0  # the first of those shown
        flags = page_alloc.gfp_to_alloc_flags(ask.gfp, ask.order)
        return int(page_alloc.get_page_from_freelist(ask.gfp, ask.order, flags)) >= 0

    def _machine(self, ask: _Ask) -> Machine | None:
        """A machine whose zones have the report's free blocks and marks; None: impossible."""
        high = any(zone.name == "HighMem" for zone in self.zones)
        starts = _START_32 if high else _START_64
        at = dict(starts)
        lines = ['name = "zones of an OOM report"', 'thp = "never"', "reserved = 0"]
        lines += ['kernel = "6.1"', 'arch = "i686"'] if high else ['kernel = "6.12"']
        # the request's own node first; those that it may not use are not there
        shown = [zone for zone in self.zones if ask.nodes is None or (zone.node or 0) in ask.nodes]
        own = min(self.nodes) if self.nodes else 0
        order = sorted({zone.node or 0 for zone in shown}, key=lambda node: (node != own, node))
        numbers = {node: place for place, node in enumerate(order)}
        ranges = []
        for zone in sorted(shown, key=lambda zone: numbers[zone.node or 0]):
            begin = at[zone.name]
            at[zone.name] = end = begin + self._room_bytes(zone, ask)
            if zone.name == "DMA":  # it ends there, whatever it is to hold
                at["DMA"] = end = _DMA_END
            if end > min([one for one in starts.values() if one > begin], default=_MOST_RAM):
                return None
            if end > begin:
                ranges.append((begin, end, numbers[zone.node or 0]))
        for begin, end, node in sorted(ranges):
            lines += ["[[memory]]", f"start = {begin}", f"end = {end}", f"node = {node}"]
        machine = Machine(config_from_text("\n".join(lines) + "\n", "oom explain"))
        twins = {(z.node, z.name): z for z in machine.kernel.page_alloc.zones.zones}
        machine.kernel.page_alloc.drain_all_pages()
        filled = [
            self._fill(machine, twins[numbers[zone.node or 0], zone.name], zone, ask)
            for zone in shown
        ]
        return machine if all(filled) else None

    def _blocks(self, zone: ZoneText, ask: _Ask) -> list[int]:
        """Free blocks by order, as the twin is to have them."""
        found = [0] * (MAX_ORDER + 1)
        twice = 2 if ask.doubled and not self._may_use(zone) else 1
        for order, count in enumerate(zone.blocks[: MAX_ORDER + 1]):
            found[order] = round(count * twice / self.scale)
            if not self._may_use(zone):  # of what it may not use, enough is as good as all
                marks = zone.kib.get("high", 0) // (self.report.page_bytes >> 10)
                found[order] = min(found[order], (MOST_FREE_PAGES // 2 + 2 * marks) >> order)
        if ask.more is not None and ask.more[:2] == (zone.name, zone.node or 0):
            found[self.order] += ask.more[2] >> self.order
        return found

    def _may_use(self, zone: ZoneText) -> bool:
        return any(
            (one.node, one.name) == (zone.node, zone.name) and one.reachable
            for one in self.cause.zones
        )

    def _free_pages(self, zone: ZoneText, ask: _Ask) -> int:
        return sum(count << order for order, count in enumerate(self._blocks(zone, ask)))

    def _room_bytes(self, zone: ZoneText, ask: _Ask) -> int:
        pages = self._free_pages(zone, ask)
        # one block beyond for each kind that has page blocks of its own, and one for the twin
        return (-(-pages // _BLOCK_PAGES) + 3) * _BLOCK_PAGES * PAGE_SIZE

    def _fill(self, machine: Machine, twin: Zone, zone: ZoneText, ask: _Ask) -> bool:
        """Give the twin's zone the free blocks and marks of the report's; False: no room."""
        buddy, zones = machine.kernel.page_alloc.buddy, machine.kernel.page_alloc.zones
        buddy.thread_all(twin)
        chunks: list[int] = []
        for order in range(MAX_ORDER, -1, -1):
            for migratetype in range(MIGRATE_TYPES):
                while (pfn := int(buddy.take_smallest(twin, order, migratetype))) >= 0:
                    chunks += [pfn] if order == MAX_ORDER else []
        room: dict[int, tuple[int, int]] = {}  # migrate type -> (next frame, end)
        for order, count, migratetype in self._typed(zone, self._blocks(zone, ask)):
            for _ in range(count):
                at, end = room.get(migratetype, (0, 0))
                if at + (1 << order) > end:
                    if not chunks:
                        return False
                    at = chunks.pop()
                    end = at + _BLOCK_PAGES
                    for block in range(at >> PAGEBLOCK_SHIFT, end >> PAGEBLOCK_SHIFT):
                        zones.block_type[block] = migratetype
                buddy.seed_block(twin, at, order, migratetype)
                room[migratetype] = (at + (1 << order), end)
        share = ask.min_share / self.scale
        page_kib = self.report.page_bytes >> 10
        for mark in ("min", "low", "high"):
            setattr(twin, f"wmark_{mark}", int(zone.kib.get(mark, 0) * share) // page_kib)
        held = zone.kib.get("reserved_highatomic", 0) // page_kib // self.scale
        twin.nr_reserved_highatomic = held
        reserve = zone.lowmem_reserve_pages or ()
        for index in range(len(twin.lowmem_reserve)):
            pages = reserve[index] if index < len(reserve) and not ask.no_reserve else 0
            twin.lowmem_reserve[index] = pages // self.scale
        return True

    def _typed(self, zone: ZoneText, blocks: list[int]) -> list[tuple[int, int, int]]:
        """(order, count, migrate type) of the free blocks, the largest first.

        The report tells which types there are at an order, not how many of each: CMA's are known
        by their sum and taken as the largest, blocks kept for atomic requests where none is else.
        """
        cma = zone.kib.get("free_cma", 0) // (self.report.page_bytes >> 10) // self.scale
        found = []
        for order in range(MAX_ORDER, -1, -1):
            count = blocks[order]
            types = set(zone.block_types[order]) if order < len(zone.block_types) else set()
            of_cma = min(count, cma >> order) if "C" in types else 0
            cma -= of_cma << order
            found.append((order, of_cma, MIGRATE_CMA))
            kept = types and not types - {"H", "I"}
            found.append((order, count - of_cma, MIGRATE_HIGHATOMIC if kept else MIGRATE_MOVABLE))
        return found
