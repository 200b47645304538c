"""Writes an OOM report of a made-up machine as kernels of each era print it.

Only the layout is the kernels'; every figure is the test's. The forms were learned from the
kernels' sources; the reader under test shares no line with this file.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

PAGE_KIB = 4
GLOBAL = ("active_anon", "inactive_anon", "isolated_anon", "active_file", "inactive_file",
          "isolated_file", "unevictable", "dirty", "writeback", "slab_reclaimable",
          "slab_unreclaimable", "mapped", "shmem", "pagetables", "bounce", "free",
          "free_cma")  # fmt: skip


@dataclass(frozen=True)
class Era:
    """How one kernel prints; `columns` as its table's head names them."""

    name: str
    release: str
    columns: tuple[str, ...]
    gfp: str
    header: str = ""  # what stands between the mask and the order
    wide_pid: bool = False  # "[  pid  ]"
    old_context: bool = False  # "comm cpuset=/ mems_allowed=0" on a line of its own
    choice: bool = True  # "Kill process N (x) score M or sacrifice child"
    node_lines: bool = True
    verdict: bool = False
    kill: str = (
        "Killed process {pid} ({name}) total-vm:{vm}kB, anon-rss:{anon}kB, file-rss:{file}kB"
    )
    shmem_rss: bool = True
    free_pcp: bool = True
    swap_double: bool = False
    trace: str = "x86"  # "words": x86 before 4.10, with words of the stack; "arm", "arm 5.18"


_PTES = ("uid", "tgid", "total_vm", "rss", "nr_ptes", "swapents", "oom_score_adj")
_PMDS = ("uid", "tgid", "total_vm", "rss", "nr_ptes", "nr_pmds", "swapents", "oom_score_adj")
_BYTES = ("uid", "tgid", "total_vm", "rss", "pgtables_bytes", "swapents", "oom_score_adj")
_PARTS = ("uid", "tgid", "total_vm", "rss", "rss_anon", "rss_file", "rss_shmem", "pgtables_bytes",
          "swapents", "oom_score_adj")  # fmt: skip
_CPU = ("uid", "tgid", "total_vm", "rss", "cpu", "oom_adj", "oom_score_adj")
_RSS = "total-vm:{vm}kB, anon-rss:{anon}kB, file-rss:{file}kB"
_KILLED = (
    "{scope}: Killed process {pid} ({name}) " + _RSS + ", shmem-rss:{shmem}kB,"
    " UID:{uid} pgtables:{tables}kB oom_score_adj:{adj}"
)
_ZEROED = "GFP_HIGHUSER_MOVABLE|__GFP_ZERO"
# what stands between the asker and Mem-Info
_TRACES = {
    "x86": ["Call Trace:", " dump_stack+0x44/0x5c", " ? show_x+0x1/0x2",
            " __alloc_pages+0x305/0x330", " handle_mm_fault+0xdb/0x2d0"],
    "words": [" ffff800000001000 ffff800000002000 ffffffff81000010 ffff800000003000",
              " ffff800000004000 0000000000000001", "Call Trace:",
              " [<ffffffff81000010>] dump_stack+0x44/0x5c",
              " [<ffffffff81000020>] ? show_x+0x1/0x2",
              " [<ffffffff81000030>] __alloc_pages+0x305/0x330",
              " [<ffffffff81000040>] handle_mm_fault+0xdb/0x2d0"],
    "arm": ["Backtrace:", "[<c0000010>] (dump_stack) from [<c0000020>] (show_x+0x4/0x8)",
            " r7:00000007 r6:c0000006 r5:c0000005 r4:00000000",
            "[<c0000030>] (__alloc_pages) from [<c0000040>] (x+0x4/0x8)",
            "[<c0000050>] (handle_mm_fault) from [<c0000060>] (x+0x4/0x8)"],
    "arm 5.18": [" dump_stack from show_x+0x4/0x8", " __alloc_pages from x+0x4/0x8",
                 " handle_mm_fault from x+0x4/0x8",
                 "Exception stack(0xf0000fa8 to 0xf0000ff0)",
                 "0fa0:                   00000001 00000002 00000003 00000004"],
}  # fmt: skip
_WIDTHS = {
    "uid": 5, "tgid": 5, "cpu": 3, "oom_adj": 7, "nr_ptes": 7, "nr_pmds": 7, "rss_shmem": 9,
    "oom_score_adj": 13,
}  # fmt: skip

ERAS = {
    era.name: era
    for era in (
        Era("2.6.32", "2.6.32-754.el6.x86_64", _CPU, "0x280da", old_context=True, node_lines=False,
            shmem_rss=False, free_pcp=False, swap_double=True,
            kill="Killed process {pid}, UID {uid}, ({name}) " + _RSS),
        Era("3.10", "3.10.0-1160.el7.x86_64", _PTES, "0x280da", old_context=True, node_lines=False,
            shmem_rss=False, free_pcp=False, trace="words"),
        Era("4.1 arm", "4.1.10", _PMDS, "0x80d0", node_lines=False, trace="arm"),
        Era("4.4", "4.4.0-210-generic", _PMDS, "0x24280ca", old_context=True, node_lines=False,
            trace="words"),
        Era("4.9", "4.9.0-19-amd64", _PMDS, f"0x24280ca({_ZEROED})", "nodemask=0, ",
            old_context=True, trace="words"),
        Era("4.19", "4.19.0-27-amd64", _BYTES, f"0x6280ca({_ZEROED})", "nodemask=(null), ",
            wide_pid=True, old_context=True),
        Era("5.4", "5.4.0-150-generic", _BYTES, "0x100cca(GFP_HIGHUSER_MOVABLE)", wide_pid=True,
            choice=False, verdict=True, kill=_KILLED),
        Era("6.1", "6.1.0-20-amd64", _BYTES, "0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP)",
            wide_pid=True, choice=False, verdict=True, kill=_KILLED),
        Era("6.1 arm", "6.1.21-v7l+", _BYTES, "0xcc0(GFP_KERNEL)", wide_pid=True, choice=False,
            verdict=True, kill=_KILLED, trace="arm 5.18"),
        Era("6.12", "6.12.10-amd64", _PARTS, "0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP)",
            wide_pid=True, choice=False, verdict=True, kill=_KILLED),
    )
}  # fmt: skip


@dataclass
class State:
    """A made-up machine at the moment it ran out."""

    comm: str = "web worker"
    asker_pid: int = 4242
    order: int = 0
    tasks: list[dict[str, int | str]] = field(default_factory=list)
    pages: dict[str, int] = field(default_factory=dict)
    zones: list[dict[str, int | str]] = field(default_factory=list)
    swap_total_kib: int = 0
    swap_free_kib: int = 0
    ram_pages: int = 0
    reserved_pages: int = 0
    victim: int = 0  # index into tasks


def made_up(seed: int) -> State:
    """A state whose largest process is the victim."""
    rng = random.Random(seed)
    state = State(asker_pid=rng.randrange(2, 30000))
    names = [
        "postgres",
        "java",
        "Web Content",
        "a b) c",
        "kworker-like",
        "node (vite)",
        "bash",
        "1 2 3",
    ]
    for place in range(rng.randrange(2, 9)):
        parts = [rng.randrange(10, 5000), rng.randrange(0, 500), rng.randrange(0, 100)]
        state.tasks.append({
            "pid": 1000 + 7 * place, "tgid": 1000 + 7 * place, "uid": rng.choice([0, 33, 1000]),
            "total_vm": rng.randrange(6000, 90000), "rss": sum(parts), "rss_anon": parts[0],
            "rss_file": parts[1], "rss_shmem": parts[2], "nr_ptes": rng.randrange(5, 60),
            "nr_pmds": rng.randrange(2, 5), "pgtables_bytes": 4096 * rng.randrange(10, 80),
            "swapents": rng.randrange(0, 4000), "oom_score_adj": 0, "oom_adj": 0, "cpu": place,
            "name": names[place % len(names)],
        })  # fmt: skip
    state.tasks[-1].update(rss=60000, rss_anon=59000, rss_file=900, rss_shmem=100, uid=1000)
    state.victim = len(state.tasks) - 1
    state.pages = {name: rng.randrange(0, 900) for name in GLOBAL}
    state.pages["active_anon"] = 70000
    for name, managed in (("DMA", 15_360), ("DMA32", 380_000)):
        state.zones.append({"name": name, "free": 500 + rng.randrange(50), "min": 600, "low": 750,
                            "high": 900, "present": managed + 640, "managed": managed})  # fmt: skip
    state.ram_pages, state.reserved_pages = 99_000, 160
    state.swap_total_kib = rng.choice([0, 262_140])
    state.swap_free_kib = rng.randrange(0, 400) if state.swap_total_kib else 0
    return state


def report(era: Era, state: State) -> list[str]:
    """The lines that a kernel of `era` prints of `state`, without what a carrier adds."""
    victim = state.tasks[state.victim]
    adj = "oom_adj=0, " if era.name == "2.6.32" else ""
    lines = [
        f"{state.comm} invoked oom-killer: gfp_mask={era.gfp}, {era.header}order={state.order},"
        f" {adj}oom_score_adj=0"
    ]
    if era.old_context:
        lines.append(f"{state.comm} cpuset=/ mems_allowed=0")
    pid = "CPU: 3 PID: {}" if era.name != "2.6.32" else "Pid: {},"
    who = pid.format(state.asker_pid) + (" Comm: " if era.name != "2.6.32" else " comm: ")
    lines.append(f"{who}{state.comm} Not tainted {era.release} #1")
    lines += _TRACES[era.trace]
    lines += ["Mem-Info:", *_memory(era, state)]
    if era.verdict:
        lines.append("Tasks state (memory values in pages):")
    pid = "[  pid  ]" if era.wide_pid else "[ pid ]"
    lines.append(f"{pid}   uid  tgid total_vm      rss {' '.join(era.columns[4:])} name")
    lines += [row_text(era, task) for task in state.tasks]
    return [*lines, *_outcome(era, state, victim)]


def row_text(era: Era, task: dict[str, int | str]) -> str:
    """One row of the table."""
    figures = " ".join(f"{task[column]:{_WIDTHS.get(column, 8)}d}" for column in era.columns)
    return f"[{task['pid']:{7 if era.wide_pid else 5}d}] {figures} {task['name']}"


def _outcome(era: Era, state: State, victim: dict[str, int | str]) -> list[str]:
    lines = []
    if era.verdict:
        lines.append(
            "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom"
            f",task_memcg=/a,b/c,task={victim['name']},pid={victim['pid']},uid={victim['uid']}"
        )
    if era.choice:
        lines.append(
            f"Out of memory: Kill process {victim['pid']} ({victim['name']}) score 500 or sacrifice"
            " child"
        )
    anon, file, shmem = (int(victim[k]) * PAGE_KIB for k in ("rss_anon", "rss_file", "rss_shmem"))
    kill = era.kill.format(
        scope="Out of memory", pid=victim["pid"], name=victim["name"], uid=victim["uid"],
        vm=int(victim["total_vm"]) * PAGE_KIB, anon=anon, file=file, shmem=shmem,
        tables=int(victim["pgtables_bytes"]) >> 10, adj=0,
    )  # fmt: skip
    if era.shmem_rss and not era.verdict:
        kill += f", shmem-rss:{shmem}kB"
    lines.append(kill)
    if not era.swap_double and era.node_lines:
        lines.append(
            f"oom_reaper: reaped process {victim['pid']} ({victim['name']}), now anon-rss:0kB,"
            " file-rss:0kB, shmem-rss:0kB"
        )
    return lines


def _memory(era: Era, state: State) -> list[str]:
    page = state.pages

    def row(*names: str) -> str:
        return " ".join(f"{name}:{page[name]}" for name in names)

    lines = []
    if not era.node_lines:
        lines += ["Node 0 DMA per-cpu:", "CPU    0: hi:    0, btch:   1 usd:   0"]
    lines += [
        row(*GLOBAL[:3]), " " + row(*GLOBAL[3:6]),
        " " + row("unevictable", "dirty", "writeback") + " unstable:0",
        " " + row("slab_reclaimable", "slab_unreclaimable"),
        " " + row("mapped", "shmem", "pagetables", "bounce"),
        " " + row("free") + (" free_pcp:64 " if era.free_pcp else " ") + row("free_cma"),
    ]  # fmt: skip
    if era.node_lines:
        lines.append(
            f"Node 0 active_anon:{page['active_anon'] * 4}kB inactive_anon:4kB isolated(anon):0kB"
            " kernel_stack:1200kB pagetables:40kB all_unreclaimable? yes"
        )
    for zone in state.zones:
        marks = " ".join(f"{k}:{zone[k]}kB" for k in ("free", "min", "low", "high"))
        tail = "" if era.node_lines else " kernel_stack:600kB all_unreclaimable? yes"
        sizes = f"present:{zone['present']}kB managed:{zone['managed']}kB"
        lines.append(f"Node 0 {zone['name']} {marks} isolated(anon):0kB {sizes} mlocked:0kB{tail}")
        lines.append(
            "lowmem_reserve[]: 0 10 10 10" if zone["name"] == "DMA" else "lowmem_reserve[]: 0 0 0 0"
        )
    for zone in state.zones:
        lines.append(f"Node 0 {zone['name']}: 3*4kB (UM) 0*8kB 2*16kB (E) 1*32kB (M) 0*64kB = 76kB")
    if era.name != "2.6.32":
        lines.append(
            "Node 0 hugepages_total=2 hugepages_free=1 hugepages_surp=0 hugepages_size=2048kB"
        )
    gap = "  " if not era.swap_double else " "
    lines += ["321 total pagecache pages", "17 pages in swap cache",
              "Swap cache stats: add 1, delete 2, find 3/4",
              f"Free swap{gap}= {state.swap_free_kib}kB",
              f"Total swap = {state.swap_total_kib}kB", f"{state.ram_pages} pages RAM"]  # fmt: skip
    if era.name == "2.6.32":
        return [
            *lines,
            f"{state.reserved_pages} pages reserved",
            "5 pages shared",
            "6 pages non-shared",
        ]
    return [*lines, "0 pages HighMem/MovableOnly", f"{state.reserved_pages} pages reserved",
            "0 pages hwpoisoned"]  # fmt: skip


# what carriers put before each line
_PREFIXES = {
    "bare": "",
    "dmesg raw": "<4>[ 1234.000001] ",
    "dmesg caller": "[  123.000001][ T4242] ",
    "dmesg -T": "[Mon May  1 10:00:00 2023] ",
    "dmesg -T in German": "[Mo Mai  1 10:00:00 2023] ",
    "dmesg -T in French": "[lun. mai  1 10:00:00 2023] ",
    "dmesg -x": "kern  :warn  : [  123.000001] ",
    "dmesg iso": "2023-05-01T10:00:00,123456+02:00 ",
    "syslog": "May  1 10:00:00 host-1 kernel: [  123.000001] ",
    "syslog plain": "May 11 10:00:00 host kernel: ",
    "syslog iso": "2023-05-01T10:00:00.1+00:00 host kernel: [ 1.000001] ",
    "journal monotonic": "[  123.000001] host kernel: ",
    "journal unix": "1682935200.123456 host kernel: ",
    "journal full": "Mon 2023-05-01 10:00:00 UTC host kernel: ",
    "kernel alone": "kernel: ",
    "quoted": "> [ 1234.000001] ",
    "coloured": "\x1b[32m[ 1234.000001] \x1b[0m",
}
CARRIERS = {
    **{
        name: lambda lines, prefix=prefix: [prefix + line for line in lines]
        for name, prefix in _PREFIXES.items()
    },
    "dmesg": lambda lines: [f"[ {1234 + n / 1000:.6f}] {line}" for n, line in enumerate(lines)],
    "kmsg": lambda lines: [f"4,{900 + n},{5_000_000 + n},-;{line}" for n, line in enumerate(lines)],
    "windows ends": lambda lines: [f"[ 1234.000001] {line}\r" for line in lines],
}
