"""Owns the way from a recorded case (a real kernel's setup and start) to a MachineConfig.

Imports observe's readers and description. Knows nothing of scripts: `workload` reads the case's
script itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from memtwin.errors import UserError
from memtwin.machine.config_reader import config_from_table
from memtwin.machine.description import (
    THP_MODES,
    BlockConfig,
    FileConfig,
    MachineConfig,
    MemoryRange,
    SwapConfig,
)
from memtwin.observe.iomem import parse_iomem, system_ram
from memtwin.observe.kernel_release import KernelMatch, match_release
from memtwin.observe.swaps import parse_swaps
from memtwin.observe.zoneinfo import parse_zoneinfo
from memtwin.page.tunables import SYSCTLS
from memtwin.units import MIB, PAGE_SHIFT, parse_size

# measured: benchmarks/recorded_guest.md
GUEST_COSTS = {
    "touch_ns": 400,
    "minor_fault_ns": 14_700,
    "clear_page_ns": 15_000,
    "copy_page_ns": 15_000,
    "major_fault_ns": 20_000,
    "fault_around_page_ns": 1_000,
    "syscall_ns": 5_000,
    "read_page_ns": 5_000,
    "write_page_ns": 15_000,
    "scan_page_ns": 5_000,
    "rmap_walk_ns": 3_000,
    "submit_io_ns": 100_000,
    "swap_slot_ns": 3_000,
    "swap_page_ns": 60_000,
    "zram_compress_ns": 60_000,
    "zram_decompress_ns": 30_000,
    "context_switch_ns": 50_000,
    "fork_ns": 2_000_000,
    "fork_pte_ns": 500,
    "unmap_page_ns": 8_000,
    "checkpoint_ns": 55_000_000,
}
THROTTLE_BURST_NS = 100_000_000  # QEMU's throttling.bps-total without a burst: 100 ms of it
GUEST_DISK_LATENCY_NS = 40_000
GUEST_DISK_BYTES_PER_S = 1_000_000_000
_FILES_ROOT = "/d"  # where the recorded machines mount their file system
_NS_PER_S = 1_000_000_000


def config_from_case(case: Mapping[str, Any]) -> MachineConfig:
    """The description of the machine that a case file was recorded on, with its start as seed.

    `case` is the decoded JSON: case, kernel_release, setup (path -> text), start (a checkpoint).
    Raises UserError when a part is missing.
    """
    for key in ("case", "kernel_release", "setup", "start"):
        if key not in case:
            raise UserError(f"case: found keys {', '.join(case)}, allowed is a case with {key!r}")
    recipe, setup, start = case["case"], case["setup"], case["start"]
    texts: dict[str, str] = start["files"]
    release = match_release(case["kernel_release"])
    memory = _memory(setup, texts)
    block = _device(recipe.get("disk") or {}, setup.get("/sys/block/vdb/queue/read_ahead_kb"))
    notes = [] if release.exact else [release.sentence]
    return MachineConfig(
        name=recipe["name"],
        about=f"recorded: {recipe['kernel']} with {recipe['ram_mib']} MiB",
        kernel=release.kernel,
        layout=release.layout,
        kernel_release=case["kernel_release"],
        arch=release.arch,
        nr_cpus=int(recipe.get("cpus") or 1),
        memory=memory,
        cma_bytes=_cma_bytes(texts),
        sysctls=_sysctls(setup, texts, release),
        thp=_bracketed(setup.get("/sys/kernel/mm/transparent_hugepage/enabled", "")),
        lru_gen=texts.get("/sys/kernel/mm/lru_gen/enabled", "0x0000").strip() != "0x0000",
        swap=_swap(recipe.get("swap") or {}, texts),
        block=block,
        files=_files(recipe.get("disk") or {}),
        # the recorded program's touch writes one word a page; `fill` says otherwise
        content="word",
        directories=(_FILES_ROOT,) if recipe.get("disk") else (),
        costs=dict(GUEST_COSTS),
        cost_sources=dict.fromkeys(GUEST_COSTS, "measured: benchmarks/recorded_guest.md"),
        start_texts=dict(texts),
        setup_texts=dict(setup),
        start_time_ns=int(start.get("time_ns", 0)),
        notes=tuple(notes),
    )


def _memory(setup: Mapping[str, str], texts: Mapping[str, str]) -> tuple[MemoryRange, ...]:
    ranges = system_ram(parse_iomem(setup["/proc/iomem"]))
    nodes = node_spans(texts["/proc/zoneinfo"])
    return tuple(MemoryRange(start, end, _node_of(start, nodes)) for start, end in ranges)


def node_spans(zoneinfo: str) -> list[tuple[int, int, int]]:
    """(start_pfn, end_pfn, node) of each populated zone of a /proc/zoneinfo text."""
    zones = [zone for zone in parse_zoneinfo(zoneinfo).zones if zone.populated]
    return [(zone.start_pfn, zone.start_pfn + zone.pages["spanned"], zone.node) for zone in zones]


def _node_of(paddr: int, spans: list[tuple[int, int, int]]) -> int:
    pfn = paddr >> PAGE_SHIFT
    return next((node for start, end, node in spans if start <= pfn < end), 0)


def _sysctls(
    setup: Mapping[str, str], texts: Mapping[str, str], release: KernelMatch
) -> dict[str, str]:
    found = {}
    for path, text in {**setup, **texts}.items():
        name = path.removeprefix("/proc/sys/").replace("/", ".", 1)
        if name in SYSCTLS or name == "vm.lowmem_reserve_ratio":
            found[name] = " ".join(text.split())
    # the reader knows the ranges: let it refuse what the twin can't hold
    table = {"ram": "1G", "kernel": "6.1" if release.kernel == 601 else "6.12", "sysctl": found}
    return config_from_table(table, "case").sysctls


def _cma_bytes(texts: Mapping[str, str]) -> int:
    zones = parse_zoneinfo(texts["/proc/zoneinfo"]).zones
    return sum(zone.pages.get("cma", 0) for zone in zones) << PAGE_SHIFT


def _bracketed(text: str) -> str:
    match = re.search(r"\[([\w+]+)\]", text)
    return match[1] if match and match[1] in THP_MODES else "never"


def _device(recipe: Mapping[str, Any], read_ahead: str | None) -> BlockConfig:
    """The recorded disk: QEMU's throttle where the case sets one, else what the guests measured."""
    bytes_per_s = int(recipe.get("bps") or 0)
    iops = int(recipe.get("iops") or 0)
    return BlockConfig(
        latency_ns=_NS_PER_S // iops if iops else GUEST_DISK_LATENCY_NS,
        read_bytes_per_s=bytes_per_s or GUEST_DISK_BYTES_PER_S,
        write_bytes_per_s=bytes_per_s or GUEST_DISK_BYTES_PER_S,
        rotational=bool(recipe.get("rotational", True)),  # a virtio disk calls itself rotational
        size_bytes=int(recipe.get("mib") or 0) * MIB,
        burst_ns=THROTTLE_BURST_NS if bytes_per_s or iops else 0,
        read_ahead_kib=int(read_ahead) if read_ahead and read_ahead.strip() else 128,
    )


def _swap(recipe: Mapping[str, Any], texts: Mapping[str, str]) -> tuple[SwapConfig, ...]:
    """The swap area: size and priority from the recorded /proc/swaps where it is on already."""
    kind = recipe.get("kind", "none")
    rows = parse_swaps(texts.get("/proc/swaps", "Filename\n"))
    if kind == "none":
        return ()
    device = None if kind == "zram" else _device({"rotational": False, **recipe}, None)
    algorithm = str(recipe.get("alg", "lzo-rle")) if kind == "zram" else ""
    if rows:
        # + 1 page: the text leaves out the header
        size = {row.filename: (row.size_kib << 10) + (1 << PAGE_SHIFT) for row in rows}
        return tuple(
            SwapConfig(kind, size[row.filename], row.priority, row.filename, device, algorithm)
            for row in rows
        )
    return (SwapConfig(kind, int(recipe["mib"]) * MIB, -2, "/dev/vdb", device, algorithm),)


def _files(recipe: Mapping[str, Any]) -> tuple[FileConfig, ...]:
    files: Mapping[str, str] = recipe.get("files") or {}
    return tuple(
        FileConfig(f"{_FILES_ROOT}/{name}", parse_size(size)) for name, size in files.items()
    )
