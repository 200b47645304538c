"""A process of the twin: the smaps walk against a naive one; status, statm and stat."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest
from tests.observe.starts import recorded

from memtwin.address_space.mm import Mm
from memtwin.address_space.page_table import PageTables
from memtwin.address_space.vm_flags import (
    MM_ANONPAGES,
    MM_FILEPAGES,
    MM_SWAPENTS,
    VM_LOCKED,
    VM_READ,
    VM_WRITE,
    VMA_ANON,
)
from memtwin.address_space.vma import VMA
from memtwin.address_space.vma_tree import VmaTree
from memtwin.hardware.pte import (
    PTE_ACCESSED,
    PTE_DIRTY,
    PTE_PRESENT,
    PTE_PSE,
    PTE_SPECIAL,
    make_pte,
    swap_pte,
)
from memtwin.memcg.table import MemcgTable
from memtwin.observe.layout import load_layout
from memtwin.observe.processes.files import SmapsRollup, render_process_stat, render_status
from memtwin.observe.twin.process import (
    ProcessTexts,
    ProcessView,
    memory_figures,
    stat_record,
    statm_record,
    status_record,
)
from memtwin.observe.twin.smaps import SmapsWalk
from memtwin.page.boot_layout import MemoryRange, boot_page_alloc
from memtwin.page.flags import (
    PG_ANON,
    PG_DIRTY,
    PG_HEAD,
    PG_REFERENCED,
    PG_SWAPBACKED,
    PG_TAIL,
)
from memtwin.page.page_alloc import PageAlloc
from memtwin.process.task import TaskTimes

FIRST_VPN = 0x400
PAGES = 1500


@dataclass
class House:
    page_alloc: PageAlloc
    tables: PageTables
    mm: Mm


def house(kernel: int = 612) -> House:
    page_alloc, _ = boot_page_alloc([MemoryRange(1, 159), MemoryRange(256, 16384)], kernel)
    memcg = MemcgTable(page_alloc.mem_map, page_alloc.vmstat, page_alloc.tunables)
    tables = PageTables(page_alloc.mem_map, page_alloc.zones, memcg, kernel)
    mm = Mm(1, page_alloc.tunables)
    spare = iter(range(16000, 16384))
    tables.install_pgd(mm, next(spare))
    for vpn in range(FIRST_VPN // 512 * 512, FIRST_VPN + PAGES + 1024, 512):
        while tables.missing_tables(mm, vpn):
            tables.install_table(mm, vpn, next(spare))
    return House(page_alloc, tables, mm)


def naive(built: House, areas: list[VMA], swap_count: dict[int, int]) -> dict[str, int]:
    """smaps_rollup in KiB, page by page: fs/proc/task_mmu.c smaps_account(), v6.12."""
    mem = built.page_alloc.mem_map
    sums: dict[str, int] = {}

    def add(name: str, amount: int) -> None:
        sums[name] = sums.get(name, 0) + amount

    for vma in areas:
        for vpn in range(vma.start_vpn, vma.end_vpn):
            entry = built.tables.entry(built.mm, vpn)
            if entry == 0 or entry & PTE_SPECIAL:
                continue
            if not entry & PTE_PRESENT:
                add("Swap", 4096)
                add("SwapPss", (4096 << 12) // max(swap_count[(entry >> 12)], 1))
                continue
            pfn = entry >> 12
            flags = mem.flags[pfn]
            count = 1 if mem.refcount[pfn] == 1 else max(mem.mapcount[pfn], 1)
            pss = (4096 << 12) // count
            kind = "Pss_File" if not flags & (PG_ANON | PG_SWAPBACKED) else "Pss_Shmem"
            dirty = bool(entry & PTE_DIRTY or flags & PG_DIRTY)
            add("Rss", 4096)
            add("Pss", pss)
            add("Pss_Anon" if flags & PG_ANON else kind, pss)
            add(("Private_" if count < 2 else "Shared_") + ("Dirty" if dirty else "Clean"), 4096)
            add("Pss_Dirty", pss if dirty else 0)
            add("Anonymous", 4096 if flags & PG_ANON else 0)
            add("Referenced", 4096 if entry & PTE_ACCESSED or flags & PG_REFERENCED else 0)
            lazy = flags & PG_ANON and not flags & PG_SWAPBACKED and not dirty
            add("LazyFree", 4096 if lazy else 0)
            add("Locked", pss if vma.vm_flags & VM_LOCKED else 0)
    shares = ("SwapPss", "Locked")
    return {
        name: v >> (22 if name.startswith("Pss") or name in shares else 10)
        for name, v in sums.items()
    }


def shown(record: SmapsRollup | None) -> dict[str, int]:
    assert record is not None
    from memtwin.observe.processes.files import ROLLUP_FIELDS

    figures = {name: getattr(record, ROLLUP_FIELDS[name]) for name in record.order}
    return {name: v for name, v in figures.items() if v}


@pytest.mark.parametrize("seed", range(8))
def test_the_walk_agrees_with_a_naive_one_on_random_tables(seed: int) -> None:
    built, random = house(), Random(seed)
    mem = built.page_alloc.mem_map
    swap_count: dict[int, int] = {}
    for vpn in range(FIRST_VPN, FIRST_VPN + PAGES):
        at, pfn = built.tables.find(built.mm, vpn), 2000 + vpn
        kind = random.choice(("none", "zero", "swap", "anon", "anon", "file", "shmem"))
        bits = PTE_PRESENT | random.choice((0, PTE_ACCESSED)) | random.choice((0, PTE_DIRTY))
        if kind == "zero":
            built.tables.pte[at] = make_pte(1, bits | PTE_SPECIAL)
        elif kind == "swap":
            swap_count[vpn] = random.randrange(4)
            built.tables.pte[at] = swap_pte(vpn, 0)
        elif kind != "none":
            built.tables.pte[at] = make_pte(pfn, bits)
            flags = {"anon": PG_ANON | PG_SWAPBACKED, "file": 0, "shmem": PG_SWAPBACKED}[kind]
            flags ^= random.choice((0, 0, PG_SWAPBACKED)) if kind == "anon" else 0
            mem.flags[pfn] = (
                flags | random.choice((0, PG_DIRTY)) | random.choice((0, PG_REFERENCED))
            )
            mem.mapcount[pfn] = random.randrange(1, 4)
            mem.refcount[pfn] = mem.mapcount[pfn] + random.choice((0, 1))
    middle = FIRST_VPN + random.randrange(1, PAGES)
    areas = [
        VMA(built.mm, FIRST_VPN, middle, VM_READ | VM_WRITE, VMA_ANON),
        VMA(built.mm, middle, FIRST_VPN + PAGES, VM_READ | VM_WRITE | VM_LOCKED, VMA_ANON),
    ]
    walk = SmapsWalk(built.tables, mem, lambda entry: swap_count[entry])
    record = walk.rollup(built.mm, areas, load_layout("6.12"))
    expected = {name: v for name, v in naive(built, areas, swap_count).items() if v}
    assert shown(record) == expected
    assert record is not None
    assert record.start_vaddr == FIRST_VPN * 4096


def test_a_huge_entry_counts_as_512_private_pages() -> None:
    built = house()
    mem, vpn = built.page_alloc.mem_map, 4096
    while built.tables.missing_tables(built.mm, vpn) > 1:
        built.tables.install_table(built.mm, vpn, 15999)
    entry = make_pte(1024, PTE_PRESENT | PTE_PSE | PTE_DIRTY | PTE_ACCESSED)
    built.tables.install_huge(built.mm, vpn, entry, 15998)
    mem.flags[1024] = PG_HEAD | PG_ANON | PG_SWAPBACKED
    for pfn in range(1025, 1536):
        mem.flags[pfn] = PG_TAIL | PG_ANON
    mem.private[1025], mem.refcount[1024] = 1, 1
    area = VMA(built.mm, vpn, vpn + 512, VM_READ | VM_WRITE, VMA_ANON)
    figures = shown(
        SmapsWalk(built.tables, mem, lambda _: 1).rollup(built.mm, [area], load_layout("6.1"))
    )
    same = ("Rss", "Pss", "Pss_Dirty", "Pss_Anon", "Private_Dirty", "Referenced", "Anonymous")
    assert figures == dict.fromkeys((*same, "AnonHugePages"), 2048)


def test_a_process_without_areas_has_no_rollup() -> None:
    built = house()
    walk = SmapsWalk(built.tables, built.page_alloc.mem_map, lambda _: 1)
    assert walk.rollup(built.mm, [], load_layout("6.1")) is None


@dataclass
class Task:
    pid: int = 78
    tgid: int = 78
    comm: str = "init"
    ppid: int = 1
    uid: int = 0
    start_ns: int = 0
    cmdline: tuple[str, ...] = ()
    oom_score_adj: int = 0
    mm: Mm | None = None
    children_times: TaskTimes = field(default_factory=TaskTimes)

    def faults(self) -> tuple[int, int]:
        return 2179, 3


def filled_mm() -> Mm:
    mm = house().mm
    mm.rss[MM_ANONPAGES], mm.rss[MM_FILEPAGES], mm.rss[MM_SWAPENTS] = 100, 30, 7
    mm.total_vm, mm.hiwater_vm, mm.hiwater_rss = 500, 400, 200
    mm.data_vm, mm.stack_vm, mm.exec_vm = 60, 33, 128
    mm.start_code, mm.end_code = 0x401000, 0x401000 + 126 * 4096
    mm.pgtables_bytes = 44 << 10
    return mm


def test_status_names_the_memory_of_the_process() -> None:
    figures = memory_figures(filled_mm())
    assert (figures["VmPeak"], figures["VmHWM"], figures["VmRSS"]) == (2000, 800, 520)
    assert (figures["VmExe"], figures["VmLib"], figures["VmPTE"]) == (504, 8, 44)
    assert figures["VmSwap"] == 28


@pytest.mark.parametrize("name", ["6.1", "6.12"])
def test_status_has_the_kernel_s_lines_in_its_order(name: str) -> None:
    text = render_status(status_record(Task(mm=filled_mm()), load_layout(name)))
    real = recorded(name)["more"]["/proc/PID/status"]
    assert [line.split(":")[0] for line in text.splitlines()] == [
        line.split(":")[0] for line in real.splitlines()
    ]
    assert "VmRSS:\t     520 kB\n" in text
    assert "Pid:\t78\nPPid:\t1\n" in text


def test_a_kernel_thread_has_no_memory_lines() -> None:
    text = render_status(status_record(Task(), load_layout("6.1")))
    assert "VmRSS" not in text
    assert statm_record(None).size_pages == 0


def test_statm_and_stat_agree_with_status() -> None:
    mm = filled_mm()
    statm = statm_record(mm)
    assert (statm.size_pages, statm.resident_pages, statm.shared_pages) == (500, 130, 30)
    assert (statm.text_pages, statm.data_pages) == (126, 93)
    times = TaskTimes()
    times.user_ns, times.system_ns = 30_000_000, 59_999_999
    stat = stat_record(ProcessView(Task(mm=mm), times, "R"))
    assert (stat.min_flt, stat.maj_flt, stat.utime_ticks) == (2179, 3, 3)
    assert (stat.state, stat.fields[11]) == ("R", 5)  # whole ticks in the kernel
    assert (stat.vsize_bytes, stat.rss_pages) == (500 * 4096, 130)
    real = recorded("6.1")["more"]["/proc/PID/stat"]
    assert len(render_process_stat(stat).split()) == len(real.split())


def test_every_file_of_a_process_is_answered_and_a_stranger_s_is_not() -> None:
    built = house()
    tree = VmaTree()
    tree.insert(VMA(built.mm, FIRST_VPN, FIRST_VPN + 4, VM_READ | VM_WRITE, VMA_ANON))
    built.mm.tree = tree
    walk = SmapsWalk(built.tables, built.page_alloc.mem_map, lambda _: 1)
    task = Task(oom_score_adj=-500, mm=built.mm)
    view = ProcessView(task, TaskTimes(), oom_score=516, cgroup_path="/g")
    texts = ProcessTexts(walk, load_layout("6.1"), {78: view}.get)
    rollup = texts.text(78, "smaps_rollup") or ""
    assert rollup.startswith("00400000-00404000 ---p 00000000 00:00 0 ")
    assert "Rss:                   0 kB\n" in rollup
    for name in ("status", "statm", "stat"):
        assert texts.text(78, name), name
    assert texts.text(78, "oom_score") == "516\n"
    assert texts.text(78, "oom_score_adj") == "-500\n"
    assert texts.text(78, "cgroup") == "0::/g\n"
    assert texts.text(78, "environ") == ""
    assert (texts.text(78, "io") or "").startswith("rchar: 0\nwchar: 0\nsyscr: 0\n")
    assert texts.text(78, "fd") is None
    assert texts.text(79, "statm") is None
