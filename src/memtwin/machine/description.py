"""Owns what a machine is on paper: frozen, typed, plain data, and its digest.

Imports errors, units and hardware/cost. Knows nothing of TOML, of texts, or of how a machine boots.
Every size is bytes and every time ns; the reader in `config_reader.py` has checked the ranges.
"""

from __future__ import annotations

import hashlib

import msgspec

from memtwin.units import PAGE_SIZE

CONTENT_CLASSES = (
    "zero",
    "same",
    "word",
    "quarter",
    "half",
    "random",
)  # most to least compressible
THP_MODES = ("never", "madvise", "always")
THP_DEFRAG_MODES = ("never", "madvise", "defer", "defer+madvise", "always")
SWAP_KINDS = ("disk", "zram")
ZRAM_ALGORITHMS = ("lzo-rle", "lz4", "zstd")  # those whose sizes swap/zram.py knows
KERNELS = {"6.1": 601, "6.12": 612}
ARCHITECTURES = ("x86_64", "i686")


class MemoryRange(msgspec.Struct, frozen=True):
    """One range of RAM, as firmware reports it."""

    start_paddr: int
    end_paddr: int  # exclusive
    node: int = 0

    @property
    def size_pages(self) -> int:
        """Whole pages inside the range."""
        first = -(-self.start_paddr // PAGE_SIZE)
        return max(self.end_paddr // PAGE_SIZE - first, 0)


class BlockConfig(msgspec.Struct, frozen=True):
    """The disk that files (and disk swap, unless it says otherwise) live on."""

    latency_ns: int
    read_bytes_per_s: int
    write_bytes_per_s: int
    rotational: bool = False
    size_bytes: int = 0  # of the file system on it; 0: as large as its files need
    burst_ns: int = 0  # work at full speed that a throttled virtual disk lets through at once
    read_ahead_kib: int = 128  # block/blk-core.c VM_READAHEAD_PAGES, include/linux/mm.h, v6.12
    # of a swap device; block/blk-mq-sched.c blk_mq_init_sched(): 2 * BLKDEV_DEFAULT_RQ, v6.1
    nr_requests: int = 256


class SwapConfig(msgspec.Struct, frozen=True):
    """One swap area. `device` has the speed of a disk and is None for zram."""

    kind: str
    size_bytes: int
    priority: int  # below 0: the kernel's own numbering
    filename: str
    device: BlockConfig | None = None
    algorithm: str = ""  # zram only


class FileConfig(msgspec.Struct, frozen=True):
    """A file that exists before the workload starts."""

    path: str
    size_bytes: int


STAT_READ_US = 250


class LimitConfig(msgspec.Struct, frozen=True):
    """The memory cgroup of the workload (a container)."""

    max_bytes: int
    swap_max_bytes: int | None = None  # None: no limit of its own
    high_bytes: int | None = None
    cgroup_version: int = 2
    # MODEL: how often somebody reads memory.stat, which folds what reclaim compares: as often as
    # `size --verify` does, a choice; 0: nobody, the kernel folds when it comes to it
    # (reclaim/stat_fold.py)
    stat_read_us: int = STAT_READ_US


class MachineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The whole description. Same config, seed and version of memtwin: same run."""

    name: str
    about: str = ""
    kernel: int = 612  # 601 for 6.1, 612 for 6.12
    layout: str = "6.12"  # shape of the /proc texts: a name of observe/layouts
    kernel_release: str = ""  # as uname -r had it, where known
    arch: str = "x86_64"
    nr_cpus: int = 1
    memory: tuple[MemoryRange, ...]
    reserved_bytes: int | None = (
        None  # RAM that never reaches the allocator; None: estimated at boot
    )
    cma_bytes: int = 0
    sysctls: dict[str, str] = {}  # "vm.swappiness" -> "60": what differs from the kernel's defaults
    thp: str = "madvise"
    thp_defrag: str = "madvise"
    lru_gen: bool = True
    swap: tuple[SwapConfig, ...] = ()
    block: BlockConfig
    files: tuple[FileConfig, ...] = ()
    directories: tuple[str, ...] = ()  # that exist before the workload starts, beside the files'
    costs: dict[str, int] = {}  # only what differs from hardware/cost.py COSTS
    cost_sources: dict[str, str] = {}
    limit: LimitConfig | None = None
    content: str = "half"  # what anonymous pages hold unless the trace says
    seed: int = 1
    start_texts: dict[
        str, str
    ] = {}  # path -> text of a real start that seeds the twin; empty: none
    setup_texts: dict[str, str] = {}
    start_time_ns: int = 0
    notes: tuple[str, ...] = ()  # what the description had to approximate

    @property
    def ram_bytes(self) -> int:
        """All RAM, in whole pages."""
        return sum(part.size_pages for part in self.memory) * PAGE_SIZE

    @property
    def nr_nodes(self) -> int:
        """NUMA nodes."""
        return 1 + max(part.node for part in self.memory)

    def digest(self) -> str:
        """32 hexadecimal digits that change with any field."""
        return hashlib.blake2b(
            msgspec.json.encode(self, order="sorted"), digest_size=16
        ).hexdigest()
