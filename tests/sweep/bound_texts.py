"""Made-up reports of kills for which more RAM in general would not have helped."""

from __future__ import annotations

from typing import NamedTuple


class ZoneFigures(NamedTuple):
    """One zone as a report prints it; `blocks` by order, with the types they lie in."""

    node: int
    name: str
    min_kib: int
    managed_kib: int
    reserve: tuple[int, ...]
    blocks: tuple[int, ...]
    types: str = "UME"
    free_cma_kib: int = 0

    @property
    def free_kib(self) -> int:
        return sum(count * 4 << order for order, count in enumerate(self.blocks))


PLENTY = (50, 40, 30, 20, 10, 10, 10, 10, 10, 10, 500)
DMA = ZoneFigures(
    0, "DMA", 60, 15_360, (0, 2900, 7900, 7900, 7900), (1, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1)
)


def pieces() -> str:
    """Much free, nothing of it in one piece of 32K."""
    small = ZoneFigures(0, "DMA32", 8_000, 2_000_000, (0, 0, 0, 0, 0), (9000, 1200, 30))
    return text("GFP_KERNEL|__GFP_COMP", "0x40cc0", 3, [DMA, small])


def low_zone() -> str:
    """A request of a 32-bit device: DMA32 is empty, Normal has 2 GiB."""
    low = ZoneFigures(0, "DMA32", 8_000, 2_900_000, (0, 0, 1200, 1200, 1200), (500, 300, 100, 10))
    normal = ZoneFigures(0, "Normal", 24_000, 13_000_000, (0, 0, 0, 0, 0), PLENTY)
    return text("GFP_KERNEL|GFP_DMA32", "0xcc4", 0, [DMA, low, normal])


def one_node(beside: tuple[int, ...] = PLENTY) -> str:
    """A program that its cpuset holds to node 0, while node 1 has the blocks `beside`."""
    first = ZoneFigures(0, "Normal", 24_000, 13_000_000, (0, 0, 0, 0, 0), (2000, 900, 400, 20))
    second = ZoneFigures(1, "Normal", 24_000, 16_000_000, (0, 0, 0, 0, 0), beside)
    return text("GFP_HIGHUSER_MOVABLE|__GFP_COMP", "0x140cca", 0, [first, second], cpuset="0")


def text(name: str, mask: str, order: int, zones: list[ZoneFigures], cpuset: str = "") -> str:
    """The report of a 6.1 kernel."""
    allowed = cpuset or "0-1"
    lines = [
        f"driver invoked oom-killer: gfp_mask={mask}({name}), order={order}, oom_score_adj=0",
        "CPU: 0 PID: 700 Comm: driver Not tainted 6.1.0-20-amd64 #1",
        "Mem-Info:",
        "active_anon:900000 inactive_anon:10 isolated_anon:0",
        " active_file:10 inactive_file:10 isolated_file:0",
        " free:10000 free_pcp:0 free_cma:0",
    ]
    for zone in zones:
        lines += [
            f"Node {zone.node} {zone.name} free:{zone.free_kib}kB boost:0kB min:{zone.min_kib}kB"
            f" low:{zone.min_kib * 5 // 4}kB high:{zone.min_kib * 3 // 2}kB"
            " reserved_highatomic:0KB active_anon:400000kB inactive_anon:0kB active_file:0kB"
            f" inactive_file:0kB present:{zone.managed_kib}kB managed:{zone.managed_kib}kB"
            f" free_cma:{zone.free_cma_kib}kB",
            f"lowmem_reserve[]: {' '.join(map(str, zone.reserve))}",
        ]
    for zone in zones:
        blocks = [*zone.blocks, *[0] * (11 - len(zone.blocks))]
        sizes = " ".join(
            f"{count}*{4 << order}kB{f' ({zone.types})' if count else ''}"
            for order, count in enumerate(blocks)
        )
        lines.append(f"Node {zone.node} {zone.name}: {sizes} = {zone.free_kib}kB")
    lines += [
        "Free swap  = 0kB",
        "Total swap = 0kB",
        "4000000 pages RAM",
        "0 pages HighMem/MovableOnly",
        "1000 pages reserved",
        "Tasks state (memory values in pages):",
        "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
        "[    700]     0   700   900000   800000        8192        0             0 driver",
        "[    701]     0   701   100000    50000        8192        0             0 other",
    ]
    constraint = "CONSTRAINT_CPUSET" if cpuset else "CONSTRAINT_NONE"
    lines += [
        f"oom-kill:constraint={constraint},nodemask=(null),cpuset=box,mems_allowed={allowed},"
        "global_oom,task_memcg=/,task=driver,pid=700,uid=0",
        "Out of memory: Killed process 700 (driver) total-vm:3600000kB, anon-rss:3200000kB,"
        " file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:8kB oom_score_adj:0",
    ]  # fmt: skip
    return "\n".join(f"[  100.{n:06d}] {line}" for n, line in enumerate(lines)) + "\n"
