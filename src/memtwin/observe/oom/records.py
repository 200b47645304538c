"""Owns the records of an out-of-memory report: what the kernel printed, typed, with units.

Imports msgspec. Knows nothing of texts. What the text does not have is None or empty, and
`OomReport.missing` says why.
"""

from __future__ import annotations

import msgspec

PAGE_BYTES = 4096  # unless the text's free lists begin with larger blocks


class Invocation(msgspec.Struct, kw_only=True):
    """Who asked for memory that was not to be had, and for what."""

    comm: str
    gfp_mask: int | None = None
    gfp_text: str = ""  # the flags by name, where the kernel printed them (since 4.6)
    order: int | None = None  # 2**order pages were asked for; -1: an administrator asked to kill
    oom_score_adj: int | None = None
    oom_adj: int | None = None  # the older scale, -17 .. 15
    nodemask: str | None = None
    pid: int | None = None
    cpu: int | None = None
    release: str = ""  # of the kernel, as uname -r has it
    hardware: str = ""
    cpuset: str | None = None
    mems_allowed: str | None = None


class ZoneText(msgspec.Struct, kw_only=True):
    """One zone: its line of figures, its reserve against higher requests, its free blocks."""

    name: str
    node: int | None = None
    kib: dict[str, int] = {}  # printed name -> KiB: free, min, low, high, present, managed ...
    all_unreclaimable: bool | None = None
    lowmem_reserve_pages: tuple[int, ...] | None = None
    blocks: tuple[int, ...] = ()  # free blocks by order
    block_types: tuple[str, ...] = ()  # whose page blocks they lie in: U, M, E, H, C, I by order


class NodeText(msgspec.Struct, kw_only=True):
    """One node's line (since 4.8)."""

    node: int
    kib: dict[str, int] = {}
    all_unreclaimable: bool | None = None


class HugePool(msgspec.Struct, kw_only=True):
    """The huge pages of one size on one node."""

    size_kib: int
    total_pages: int
    free_pages: int
    surplus_pages: int = 0
    node: int | None = None


class MemInfoText(msgspec.Struct, kw_only=True):
    """The Mem-Info part."""

    pages: dict[str, int] = {}  # printed name -> pages: active_anon, slab_unreclaimable, free ...
    nodes: list[NodeText] = []
    zones: list[ZoneText] = []
    huge_pools: list[HugePool] = []
    pagecache_pages: int | None = None
    swapcache_pages: int | None = None
    swap_free_kib: int | None = None
    swap_total_kib: int | None = None
    ram_pages: int | None = None
    highmem_pages: int | None = None
    reserved_pages: int | None = None
    cma_pages: int | None = None
    hwpoisoned_pages: int | None = None


class GroupCounter(msgspec.Struct, kw_only=True):
    """One counter of a memory cgroup: what it holds and what it may hold."""

    usage_kib: int
    limit_kib: int | None = None  # None: no limit
    failcnt: int = 0


class GroupStat(msgspec.Struct, kw_only=True):
    """The statistics of one group, in bytes (events of memory.stat are counts)."""

    path: str
    stat: dict[str, int] = {}


class MemcgText(msgspec.Struct, kw_only=True):
    """The part about a memory cgroup that is over its limit."""

    limit_path: str | None = None  # whose limit it is
    task_path: str | None = None  # where the task is
    memory: GroupCounter | None = None
    memsw: GroupCounter | None = None  # v1: memory and swap together
    swap: GroupCounter | None = None  # v2
    kmem: GroupCounter | None = None  # v1
    groups: list[GroupStat] = []


class TaskRow(msgspec.Struct, kw_only=True):
    """One row of the table of tasks; sizes in pages."""

    pid: int
    name: str
    uid: int | None = None
    tgid: int | None = None
    total_vm_pages: int | None = None
    rss_pages: int | None = None
    rss_anon_pages: int | None = None
    rss_file_pages: int | None = None
    rss_shmem_pages: int | None = None
    nr_ptes: int | None = None
    nr_pmds: int | None = None
    pgtables_bytes: int | None = None
    swapents_pages: int | None = None
    oom_score_adj: int | None = None
    oom_adj: int | None = None


class SlabRow(msgspec.Struct, kw_only=True):
    """One cache of the table of unreclaimable slabs."""

    name: str
    used_kib: int
    total_kib: int


class AllocationSite(msgspec.Struct, kw_only=True):
    """One line of the kernel's own allocation profile (since 6.10)."""

    size_bytes: int
    calls: int
    where: str


class Verdict(msgspec.Struct, kw_only=True):
    """The kernel's summary (since 5.0): under which constraint whom it takes."""

    constraint: str  # CONSTRAINT_NONE, _CPUSET, _MEMORY_POLICY or _MEMCG
    nodemask: str = ""
    cpuset: str = ""
    mems_allowed: str = ""
    oom_memcg: str | None = None  # None: the whole machine
    task_memcg: str | None = None
    task: str = ""
    pid: int | None = None
    uid: int | None = None


class Choice(msgspec.Struct, kw_only=True):
    """Whom older kernels named before they killed it or one of its children."""

    pid: int
    name: str
    score: int  # thousandths of all memory
    scope: str = ""
    line: int = 0


class Kill(msgspec.Struct, kw_only=True):
    """One process killed."""

    pid: int
    name: str
    scope: str = ""  # as printed: "Out of memory", "Memory cgroup out of memory" or ""
    total_vm_kib: int | None = None
    anon_rss_kib: int | None = None
    file_rss_kib: int | None = None
    shmem_rss_kib: int | None = None
    pgtables_kib: int | None = None
    uid: int | None = None
    oom_score_adj: int | None = None
    line: int = 0


class Reaped(msgspec.Struct, kw_only=True):
    """What the reaper left of a victim, or that it could not."""

    pid: int
    name: str
    succeeded: bool
    anon_rss_kib: int | None = None
    file_rss_kib: int | None = None
    shmem_rss_kib: int | None = None


class OtherKill(msgspec.Struct, kw_only=True):
    """Something that reads like a kill for memory, and is not the kernel's OOM killer."""

    killer: str  # "systemd-oomd", "lmkd", "lowmemorykiller (kernel driver)", "earlyoom"
    text: str
    line: int
    stamp: str = ""
    name: str = ""
    pid: int | None = None
    why: str = ""


class OomReport(msgspec.Struct, kw_only=True):
    """One report of the kernel's OOM killer. Lines are numbered from 1."""

    first_line: int
    last_line: int = 0
    stamp: str = ""
    time_s: float | None = None  # since boot
    release: str = ""  # of the kernel; from the report, or from the boot messages before it
    invocation: Invocation | None = None
    trace: list[str] = []
    doubtful_trace: list[str] = []  # what may have been left on the stack by earlier calls
    mem_info: MemInfoText | None = None
    memcg: MemcgText | None = None
    columns: tuple[str, ...] = ()  # of the table of tasks, as its head names them
    tasks: list[TaskRow] = []
    slabs: list[SlabRow] = []
    sites: list[AllocationSite] = []
    verdict: Verdict | None = None
    choice: Choice | None = None
    kills: list[Kill] = []
    reaped: list[Reaped] = []
    whole_group: str | None = None  # memory.oom.group: the group that goes as one
    allocating_task: bool = False  # vm.oom_kill_allocating_task chose
    no_killable: bool = False
    protected_kib: tuple[int, int] | None = None  # by memory.min, by memory.low (since 7.0)
    panic: str = ""
    by_sysrq: bool = False
    unread_lines: int = 0  # inside the report, of no known form
    missing: dict[str, str] = {}  # part -> why it is not there

    @property
    def page_bytes(self) -> int:
        """The size of a page, from the smallest block of the free lists."""
        zones = self.mem_info.zones if self.mem_info is not None else []
        sizes = [zone.kib["page"] for zone in zones if zone.kib.get("page")]
        return sizes[0] << 10 if sizes else PAGE_BYTES


class OomLog(msgspec.Struct, kw_only=True):
    """Everything about memory running out in one text."""

    reports: list[OomReport] = []
    others: list[OtherKill] = []
    lines: int = 0
    lost: list[str] = []  # the text's own words about lines that are not in it
    failures: int = 0  # reports of an allocation that merely failed, with their Mem-Info
