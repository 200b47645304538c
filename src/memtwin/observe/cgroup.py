"""Owns the memory.* texts of a cgroup, v1 and v2: one record, readers and writers.

Imports observe/scan and observe/system. Knows nothing of charging. Sizes are bytes; None means
'max' (v1: the largest page-aligned number a page_counter holds).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from memtwin.observe.scan import no_match, parse_figure, parse_flat, whole

CGROUP_DIR = "/sys/fs/cgroup"  # where distributions mount it; v1: a directory a controller below
# include/linux/page_counter.h PAGE_COUNTER_MAX, v6.12: LONG_MAX / PAGE_SIZE pages on 64 bits
V1_UNLIMITED_BYTES = ((1 << 63) - 1) // 4096 * 4096
V1_UNLIMITED_BYTES_32 = ((1 << 31) - 1) * 4096  # on 32 bits: LONG_MAX pages


class CgroupMemory(msgspec.Struct, kw_only=True):
    """What one cgroup's memory.* files said; None where there is no such file or no limit."""

    version: int  # 1 or 2
    current_bytes: int | None = None
    peak_bytes: int | None = None
    max_bytes: int | None = None
    high_bytes: int | None = None
    low_bytes: int | None = None
    min_bytes: int | None = None
    swap_current_bytes: int | None = None
    swap_max_bytes: int | None = None
    memsw_current_bytes: int | None = None  # v1 only: memory and swap together
    memsw_max_bytes: int | None = None
    kmem_current_bytes: int | None = None
    swappiness: int | None = None
    failcnt: int | None = None
    swap_peak_bytes: int | None = None
    swap_high_bytes: int | None = None
    zswap_current_bytes: int | None = None
    zswap_max_bytes: int | None = None
    zswap_writeback: int | None = None
    oom_group: int | None = None
    memsw_peak_bytes: int | None = None
    memsw_failcnt: int | None = None
    kmem_peak_bytes: int | None = None
    kmem_max_bytes: int | None = None
    kmem_failcnt: int | None = None
    kmem_tcp_current_bytes: int | None = None
    kmem_tcp_peak_bytes: int | None = None
    kmem_tcp_max_bytes: int | None = None
    kmem_tcp_failcnt: int | None = None
    use_hierarchy: int | None = None
    move_charge_at_immigrate: int | None = None
    stat: dict[str, int] = {}
    events: dict[str, int] = {}
    swap_events: dict[str, int] = {}


# file -> field
_V2_FILES = {
    "memory.current": "current_bytes",
    "memory.peak": "peak_bytes",
    "memory.max": "max_bytes",
    "memory.high": "high_bytes",
    "memory.low": "low_bytes",
    "memory.min": "min_bytes",
    "memory.swap.current": "swap_current_bytes",
    "memory.swap.max": "swap_max_bytes",
    "memory.swap.peak": "swap_peak_bytes",
    "memory.swap.high": "swap_high_bytes",
    "memory.zswap.current": "zswap_current_bytes",
    "memory.zswap.max": "zswap_max_bytes",
    "memory.zswap.writeback": "zswap_writeback",
    "memory.oom.group": "oom_group",
}
_V1_FILES = {
    "memory.usage_in_bytes": "current_bytes",
    "memory.max_usage_in_bytes": "peak_bytes",
    "memory.limit_in_bytes": "max_bytes",
    "memory.soft_limit_in_bytes": "high_bytes",
    "memory.memsw.usage_in_bytes": "memsw_current_bytes",
    "memory.memsw.limit_in_bytes": "memsw_max_bytes",
    "memory.kmem.usage_in_bytes": "kmem_current_bytes",
    "memory.swappiness": "swappiness",
    "memory.failcnt": "failcnt",
    "memory.memsw.max_usage_in_bytes": "memsw_peak_bytes",
    "memory.memsw.failcnt": "memsw_failcnt",
    "memory.kmem.max_usage_in_bytes": "kmem_peak_bytes",
    "memory.kmem.limit_in_bytes": "kmem_max_bytes",
    "memory.kmem.failcnt": "kmem_failcnt",
    "memory.kmem.tcp.usage_in_bytes": "kmem_tcp_current_bytes",
    "memory.kmem.tcp.max_usage_in_bytes": "kmem_tcp_peak_bytes",
    "memory.kmem.tcp.limit_in_bytes": "kmem_tcp_max_bytes",
    "memory.kmem.tcp.failcnt": "kmem_tcp_failcnt",
    "memory.use_hierarchy": "use_hierarchy",
    "memory.move_charge_at_immigrate": "move_charge_at_immigrate",
}
FIELD_FILES = {1: _V1_FILES, 2: _V2_FILES}  # version -> file -> field


def parse_cgroup(files: Mapping[str, str]) -> CgroupMemory:
    """The record of a cgroup's files (name such as 'memory.stat' -> text)."""
    version = 1 if "memory.usage_in_bytes" in files else 2
    record = CgroupMemory(version=version)
    for name, field in (_V1_FILES if version == 1 else _V2_FILES).items():
        if name in files:
            setattr(record, field, parse_limit(files[name], name))
    if "memory.stat" in files:
        record.stat = parse_flat(files["memory.stat"], "memory.stat")
    events = files.get("memory.events", files.get("memory.oom_control", ""))
    record.events = parse_flat(events, "memory.events")
    record.swap_events = parse_flat(files.get("memory.swap.events", ""), "memory.swap.events")
    return record


def parse_limit(text: str, name: str) -> int | None:
    """The bytes of a limit or usage text; None for 'max' and for v1's largest number."""
    if text.strip() == "max":
        return None
    figure = parse_figure(text, name)
    if figure == V1_UNLIMITED_BYTES_32 and name.endswith("limit_in_bytes"):
        return None
    return None if figure >= V1_UNLIMITED_BYTES else figure


def render_limit_v2(size_bytes: int | None) -> str:
    """The text of a v2 limit (mm/memcontrol.c seq_puts_memcg_tunable(), v6.12)."""
    return "max\n" if size_bytes is None else f"{size_bytes}\n"


def render_limit_v1(size_bytes: int | None) -> str:
    """The text of a v1 limit (mm/memcontrol.c mem_cgroup_read_u64(), v6.1)."""
    return f"{V1_UNLIMITED_BYTES if size_bytes is None else size_bytes}\n"


def parse_numa_stat(text: str) -> dict[str, dict[str, int]]:
    """name -> {'N0': figure, ...} of memory.numa_stat; v1's totals have the key 'total'."""
    found: dict[str, dict[str, int]] = {}
    for line in filter(str.strip, text.splitlines()):
        first, *words = line.split()
        name, equals, total = first.partition("=")
        row = {"total": whole(total, "memory.numa_stat", line)} if equals else {}
        for word in words:
            node, sign, figure = word.partition("=")
            if not sign:
                raise no_match("memory.numa_stat", line, "'name N0=FIGURE ...'")
            row[node] = whole(figure, "memory.numa_stat", line)
        found[name] = row
    return found


def render_numa_stat(rows: Mapping[str, Mapping[str, int]]) -> str:
    """The text of `rows` (mm/memcontrol.c memory_numa_stat_show(), v6.12; v1's with totals)."""
    out = []
    for name, row in rows.items():
        head = f"{name}={row['total']}" if "total" in row else name
        figures = " ".join(f"{node}={figure}" for node, figure in row.items() if node != "total")
        out.append(f"{head} {figures}\n")
    return "".join(out)
