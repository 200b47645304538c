"""Owns /proc/PID/{smaps_rollup,status,statm,stat,io,oom_score,oom_score_adj,cgroup}: records and
texts.

Imports observe/scan. Knows nothing of page tables. Sizes are KiB in smaps_rollup and status,
pages in statm.
"""

from __future__ import annotations

import re

import msgspec

from memtwin.observe.scan import keyed_lines, no_match, parse_flat, whole

_ROLLUP = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ [0-9a-f]+ \S+ \d+ +\[rollup\]")
# name on the line -> field (fs/proc/task_mmu.c __show_smap(), v6.12)
ROLLUP_FIELDS = {
    "Rss": "rss_kib",
    "Pss": "pss_kib",
    "Pss_Dirty": "pss_dirty_kib",
    "Pss_Anon": "pss_anon_kib",
    "Pss_File": "pss_file_kib",
    "Pss_Shmem": "pss_shmem_kib",
    "Shared_Clean": "shared_clean_kib",
    "Shared_Dirty": "shared_dirty_kib",
    "Private_Clean": "private_clean_kib",
    "Private_Dirty": "private_dirty_kib",
    "Referenced": "referenced_kib",
    "Anonymous": "anonymous_kib",
    "KSM": "ksm_kib",
    "LazyFree": "lazyfree_kib",
    "AnonHugePages": "anon_huge_pages_kib",
    "ShmemPmdMapped": "shmem_pmd_mapped_kib",
    "FilePmdMapped": "file_pmd_mapped_kib",
    "Shared_Hugetlb": "shared_hugetlb_kib",
    "Private_Hugetlb": "private_hugetlb_kib",
    "Swap": "swap_kib",
    "SwapPss": "swap_pss_kib",
    "Locked": "locked_kib",
}
STATUS_FIELDS = {
    "VmPeak": "vm_peak_kib",
    "VmSize": "vm_size_kib",
    "VmLck": "vm_lck_kib",
    "VmPin": "vm_pin_kib",
    "VmHWM": "vm_hwm_kib",
    "VmRSS": "vm_rss_kib",
    "RssAnon": "rss_anon_kib",
    "RssFile": "rss_file_kib",
    "RssShmem": "rss_shmem_kib",
    "VmData": "vm_data_kib",
    "VmStk": "vm_stk_kib",
    "VmExe": "vm_exe_kib",
    "VmLib": "vm_lib_kib",
    "VmPTE": "vm_pte_kib",
    "VmSwap": "vm_swap_kib",
    "HugetlbPages": "hugetlb_pages_kib",
}


class SmapsRollup(msgspec.Struct, kw_only=True):
    """One reading of /proc/PID/smaps_rollup."""

    start_vaddr: int = 0
    end_vaddr: int = 0
    rss_kib: int | None = None
    pss_kib: int | None = None
    pss_dirty_kib: int | None = None
    pss_anon_kib: int | None = None
    pss_file_kib: int | None = None
    pss_shmem_kib: int | None = None
    shared_clean_kib: int | None = None
    shared_dirty_kib: int | None = None
    private_clean_kib: int | None = None
    private_dirty_kib: int | None = None
    referenced_kib: int | None = None
    anonymous_kib: int | None = None
    ksm_kib: int | None = None
    lazyfree_kib: int | None = None
    anon_huge_pages_kib: int | None = None
    shmem_pmd_mapped_kib: int | None = None
    file_pmd_mapped_kib: int | None = None
    shared_hugetlb_kib: int | None = None
    private_hugetlb_kib: int | None = None
    swap_kib: int | None = None
    swap_pss_kib: int | None = None
    locked_kib: int | None = None
    name_column: int = 73  # where "[rollup]" stands: 73 on 64 bits, 49 on 32
    other: dict[str, int] = {}
    order: tuple[str, ...] = ()


class Status(msgspec.Struct, kw_only=True):
    """One reading of /proc/PID/status: memory lines typed, all lines as they stand in `lines`."""

    name: str = ""
    state: str = ""
    pid: int = 0
    ppid: int = 0
    threads: int = 0
    vm_peak_kib: int | None = None  # None: a kernel thread or a zombie has no memory lines
    vm_size_kib: int | None = None
    vm_lck_kib: int | None = None
    vm_pin_kib: int | None = None
    vm_hwm_kib: int | None = None
    vm_rss_kib: int | None = None
    rss_anon_kib: int | None = None
    rss_file_kib: int | None = None
    rss_shmem_kib: int | None = None
    vm_data_kib: int | None = None
    vm_stk_kib: int | None = None
    vm_exe_kib: int | None = None
    vm_lib_kib: int | None = None
    vm_pte_kib: int | None = None
    vm_swap_kib: int | None = None
    hugetlb_pages_kib: int | None = None
    lines: dict[str, str] = {}  # name -> text after the colon and tab


class Statm(msgspec.Struct):
    """One reading of /proc/PID/statm, in pages; lib and dirty are always 0."""

    size_pages: int
    resident_pages: int
    shared_pages: int
    text_pages: int
    lib_pages: int
    data_pages: int
    dirty_pages: int


class ProcessStat(msgspec.Struct):
    """One reading of /proc/PID/stat; `fields` are the figures after the state, ppid first."""

    pid: int
    comm: str
    state: str
    fields: list[int]

    @property
    def min_flt(self) -> int:
        """Minor faults of the process."""
        return self.fields[6]

    @property
    def maj_flt(self) -> int:
        """Major faults of the process."""
        return self.fields[8]

    @property
    def utime_ticks(self) -> int:
        """Time in user mode, in ticks (USER_HZ)."""
        return self.fields[10]

    @property
    def stime_ticks(self) -> int:
        """Time in the kernel, in ticks (USER_HZ)."""
        return self.fields[11]

    @property
    def vsize_bytes(self) -> int:
        """Size of the address space."""
        return self.fields[19]

    @property
    def rss_pages(self) -> int:
        """Resident pages (a rough count on a live kernel)."""
        return self.fields[20]


def parse_smaps_rollup(text: str) -> SmapsRollup | None:
    """The record of an smaps_rollup text; None when it is empty (no address space)."""
    if not text.strip():
        return None
    head, _, body = text.partition("\n")
    match = _ROLLUP.fullmatch(head)
    if match is None:
        raise no_match("smaps_rollup", head, "'START-END ... [rollup]'")
    figures = {}
    for key, value, line in keyed_lines(body):
        figures[key] = whole(value.removesuffix(" kB").strip(), "smaps_rollup", line)
    record = rollup_of(int(match[1], 16), int(match[2], 16), figures)
    record.name_column = head.index("[rollup]")
    return record


def rollup_of(start_vaddr: int, end_vaddr: int, figures: dict[str, int]) -> SmapsRollup:
    """The record that holds `figures` (name on the line -> KiB), in their order."""
    known = {ROLLUP_FIELDS[key]: v for key, v in figures.items() if key in ROLLUP_FIELDS}
    record = SmapsRollup(start_vaddr=start_vaddr, end_vaddr=end_vaddr, order=tuple(figures))
    record.other = {key: v for key, v in figures.items() if key not in ROLLUP_FIELDS}
    for field, value in known.items():
        setattr(record, field, value)
    return record


def render_smaps_rollup(record: SmapsRollup | None) -> str:
    """The text of `record` (fs/proc/task_mmu.c show_smaps_rollup(), v6.12)."""
    if record is None:
        return ""
    head = f"{record.start_vaddr:08x}-{record.end_vaddr:08x} ---p 00000000 00:00 0 "
    out = [head.ljust(record.name_column) + "[rollup]\n"]
    for key in record.order:
        figure = getattr(record, ROLLUP_FIELDS[key]) if key in ROLLUP_FIELDS else record.other[key]
        label = f"{key}:".ljust(16)
        out.append(f"{label}{figure:>{24 - len(label)}} kB\n")
    return "".join(out)


def parse_status(text: str) -> Status:
    """The record of a status text."""
    record = Status()
    for line in text.splitlines():
        key, colon, value = line.partition(":\t")
        if not colon:
            raise no_match("status", line, "'Name:<tab>value'")
        record.lines[key] = value
        if key in STATUS_FIELDS:
            kib = whole(value.removesuffix(" kB").strip(), "status", line)
            setattr(record, STATUS_FIELDS[key], kib)
    record.name, record.state = record.lines.get("Name", ""), record.lines.get("State", "")
    record.pid, record.ppid, record.threads = (
        whole(record.lines.get(key, "0"), "status", f"{key}:") for key in ("Pid", "PPid", "Threads")
    )
    return record


def render_status(record: Status) -> str:
    """The text of `record` (fs/proc/array.c proc_pid_status(), v6.12); typed figures win."""
    out = []
    for key, value in record.lines.items():
        figure = getattr(record, STATUS_FIELDS[key]) if key in STATUS_FIELDS else None
        out.append(f"{key}:\t{value}\n" if figure is None else f"{key}:\t{figure:>8} kB\n")
    return "".join(out)


def parse_statm(text: str) -> Statm:
    """The record of a statm text."""
    words = text.split()
    if len(words) != 7:
        raise no_match("statm", text, "seven whole numbers")
    return Statm(*(whole(word, "statm", text) for word in words))


def render_statm(record: Statm) -> str:
    """The text of `record` (fs/proc/array.c proc_pid_statm(), v6.12)."""
    return " ".join(map(str, msgspec.structs.astuple(record))) + "\n"


def parse_process_stat(text: str) -> ProcessStat:
    """The record of a /proc/PID/stat text; the command may hold any characters."""
    head, paren, rest = text.rpartition(")")
    pid, opening, comm = head.partition(" (")
    if not paren or not opening:
        raise no_match("stat", text, "'PID (COMM) STATE ...'")
    words = rest.split()
    if not words:
        raise no_match("stat", text, "'PID (COMM) STATE ...'")
    return ProcessStat(
        whole(pid, "stat", text), comm, words[0], [whole(w, "stat", text) for w in words[1:]]
    )


def render_process_stat(record: ProcessStat) -> str:
    """The text of `record` (fs/proc/array.c do_task_stat(), v6.12)."""
    return f"{record.pid} ({record.comm}) {record.state} {' '.join(map(str, record.fields))}\n"


def parse_io(text: str) -> dict[str, int]:
    """name -> figure of a /proc/PID/io text: rchar, wchar (bytes), syscr, syscw (calls) ..."""
    return parse_flat(text.replace(":", ""), "io")


def render_io(figures: dict[str, int]) -> str:
    """The text of `figures` (fs/proc/base.c do_io_accounting(), v6.12)."""
    return "".join(f"{name}: {figure}\n" for name, figure in figures.items())


def parse_cgroup_membership(text: str) -> dict[str, str]:
    """controllers -> path of a /proc/PID/cgroup text; the unified hierarchy has the key ''."""
    found = {}
    for line in filter(str.strip, text.splitlines()):
        words = line.split(":", 2)
        if len(words) != 3:
            raise no_match("cgroup", line, "'ID:CONTROLLERS:PATH'")
        found[words[1]] = words[2]
    return found
