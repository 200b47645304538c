"""Owns reading a machine's description off a live host or a captured tree, as TOML text.

Imports observe's sources and readers, description's limits. Knows nothing of booting. A figure
that can't be read is left out with the reason as a comment, never written as 0; what had to be
approximated is said in `notes`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from memtwin.errors import UserError
from memtwin.machine.config import config_from_text
from memtwin.machine.config_reader import MOST_NODES, ranges_of_ram
from memtwin.machine.description import THP_DEFRAG_MODES, THP_MODES, ZRAM_ALGORITHMS, MemoryRange
from memtwin.observe.iomem import is_hidden, parse_iomem, system_ram
from memtwin.observe.kernel_release import KernelMatch, match_release
from memtwin.observe.meminfo import parse_meminfo
from memtwin.observe.source import TreeSource
from memtwin.observe.swaps import SwapRow, parse_swaps
from memtwin.observe.system import parse_stat
from memtwin.observe.zoneinfo import ZoneInfo, parse_zoneinfo
from memtwin.page.tunables import SYSCTLS, Tunables
from memtwin.units import KIB, PAGE_SHIFT, PAGE_SIZE, format_size

_THP = "/sys/kernel/mm/transparent_hugepage"
_SKIPPED_DISKS = re.compile(r"/sys/block/(loop|ram|zram|sr|fd|dm-|md|nbd)\d*")


class _Toml:
    """Lines of the text in the making."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.notes: list[str] = []

    def put(self, key: str, value: object, why: str = "") -> None:
        """`key = value`, with `why` as a comment behind it."""
        text = json.dumps(value, ensure_ascii=False)
        self.lines.append(f"{key} = {text}" + (f" # {why}" if why else ""))

    def absent(self, key: str, reason: str) -> None:
        """A comment in place of `key`."""
        self.lines.append(f"# {key}: absent, {' '.join(reason.split())}")

    def head(self, title: str) -> None:
        """A new table."""
        self.lines += ["", title]


def capture_machine(root: str | Path = "/") -> str:
    """The TOML description of the machine whose /proc and /sys lie below `root` ("/": this host).

    The text reads back by `load_machine`. UserError when there is no /proc/meminfo.
    """
    source = TreeSource(root)
    meminfo_text = source.read("/proc/meminfo")
    if meminfo_text is None:
        reason = source.why_not("/proc/meminfo")
        raise UserError(f"capture: {root}: found no {reason}, allowed is a tree with /proc")
    total_kib = parse_meminfo(meminfo_text).mem_total_kib
    if total_kib is None:
        raise UserError(f"capture: {root}: found no MemTotal in /proc/meminfo")
    out = _Toml()
    release = _kernel(source, out)
    zones = _zoneinfo(source)
    memory, why_estimated = _memory(source, zones, total_kib)
    _cpus(source, out)
    _reserved(out, memory, total_kib * KIB)
    _modes(source, out)
    if why_estimated:
        out.absent("[[memory]]", f"{why_estimated}; a PC's map of the same size is taken")
        out.notes.append("the memory map could not be read: a PC's map of the same size stands in")
    if out.notes:
        out.put("notes", out.notes)
    _ranges(out, memory)
    _sysctls(source, out, release)
    _swaps(source, out)
    _block(source, out)
    text = "\n".join(out.lines) + "\n"
    config_from_text(text, "capture")  # what we write must read back
    return text


def _kernel(source: TreeSource, out: _Toml) -> KernelMatch:
    text = source.read("/proc/sys/kernel/osrelease")
    if text is None:
        version = re.match(r"Linux version (\S+)", source.read("/proc/version") or "")
        text = version[1] if version else None
    name = (source.read("/proc/sys/kernel/hostname") or "captured").strip() or "captured"
    out.put("name", name)
    out.put("about", f"captured from {name}")
    if text is None:
        out.absent("kernel_release", source.why_not("/proc/version"))
        out.notes.append("the kernel's version could not be read: 6.12 stands for it")
        release = match_release("6.12")
    else:
        release = match_release(text)
        out.put("kernel_release", text.strip())
        if not release.exact:
            out.notes.append(release.sentence)
    out.put("kernel", "6.1" if release.kernel == 601 else "6.12", release.sentence)
    out.put("layout", release.layout)
    if release.arch != "x86_64":
        out.put("arch", release.arch)
    return release


def _cpus(source: TreeSource, out: _Toml) -> None:
    text = source.read("/proc/stat")
    nr_cpus = parse_stat(text).nr_cpus if text else 0
    if nr_cpus:
        out.put("cpus", nr_cpus)
    else:
        out.absent("cpus", f"{source.why_not('/proc/stat')}; 1 is taken")


def _zoneinfo(source: TreeSource) -> ZoneInfo:
    text = source.read("/proc/zoneinfo")
    return parse_zoneinfo(text) if text else ZoneInfo([])


def _memory(source: TreeSource, zones: ZoneInfo, total_kib: int) -> tuple[list[MemoryRange], str]:
    """Ranges of RAM, and why they had to be estimated ("" when they were read)."""
    text = source.read("/proc/iomem")
    resources = parse_iomem(text or "")
    populated = [zone for zone in zones.zones if zone.populated]
    spans = [(z.start_pfn, z.start_pfn + z.pages["spanned"], z.node) for z in populated]
    if resources and not is_hidden(resources):
        found: list[MemoryRange] = []
        for start, end in system_ram(resources):
            found += _split_by_node(start, end, spans)
        return found, ""
    reason = "/proc/iomem: its addresses are hidden without privilege"
    if text is None:
        reason = source.why_not("/proc/iomem")
    if not populated:
        return list(ranges_of_ram(total_kib * KIB, 1)), reason
    present_bytes = sum(zone.pages["present"] for zone in populated) * PAGE_SIZE
    nodes = 1 + max(zone.node for zone in populated)
    return list(ranges_of_ram(present_bytes, min(nodes, MOST_NODES))), reason


def _split_by_node(start: int, end: int, spans: list[tuple[int, int, int]]) -> list[MemoryRange]:
    """One range of RAM cut where it passes from the zones of one node to another's."""
    found: list[MemoryRange] = []
    for first, last, node in sorted(spans):
        low, high = max(start, first << PAGE_SHIFT), min(end, last << PAGE_SHIFT)
        if low >= high:
            continue
        if found and found[-1].node == node:
            found[-1] = MemoryRange(found[-1].start_paddr, high, node)
        else:
            found.append(MemoryRange(low, high, node))
    return found or [MemoryRange(start, end, 0)]


def _reserved(out: _Toml, memory: list[MemoryRange], total_bytes: int) -> None:
    ram_bytes = sum(part.size_pages for part in memory) * PAGE_SIZE
    reserved_bytes = ram_bytes - total_bytes
    if 0 <= reserved_bytes <= ram_bytes // 2:
        out.put("reserved", reserved_bytes, f"RAM less MemTotal, {format_size(reserved_bytes)}")
    else:
        out.absent("reserved", "MemTotal does not fit the memory map")


def _ranges(out: _Toml, memory: list[MemoryRange]) -> None:
    for part in memory:
        out.head("[[memory]]")
        out.lines.append(f"start = {part.start_paddr:#x}")
        size = format_size(part.size_pages * PAGE_SIZE)
        out.lines.append(f"end = {part.end_paddr:#x} # {size}")
        out.put("node", part.node)


def _modes(source: TreeSource, out: _Toml) -> None:
    modes = (("thp", "enabled", THP_MODES), ("thp_defrag", "defrag", THP_DEFRAG_MODES))
    for key, file, allowed in modes:
        text = source.read(f"{_THP}/{file}")
        match = re.search(r"\[([\w+]+)\]", text or "")
        if match and match[1] in allowed:
            out.put(key, match[1])
        else:
            out.absent(key, source.why_not(f"{_THP}/{file}"))
    enabled = source.read("/sys/kernel/mm/lru_gen/enabled")
    if enabled is None:
        out.put("lru_gen", False, "the kernel has no /sys/kernel/mm/lru_gen: built without it")
    else:
        out.put("lru_gen", enabled.strip() not in ("0x0000", "0"))


def _sysctls(source: TreeSource, out: _Toml, release: KernelMatch) -> None:
    out.head("[sysctl]")
    defaults = Tunables(release.kernel, 1)
    for name in [*SYSCTLS, "vm.lowmem_reserve_ratio"]:
        path = "/proc/sys/" + name.replace(".", "/", 1)
        text = source.read(path)
        if text is None:
            out.absent(f'"{name}"', source.why_not(path))
        elif text.split() != defaults.get(name).split():
            out.put(f'"{name}"', " ".join(text.split()))


def _swaps(source: TreeSource, out: _Toml) -> None:
    text = source.read("/proc/swaps")
    if text is None:
        out.absent("[[swap]]", source.why_not("/proc/swaps"))
        return
    for row in parse_swaps(text):
        out.head("[[swap]]")
        _swap(source, out, row)


def _swap(source: TreeSource, out: _Toml, row: SwapRow) -> None:
    zram = re.fullmatch(r"/dev/(zram\d+)", row.filename)
    out.put("kind", "zram" if zram else "disk")
    out.put("size", (row.size_kib + PAGE_SIZE // KIB) * KIB, "with its header page")
    out.put("priority", row.priority)
    out.put("filename", row.filename)
    if zram is None:
        _speeds(out)
        return
    path = f"/sys/block/{zram[1]}/comp_algorithm"
    match = re.search(r"\[(\S+)\]", source.read(path) or "")
    if match and match[1] in ZRAM_ALGORITHMS:
        out.put("algorithm", match[1])
    elif match:
        out.absent("algorithm", f"{match[1]} is not modelled, lzo-rle stands for it")
        out.notes.append(f"zram algorithm {match[1]} is not modelled: lzo-rle stands for it")
    else:
        out.absent("algorithm", source.why_not(path))


def _block(source: TreeSource, out: _Toml) -> None:
    out.head("[block]")
    disks = [path for path in source.glob("/sys/block/*") if not _SKIPPED_DISKS.match(path)]
    if not disks:
        out.absent("rotational, read_ahead_kib", "no disk below /sys/block")
    else:
        _queue(source, out, _root_disk(source, disks))
    _speeds(out)


def _root_disk(source: TreeSource, disks: Iterable[str]) -> str:
    """The disk that / is mounted from where /proc/mounts says so, else the first."""
    names = list(disks)
    for line in (source.read("/proc/mounts") or "").splitlines():
        words = line.split()
        if len(words) > 1 and words[1] == "/":
            device = words[0].removeprefix("/dev/")
            for name in names:
                if device.startswith(name.rpartition("/")[2]):
                    return name
    return names[0]


def _queue(source: TreeSource, out: _Toml, disk: str) -> None:
    out.lines.append(f"# {disk.rpartition('/')[2]}")
    rotational = source.read(f"{disk}/queue/rotational")
    read_ahead = source.read(f"{disk}/queue/read_ahead_kb")
    if rotational is None:
        out.absent("rotational", source.why_not(f"{disk}/queue/rotational"))
    else:
        out.put("rotational", rotational.strip() == "1")
    if read_ahead is None:
        out.absent("read_ahead_kib", source.why_not(f"{disk}/queue/read_ahead_kb"))
    else:
        out.put("read_ahead_kib", int(read_ahead))


def _speeds(out: _Toml) -> None:
    for key in ("latency_us", "read_mb_s", "write_mb_s"):
        out.absent(key, "not measured: capturing only reads; write in what the device's maker says")
