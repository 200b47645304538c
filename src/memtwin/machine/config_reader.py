"""Owns the way from a description's table (TOML or built by hand) to a checked MachineConfig.

Imports errors, units, columns-free rooms below: hardware/cost, page/tunables. Knows nothing of
files or of booting.
"""

from __future__ import annotations

import re

from memtwin.errors import UserError
from memtwin.hardware.cost import COSTS
from memtwin.machine.description import (
    ARCHITECTURES,
    CONTENT_CLASSES,
    KERNELS,
    STAT_READ_US,
    SWAP_KINDS,
    THP_DEFRAG_MODES,
    THP_MODES,
    ZRAM_ALGORITHMS,
    BlockConfig,
    FileConfig,
    LimitConfig,
    MachineConfig,
    MemoryRange,
    SwapConfig,
)
from memtwin.machine.fields import Fields
from memtwin.page.tunables import Tunables
from memtwin.units import GIB, KIB, MIB, PAGE_SIZE, TIB, format_size

LEAST_RAM, MOST_RAM = 16 * MIB, 7 * TIB  # the twin's frame numbers are 32-bit: below 8 TiB
MOST_NODES = 16
_HOLE_START, _HOLE_END = (
    3 * GIB,
    4 * GIB,
)  # below 4 GiB PCI devices live; MODEL: firmware differs, 2 .. 3.5 GiB
_LOW_START, _LOW_END, _HIGH_START = (
    0x1000,
    0x9FC00,
    0x100000,
)  # what PC firmware leaves of the first MiB
MIB_PER_S = 1_000_000  # device makers' megabytes
DEFAULT_BLOCK = BlockConfig(
    100_000, 500 * MIB_PER_S, 400 * MIB_PER_S
)  # MODEL: a SATA solid state disk
_SYSCTL = re.compile(r"vm\.[a-z_-]+")


def config_from_table(table: object, where: str) -> MachineConfig:
    """The description that `table` holds; `where` names it in errors. Raises UserError."""
    top = Fields(table, where)
    kernel_name = top.text("kernel", "6.12", tuple(KERNELS))
    block = _block(top.sub("block"), DEFAULT_BLOCK)
    memory = _memory(top)
    ram_bytes = sum(part.size_pages for part in memory) * PAGE_SIZE
    costs, sources = _costs(top.sub("costs"))
    sysctls = _sysctls(top.sub("sysctl"), KERNELS[kernel_name])
    config = MachineConfig(
        name=top.text("name", "unnamed"),
        about=top.text("about", ""),
        kernel=KERNELS[kernel_name],
        layout=top.text("layout", kernel_name),
        kernel_release=top.text("kernel_release", ""),
        arch=top.text("arch", "x86_64", ARCHITECTURES),
        nr_cpus=top.whole("cpus", 1, 1, 4096),
        memory=memory,
        reserved_bytes=top.size("reserved", None, 0, ram_bytes // 2)
        if top.has("reserved")
        else None,
        cma_bytes=top.size("cma", 0, 0, ram_bytes // 2),
        sysctls=sysctls,
        thp=top.text("thp", "madvise", THP_MODES),
        thp_defrag=top.text("thp_defrag", "madvise", THP_DEFRAG_MODES),
        lru_gen=top.yes_or_no(
            "lru_gen", kernel_name == "6.12"
        ),  # CONFIG_LRU_GEN_ENABLED of Debian's kernels
        swap=tuple(_swap(part, n, block) for n, part in enumerate(top.tables("swap"))),
        block=block,
        files=tuple(_file(part) for part in top.tables("file")),
        costs=costs,
        cost_sources=sources,
        limit=_limit(top.sub("limit"), ram_bytes),
        content=top.text("content", "half", CONTENT_CLASSES),
        seed=top.whole("seed", 1, 0, (1 << 63) - 1),
        notes=tuple(_notes(top)),
    )
    top.finish()
    return config


def _notes(top: Fields) -> list[str]:
    value = top.table["notes"] if top.has("notes") else []
    if not isinstance(value, list) or not all(isinstance(note, str) for note in value):
        raise top.fail("notes", "a list of texts")
    return value


def _memory(top: Fields) -> tuple[MemoryRange, ...]:
    ranges = top.tables("memory")
    if not ranges:
        nodes = top.whole("nodes", 1, 1, MOST_NODES)
        return ranges_of_ram(top.size("ram", None, LEAST_RAM, MOST_RAM), nodes)
    if top.has("ram") or top.has("nodes"):
        raise UserError(
            f"{top.where}: found both ram or nodes and [[memory]], allowed is one of them"
        )
    return _explicit_ranges(ranges, top.where)


def _explicit_ranges(ranges: list[Fields], where: str) -> tuple[MemoryRange, ...]:
    found = []
    end_before = 0
    for part in ranges:
        start = part.whole("start", None, end_before, MOST_RAM)
        end = part.whole("end", None, start + PAGE_SIZE, MOST_RAM)
        found.append(MemoryRange(start, end, part.whole("node", 0, 0, MOST_NODES - 1)))
        part.finish()
        end_before = end
    total_bytes = sum(part.size_pages for part in found) * PAGE_SIZE
    if total_bytes < LEAST_RAM:
        raise UserError(
            f"{where}: memory: found {format_size(total_bytes)} in all,"
            f" allowed is {format_size(LEAST_RAM)} .. {format_size(MOST_RAM)}"
        )
    if {part.node for part in found} != set(range(1 + max(part.node for part in found))):
        raise UserError(f"{where}: memory: found node numbers with gaps, allowed is 0, 1, 2, ...")
    return tuple(found)


def ranges_of_ram(ram_bytes: int, nr_nodes: int) -> tuple[MemoryRange, ...]:
    """RAM of a PC: a hole in the first MiB, one below 4 GiB, `nr_nodes` equal nodes in order.

    >>> [hex(part.end_paddr) for part in ranges_of_ram(8 << 30, 1)]
    ['0x9fc00', '0xc0000000', '0x240000000']
    """
    holes = [(_LOW_START, _LOW_END), (_HIGH_START, min(ram_bytes, _HOLE_START))]
    if ram_bytes > _HOLE_START:
        holes.append((_HOLE_END, ram_bytes + _HOLE_END - _HOLE_START))
    share_bytes = ram_bytes // nr_nodes // (128 * MIB) * (128 * MIB) or ram_bytes
    found: list[MemoryRange] = []
    for start, end in holes:
        at = start
        while at < end:
            # bytes of RAM below `at`, counting the hole of the first MiB as RAM, as firmware does
            below = at if at < _HOLE_END else at - (_HOLE_END - _HOLE_START)
            node = min(below // share_bytes, nr_nodes - 1)
            cut = end if node == nr_nodes - 1 else min(end, at + (node + 1) * share_bytes - below)
            found.append(MemoryRange(at, cut, node))
            at = cut
    return tuple(found)


def _block(part: Fields | None, default: BlockConfig) -> BlockConfig:
    if part is None:
        return default
    device = _device(part, default)
    part.finish()
    return device


def _device(part: Fields, default: BlockConfig) -> BlockConfig:
    read = part.number("read_mb_s", default.read_bytes_per_s / MIB_PER_S, 0.01, 1e6)
    write = part.number("write_mb_s", default.write_bytes_per_s / MIB_PER_S, 0.01, 1e6)
    return BlockConfig(
        latency_ns=round(part.number("latency_us", default.latency_ns / 1000, 0, 1e7) * 1000),
        read_bytes_per_s=round(read * MIB_PER_S),
        write_bytes_per_s=round(write * MIB_PER_S),
        rotational=part.yes_or_no("rotational", default.rotational),
        read_ahead_kib=part.whole("read_ahead_kib", default.read_ahead_kib, 0, 1 << 20),
        nr_requests=part.whole("nr_requests", default.nr_requests, 1, 1 << 16),
    )


def _swap(part: Fields, number: int, block: BlockConfig) -> SwapConfig:
    kind = part.text("kind", "", SWAP_KINDS)
    zram = kind == "zram"
    swap = SwapConfig(
        kind=kind,
        # mm/swapfile.c read_swap_header(), v6.12: a header page and at least one to use
        size_bytes=part.size("size", None, 40 * KIB, 16 * TIB),
        priority=part.whole("priority", -(number + 2), -32768, 32767),
        filename=part.text(
            "filename", f"/dev/zram{number}" if zram else f"/dev/vd{'cdefgh'[number % 6]}"
        ),
        device=None if zram else _device(part, block),
        algorithm=part.text("algorithm", "lzo-rle", ZRAM_ALGORITHMS) if zram else "",
    )
    part.finish()
    return swap


def _file(part: Fields) -> FileConfig:
    file = FileConfig(part.text("path", ""), part.size("size", None, 0, 16 * TIB))
    if not file.path.startswith("/"):
        raise part.fail("path", "an absolute path")
    part.finish()
    return file


def _limit(part: Fields | None, ram_bytes: int) -> LimitConfig | None:
    if part is None:
        return None
    most = ram_bytes  # a limit above RAM limits nothing: say so instead of running it
    limit = LimitConfig(
        max_bytes=part.size("memory", None, 256 * KIB, most),
        swap_max_bytes=part.size("swap", None, 0, 16 * TIB) if part.has("swap") else None,
        high_bytes=part.size("high", None, 256 * KIB, most) if part.has("high") else None,
        cgroup_version=part.whole("cgroup", 2, 1, 2),
        stat_read_us=part.whole("stat_read_us", STAT_READ_US, 0, 3_600_000_000),
    )
    if limit.cgroup_version == 1 and limit.high_bytes is not None:
        raise part.fail("high", "nothing with cgroup = 1: memory.high is version 2's")
    part.finish()
    return limit


def _costs(part: Fields | None) -> tuple[dict[str, int], dict[str, str]]:
    costs: dict[str, int] = {}
    sources: dict[str, str] = {}
    if part is None:
        return costs, sources
    for name in part.table:
        if name not in COSTS:
            raise UserError(
                f"{part.where}: found unknown cost {name!r}, known are {', '.join(COSTS)}"
            )
        entry = part.table[name]
        if isinstance(entry, dict):
            inner = Fields(entry, f"{part.where}: {name}")
            costs[name] = inner.whole("value", None, 0, 10**12)
            sources[name] = inner.text("source", "the machine description")
            inner.finish()
        else:
            costs[name] = part.whole(name, None, 0, 10**12)
            sources[name] = "the machine description"
    return costs, sources


def _sysctls(part: Fields | None, kernel: int) -> dict[str, str]:
    if part is None:
        return {}
    tunables = Tunables(kernel, 1)
    found = {}
    for name, value in part.table.items():
        if not _SYSCTL.fullmatch(name):
            raise UserError(f"{part.where}: found {name!r}, allowed is a name like vm.swappiness")
        text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
        try:
            tunables.set(name, text)
        except UserError as error:
            raise UserError(f"{part.where}: {error}") from None
        found[name] = text
    return found
