"""Owns the twin's files below /sys/devices/system, /sys/block and /sys/kernel.

Imports the twin's texts and records. Knows of a machine only what `SystemView` names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from memtwin.hardware.pte import HPAGE_PAGES
from memtwin.observe.formulas import MemTotals, meminfo_figures
from memtwin.observe.scan import render_flat
from memtwin.observe.system import DISKSTATS_PATH, SECTOR_BYTES, parse_diskstats
from memtwin.observe.twin.source import TwinTexts
from memtwin.observe.twin.system import SystemView
from memtwin.page.tunables import THP_ALWAYS, THP_MADVISE, THP_NEVER
from memtwin.swap.zram import COMPRESSED_BYTES
from memtwin.units import PAGE_SIZE

# line of numastat -> counter
_NUMASTAT = {
    "numa_hit": "numa_hit", "numa_miss": "numa_miss", "numa_foreign": "numa_foreign",
    "interleave_hit": "numa_interleave", "local_node": "numa_local", "other_node": "numa_other",
}  # fmt: skip
CPU_DIR, NODE_DIR = "/sys/devices/system/cpu", "/sys/devices/system/node"
BLOCK_DIR, THP_DIR = "/sys/block", "/sys/kernel/mm/transparent_hugepage"
LRU_GEN_PATH = "/sys/kernel/mm/lru_gen/enabled"
_THP_MODES = {THP_ALWAYS: "always", THP_MADVISE: "madvise", THP_NEVER: "never"}
_CPU_FILES = ("online", "possible", "present")
_NODE_FILES = ("online", "possible", "has_cpu", "has_memory")
# drivers/base/node.c node_read_meminfo(), v6.12; FilePages and MemUsed are of a node alone
_NODE_MEMINFO = (
    "MemTotal", "MemFree", "MemUsed", "SwapCached", "Active", "Inactive", "Active(anon)",
    "Inactive(anon)", "Active(file)", "Inactive(file)", "Unevictable", "Mlocked", "Dirty",
    "Writeback", "FilePages", "Mapped", "AnonPages", "Shmem", "KernelStack", "PageTables",
    "SecPageTables", "NFS_Unstable", "Bounce", "WritebackTmp", "KReclaimable", "Slab",
    "SReclaimable", "SUnreclaim", "AnonHugePages", "ShmemHugePages", "ShmemPmdMapped",
    "FileHugePages", "FilePmdMapped", "HugePages_Total", "HugePages_Free", "HugePages_Surp",
)  # fmt: skip
_PAGE_KIB = PAGE_SIZE >> 10
_WHOLE_DISK = re.compile(r"[a-z]*d[a-z]+|sr\d+|(zram|loop|ram|nvme\d+n)\d+")
Content = str | Callable[[], str]


class SysTexts:
    """Answers for these files: `files` says which there are at the moment, and what is in them."""

    def __init__(
        self,
        texts: TwinTexts,
        view: Callable[[], SystemView],
        debugfs: Callable[[], dict[str, Content]] = dict,
    ) -> None:
        self.texts = texts
        self.view = view
        self.debugfs = debugfs

    def files(self) -> dict[str, Content]:
        """path -> text, or what makes it."""
        return {**self._cpus(), **self._nodes(), **self._disks(), **self._memory(),
                **self.debugfs()}  # fmt: skip

    def _cpus(self) -> dict[str, Content]:
        nr_cpus = self.view().nr_cpus
        found: dict[str, Content] = {f"{CPU_DIR}/{name}": _range(nr_cpus) for name in _CPU_FILES}
        for cpu in range(nr_cpus):  # MODEL: every CPU is a core of its own
            for name in ("core_cpus_list", "thread_siblings_list"):
                found[f"{CPU_DIR}/cpu{cpu}/topology/{name}"] = f"{cpu}\n"
        return found

    def _nodes(self) -> dict[str, Content]:
        nr_nodes, nr_cpus = self.texts.rooms.page_alloc.zones.nr_nodes, self.view().nr_cpus
        found: dict[str, Content] = {f"{NODE_DIR}/{name}": _range(nr_nodes) for name in _NODE_FILES}
        for node in range(nr_nodes):
            at = f"{NODE_DIR}/node{node}"
            found[f"{at}/meminfo"] = partial(self.node_meminfo, node)
            found[f"{at}/vmstat"] = partial(self.node_vmstat, node)
            found[f"{at}/numastat"] = partial(self.node_numastat, node)
            # MODEL: distances are not described: include/linux/topology.h REMOTE_DISTANCE, v6.12
            words = ("10" if other == node else "20" for other in range(nr_nodes))
            found[f"{at}/distance"] = " ".join(words) + "\n"
            # MODEL: which CPU is near which node is not described: node 0 has all of them
            found[f"{at}/cpulist"] = "\n" if node else _range(nr_cpus)
            found[f"{at}/cpumap"] = _mask(0 if node else nr_cpus, nr_cpus)
        return found

    def _disks(self) -> dict[str, Content]:
        found: dict[str, Content] = {}
        for row in parse_diskstats(self.texts.start.get(DISKSTATS_PATH, "")):
            # a recorded disk that the twin does not use is there all the same; its partitions lie
            # below it, not in this directory
            if _WHOLE_DISK.fullmatch(row.name):
                found[f"{BLOCK_DIR}/{row.name}/dev"] = f"{row.major}:{row.minor}\n"
        for disk in self.view().disks:
            at = f"{BLOCK_DIR}/{disk.name}"
            found[f"{at}/size"] = f"{disk.size_bytes // SECTOR_BYTES}\n"
            found[f"{at}/dev"] = f"{disk.major}:{disk.minor}\n"
            found[f"{at}/queue/rotational"] = f"{int(disk.rotational)}\n"
            if disk.algorithm:
                found[f"{at}/disksize"] = f"{disk.size_bytes}\n"
                found[f"{at}/comp_algorithm"] = _chosen(disk.algorithm, sorted(COMPRESSED_BYTES))
                found[f"{at}/mm_stat"] = partial(self._mm_stat, f"{at}/mm_stat")
        return found

    def _mm_stat(self, path: str) -> str:
        text = self.texts.read(path)
        assert text is not None, f"observe.twin.sysfs: {path} belongs to no zram device"
        return text

    def _memory(self) -> dict[str, Content]:
        tunables = self.texts.rooms.page_alloc.tunables
        chosen = _THP_MODES[tunables.thp_enabled]
        return {
            f"{THP_DIR}/enabled": _chosen(chosen, list(_THP_MODES.values())),
            f"{THP_DIR}/hpage_pmd_size": f"{HPAGE_PAGES * PAGE_SIZE}\n",
            LRU_GEN_PATH: self.texts.lru_gen_enabled,
        }

    # nodes --------------------------------------------------------------------------------------

    def _node_counters(self, node: int) -> dict[str, int]:
        """Counters of a node: its zones' summed, and its own (as /proc/zoneinfo has them)."""
        found: dict[str, int] = {"managed": 0}
        for zone in self.texts.zoneinfo_shown().zones:
            if zone.node == node and zone.populated:
                found["managed"] += zone.managed_pages
                for name, figure in zone.zone_stats.items():
                    found[name] = found.get(name, 0) + figure
                found.update(zone.node_stats or {})
        return found

    def node_meminfo(self, node: int) -> str:
        """/sys/devices/system/node/nodeN/meminfo."""
        vm = self._node_counters(node)
        total_pages = vm["managed"]
        figures = meminfo_figures(vm, MemTotals(total_pages=total_pages, available_pages=0))
        figures["MemUsed"] = figures["MemTotal"] - figures["MemFree"]
        figures["FilePages"] = vm.get("nr_file_pages", 0) * _PAGE_KIB
        lines = []
        for name in _NODE_MEMINFO:
            unit = "" if name.startswith("HugePages_") else " kB"
            lines.append(f"Node {node} {name + ':':<15}{figures[name]:>8}{unit}\n")
        return "".join(lines)

    def node_numastat(self, node: int) -> str:
        """/sys/devices/system/node/nodeN/numastat (drivers/base/node.c node_read_numastat(), v6.12)
        """
        vm = self._node_counters(node)
        return "".join(f"{name} {vm.get(item, 0)}\n" for name, item in _NUMASTAT.items())

    def node_vmstat(self, node: int) -> str:
        """/sys/devices/system/node/nodeN/vmstat (drivers/base/node.c node_read_vmstat(), v6.12)."""
        vm = self._node_counters(node)
        del vm["managed"]
        return render_flat(vm)


def _range(count: int) -> str:
    return "0\n" if count == 1 else f"0-{count - 1}\n"


def _mask(count: int, nr_cpus: int) -> str:
    """The first `count` CPUs as a mask of `nr_cpus` bits: lib/vsprintf.c bitmap_string(), v6.12.

    >>> _mask(40, 40), _mask(0, 8)
    ('ff,ffffffff\\n', '00\\n')
    """
    digits = f"{(1 << count) - 1:0{-(-nr_cpus // 4)}x}"
    first = len(digits) % 8
    groups = [digits[at : at + 8] for at in range(first, len(digits), 8)]
    return ",".join(([digits[:first]] if first else []) + groups) + "\n"


def _chosen(value: str, among: list[str]) -> str:
    return " ".join(f"[{one}]" if one == value else one for one in among) + "\n"
