"""Owns what one line of an OOM report says: the forms that kernels from 2.6.32 to 7.x print.

Imports the room's records. Knows nothing of reports: which lines belong together is
`report`'s. Each reader answers None for a line that is not of its form.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from memtwin.observe.oom.records import (
    AllocationSite,
    Choice,
    GroupCounter,
    HugePool,
    Invocation,
    Kill,
    Reaped,
    SlabRow,
    TaskRow,
    Verdict,
)

# a counter without limit: mm/memcontrol.c mem_cgroup_print_oom_meminfo(), v6.12 (before 3.19 a
# little more)
UNLIMITED_KIB = ((1 << 63) - 1) // 4096 * 4 - 8
MAX_TASK_FIGURES = 16
MAX_DIGITS = 14  # of a figure: sums of bytes stay within 64 bits

# mm/oom_kill.c dump_header(), v6.12; before 3.7 with oom_adj, 4.9 to 4.20 with a node mask
_INVOKED = re.compile(
    r"(?P<comm>.{1,64}?) invoked oom-killer: gfp_mask=(?:0x)?(?P<mask>[0-9a-f]+)"
    r"(?:\((?P<flags>[^)]*)\))?"
)
_NUMBER = re.compile(r"(order|oom_adj|oomkilladj|oom_score_adj)=(-?\d+)")
_NODEMASK = re.compile(r"nodemask=(\(null\)|[\d,-]*)")
_CPU = re.compile(
    r"(?:CPU: (?P<cpu>\d+)(?: UID: \d+)? PID|Pid): (?P<pid>\d+),?"
    r" [Cc]omm: (?P<comm>.{1,64}?) (?P<rest>(?:Kdump: loaded )?(?:Not tainted|Tainted: ).*)"
)
_RELEASE = re.compile(r"\d+\.\d+(?:\.\d+)?\S*")
_HARDWARE = re.compile(r"Hardware name: (.*)")
_CPUSET = re.compile(r"(?:.{1,64} )?cpuset=(\S*) mems_allowed=(\S*)")
_FRAME = re.compile(
    # 32-bit ARM: "(f) from [<address>] (g+0x20/0x28)", since 5.18 "f from g+0x20/0x28"; f is meant
    r"(?:\[<?[0-9a-f]+>?\] ){0,2}\(?(?P<doubt>\? )?(?P<name>[A-Za-z_.][\w.$]*)"
    r"(?:\+0x[0-9a-f]+/0x[0-9a-f]+|\)? from )"
)
# words of the stack, which kernels before 4.10 print above the trace, and registers
_STACK_WORDS = re.compile(
    r"(?:(?:[0-9a-f]{8} ?){1,8}|(?:[0-9a-f]{16} ?){1,4}|[0-9a-f]{4}: +(?:[0-9a-f]{8} ?){1,8}"
    r"|Exception stack\(.*|(?: ?r\d{1,2}:[0-9a-f]{8}){1,8})"
)
_PAIR = re.compile(r"([A-Za-z_][\w()]*): ?(-?\d{1,14})(kB|KB)?")
# how a line of machine-wide counters begins
_COUNTERS = (
    "active_", "inactive_", "unevictable", "slab_", "mapped", "free", "sec_", "kernel_misc",
)  # fmt: skip
_ZONE = re.compile(r"(?:Node (\d{1,5}) )?([A-Z]\w*) (free:\d+kB .*)")
_NODE = re.compile(r"Node (\d{1,5}) (active_anon:\d+kB.*)")
_RESERVE = re.compile(r"lowmem_reserve\[\]:((?: -?\d{1,14})*)")
_BLOCKS = re.compile(
    r"(?:Node (\d{1,5}) )?([A-Z]\w*): ((?:\d{1,12}\*\d{1,9}kB ?(?:\([A-Z]*\))? ?){2,})"
)
_BLOCK = re.compile(r"(\d+)\*(\d+)kB ?(?:\(([A-Z]*)\))?")
_HUGE = re.compile(
    r"(?:Node (\d{1,5}) )?hugepages_total=(\d{1,9}) hugepages_free=(\d{1,9})"
    r" hugepages_surp=(\d{1,9}) hugepages_size=(\d{1,9})kB"
)
_PAGES = re.compile(
    r"(\d{1,14}) (total pagecache pages|pages in swap cache|pages RAM|pages HighMem"
    r"(?:/MovableOnly)?|pages of HIGHMEM|reserved pages|pages reserved|pages cma reserved"
    r"|pages hwpoisoned|pages shared|pages non-shared)"
)
_PAGES_FIELD = {
    "total pagecache pages": "pagecache_pages",
    "pages in swap cache": "swapcache_pages",
    "pages RAM": "ram_pages",
    "pages HighMem": "highmem_pages",
    "pages HighMem/MovableOnly": "highmem_pages",
    "pages of HIGHMEM": "highmem_pages",
    "pages reserved": "reserved_pages",
    "reserved pages": "reserved_pages",
    "pages cma reserved": "cma_pages",
    "pages hwpoisoned": "hwpoisoned_pages",
}
_SWAP = re.compile(r"(Free|Total) swap ? ?= ?(\d{1,14})kB")
_COUNTER = re.compile(
    r"(memory|memory\+swap|swap|kmem): usage (\d{1,14})kB, limit (\d{1,18})kB, failcnt (\d{1,18})"
)
_PROTECTED = re.compile(r"Memory cgroup min protection (\d{1,14})kB -- low protection (\d{1,14})kB")
_OF_LIMIT = re.compile(r"Task in (.*) killed as a result of limit of (.*)")
_STATS = re.compile(r"Memory cgroup stats(?: for (.*?))? ?:(?: ?(.*))?")
_STAT = re.compile(r"([a-z][\w.]*) (\d{1,20})")  # v1 prints no limit as 9223372036854771712
_ROW = re.compile(r"\[ *(\d{1,10})\] +(.*)")
_SLAB = re.compile(r"(\S{1,64}(?: \S+)?) +(\d{1,15})KB +(\d{1,15})KB")
_SITE = re.compile(r"(\d{1,12}(?:\.\d+)?) ?([kKMGT]?i?)B? +(\d{1,14}) (\S+:\d+ .*func:\S+)")
_CHOICE = re.compile(
    r"(?P<scope>.{0,80}?): [Kk]ill process (?P<pid>\d+):? \((?P<name>.{0,64})\),? score"
    r" (?P<score>\d{1,14})(?: or sacrifice child| or a child| and children\.?)?.*"
)
_KILLED = re.compile(
    r"(?:(?P<scope>[^:]{1,100}): )?Killed process (?P<pid>\d{1,10})"
    r"(?:, UID (?P<early_uid>\d+),)? \((?P<name>.{0,64})\)(?P<rest>(?:[, .].*)?)$"
)
_KILL_FIELD = re.compile(
    r"(total-vm|vsz|anon-rss|file-rss|shmem-rss|pgtables|UID|oom_score_adj)[: ](-?\d{1,14})(?:kB)?"
)
_KILL_NAMES = {
    "total-vm": "total_vm_kib",
    "vsz": "total_vm_kib",
    "anon-rss": "anon_rss_kib",
    "file-rss": "file_rss_kib",
    "shmem-rss": "shmem_rss_kib",
    "pgtables": "pgtables_kib",
    "UID": "uid",
    "oom_score_adj": "oom_score_adj",
}
_REAPED = re.compile(r"oom_reaper: reaped process :?(\d{1,10}) \((.{0,64})\)(,? .*)")
_UNREAPED = re.compile(r"oom_reaper: unable to reap pid:(\d{1,10}) \((.{0,64})\)")
_GROUP = re.compile(r"Tasks in (.*) are going to be killed due to memory\.oom\.group set")
_VERDICT_KEYS = (
    ("oom-kill:constraint", "nodemask", "cpuset", "mems_allowed"),
    ("task_memcg", "task", "pid", "uid"),
)
# names of the table's columns -> field and the factor to its unit
_COLUMNS = {
    "uid": "uid",
    "tgid": "tgid",
    "total_vm": "total_vm_pages",
    "rss": "rss_pages",
    "rss_anon": "rss_anon_pages",
    "rss_file": "rss_file_pages",
    "rss_shmem": "rss_shmem_pages",
    "nr_ptes": "nr_ptes",
    "nr_pmds": "nr_pmds",
    "pgtables_bytes": "pgtables_bytes",
    "swapents": "swapents_pages",
    "oom_score_adj": "oom_score_adj",
    "oom_adj": "oom_adj",
}
# mm/oom_kill.c dump_tasks() of 2.6.36, v3.7, v4.1, v4.15 and v6.8
LAYOUTS: dict[int, tuple[str, ...]] = {
    7: ("uid", "tgid", "total_vm", "rss", "nr_ptes", "swapents", "oom_score_adj"),
    8: ("uid", "tgid", "total_vm", "rss", "nr_ptes", "nr_pmds", "swapents", "oom_score_adj"),
    10: (
        "uid", "tgid", "total_vm", "rss", "rss_anon", "rss_file", "rss_shmem", "pgtables_bytes",
        "swapents", "oom_score_adj",
    ),
}  # fmt: skip


def invocation(text: str) -> Invocation | None:
    """Who asked, of "X invoked oom-killer: ..." (without the pid: that is on the CPU's line)."""
    match = _INVOKED.match(text)
    if match is None:
        return None
    found = Invocation(comm=match["comm"].strip(), gfp_mask=int(match["mask"][:16], 16))
    found.gfp_text = match["flags"] or ""
    for name, value in _NUMBER.findall(text[match.end() :]):
        setattr(found, "oom_adj" if name == "oomkilladj" else name, int(value[:12]))
    mask = _NODEMASK.search(text, match.end())
    found.nodemask = mask[1] if mask else None
    return found


def context(text: str, found: Invocation) -> bool:
    """Whether `text` tells more of the one who asked; written into `found`."""
    cpu = _CPU.match(text)
    if cpu is not None:
        found.pid, found.cpu = int(cpu["pid"][:10]), int(cpu["cpu"]) if cpu["cpu"] else None
        release = _RELEASE.search(cpu["rest"])
        found.release = release[0] if release else ""
        return True
    hardware, cpuset = _HARDWARE.match(text), _CPUSET.fullmatch(text)
    if hardware is not None:
        found.hardware = hardware[1].strip()
    elif cpuset is not None:
        found.cpuset, found.mems_allowed = cpuset[1], cpuset[2]
    return hardware is not None or cpuset is not None


def release_of_boot(text: str) -> str | None:
    """The release in "Linux version X ..."."""
    match = re.match(r"Linux version (\d+\.\d+\S*)", text)
    return match[1] if match else None


def frame(text: str) -> tuple[str, bool] | None:
    """The function of a line of a call trace, and whether it is only perhaps on the stack."""
    match = _FRAME.match(text.strip())
    return None if match is None else (match["name"], bool(match["doubt"]))


def is_stack(text: str) -> bool:
    """Whether a line shows words of the stack or registers."""
    return _STACK_WORDS.fullmatch(text.strip()) is not None


def pairs(text: str) -> dict[str, tuple[int, str]]:
    """name -> (figure, "kB", "KB" or "") of a line of "name:figure"."""
    return {name: (int(value), unit) for name, value, unit in _PAIR.findall(text)}


def zone_line(text: str) -> tuple[int | None, str, dict[str, int], bool | None] | None:
    """(node, zone, printed name -> KiB, all_unreclaimable) of a zone's line."""
    match = _ZONE.match(text)
    if match is None:
        return None
    node = int(match[1]) if match[1] else None
    return node, match[2], _kib(match[3]), _unreclaimable(match[3])


def node_line(text: str) -> tuple[int, dict[str, int], bool | None] | None:
    """(node, printed name -> KiB, all_unreclaimable) of a node's line."""
    match = _NODE.match(text)
    return (int(match[1]), _kib(match[2]), _unreclaimable(match[2])) if match else None


def _kib(text: str) -> dict[str, int]:
    return {name: value for name, (value, unit) in pairs(text).items() if unit}


def _unreclaimable(text: str) -> bool | None:
    at = text.find("all_unreclaimable? ")
    return None if at < 0 else text[at + 19 :].startswith("yes")


def global_line(text: str) -> dict[str, int] | None:
    """printed name -> pages of a line of machine-wide counters."""
    if not _PAIR.match(text):
        return None
    found = {name: value for name, (value, unit) in pairs(text).items() if not unit}
    known = (
        "active_",
        "inactive_",
        "unevictable",
        "slab_",
        "mapped",
        "free",
        "sec_",
        "kernel_misc",
    )
    return found if found and next(iter(found)).startswith(known) else None


def reserve_line(text: str) -> tuple[int, ...] | None:
    """The pages of "lowmem_reserve[]: ..."."""
    match = _RESERVE.match(text)
    return tuple(map(int, match[1].split())) if match else None


def blocks_line(
    text: str,
) -> tuple[int | None, str, tuple[int, ...], tuple[str, ...], int] | None:
    """(node, zone, blocks by order, their page blocks' types, page KiB) of a free list line."""
    match = _BLOCKS.match(text)
    if match is None:
        return None
    blocks = _BLOCK.findall(match[3])
    counts = tuple(int(count) for count, _, _ in blocks)
    types = tuple(kinds for _, _, kinds in blocks)
    return int(match[1]) if match[1] else None, match[2], counts, types, int(blocks[0][1])


def huge_line(text: str) -> HugePool | None:
    """A pool of huge pages."""
    match = _HUGE.match(text)
    if match is None:
        return None
    node, total, free, surplus, size_kib = match.groups()
    return HugePool(
        node=int(node) if node else None,
        total_pages=int(total), free_pages=int(free), surplus_pages=int(surplus),
        size_kib=int(size_kib),
    )  # fmt: skip


def pages_line(text: str) -> tuple[str, int] | None:
    """(field of MemInfoText or "", pages) of "N pages RAM" and its kin."""
    match = _PAGES.match(text)
    return (_PAGES_FIELD.get(match[2], ""), int(match[1])) if match else None


def swap_line(text: str) -> tuple[str, int] | None:
    """(field of MemInfoText, KiB) of "Free swap = ..." and "Total swap = ..."."""
    match = _SWAP.match(text)
    return (f"swap_{match[1].lower()}_kib", int(match[2])) if match else None


def counter_line(text: str) -> tuple[str, GroupCounter] | None:
    """("memory", "memsw", "swap" or "kmem", the counter) of a group's "usage, limit" line."""
    match = _COUNTER.match(text)
    if match is None:
        return None
    limit_kib = int(match[3])
    return match[1].replace("memory+swap", "memsw"), GroupCounter(
        usage_kib=int(match[2]),
        limit_kib=None if limit_kib >= UNLIMITED_KIB else limit_kib,
        failcnt=int(match[4]),
    )


def limit_line(text: str) -> tuple[str, str] | None:
    """(the task's group, the group of the limit) of "Task in A killed as ... limit of B"."""
    match = _OF_LIMIT.match(text)
    return (match[1], match[2]) if match else None


def protected_line(text: str) -> tuple[int, int] | None:
    """(by memory.min, by memory.low): KiB that groups are kept from losing."""
    match = _PROTECTED.match(text)
    return (int(match[1]), int(match[2])) if match else None


def stats_line(text: str) -> tuple[str, dict[str, int]] | None:
    """(group, bytes by name) of "Memory cgroup stats for /g:"; v1 has its figures behind it."""
    match = _STATS.match(text)
    if match is None:
        return None
    found = {name: value << 10 for name, (value, unit) in pairs(match[2] or "").items() if unit}
    return match[1] or "", found


def stat_line(text: str) -> tuple[str, int] | None:
    """(name, figure) of a line of memory.stat inside a report."""
    match = _STAT.fullmatch(text.strip())
    return (match[1], int(match[2])) if match else None


def table_head(text: str) -> tuple[str, ...] | None:
    """The columns of the table of tasks, without pid and name."""
    words = text.split()
    if not text.startswith("[") or words[-1:] != ["name"] or "pid" not in words[:3]:
        return None
    return tuple(words[words.index("]") + 1 : -1]) if "]" in words else tuple(words[1:-1])


def task_row(text: str, columns: Sequence[str]) -> TaskRow | None:
    """A row of the table of tasks below a head of `columns`; without a head, by its length."""
    match = _ROW.match(text)
    if match is None:
        return None
    words = match[2].split(None, MAX_TASK_FIGURES)
    figures = 0
    while figures < len(words) and words[figures].removeprefix("-").isdecimal():
        figures += 1
    names = tuple(columns)
    if not names:
        names = LAYOUTS.get(figures, ())
    if not names or figures < len(names):
        return None
    row = TaskRow(pid=int(match[1]), name=_rest(match[2], len(names)))
    for name, word in zip(names, words, strict=False):
        field = _COLUMNS.get(name)
        if field is not None and len(word) <= MAX_DIGITS:
            setattr(row, field, int(word))
    return row


def _rest(text: str, words: int) -> str:
    """`text` after `words` words: a name may hold blanks and figures of its own."""
    parts = text.split(None, words)
    return parts[words] if len(parts) > words else ""


def slab_line(text: str) -> SlabRow | None:
    """A row of the table of unreclaimable slabs."""
    match = _SLAB.fullmatch(text.strip())
    if match is None:
        return None
    return SlabRow(name=match[1], used_kib=int(match[2]), total_kib=int(match[3]))


def site_line(text: str) -> AllocationSite | None:
    """A line of "Memory allocations:" (mm/show_mem.c __show_mem(), v6.12)."""
    match = _SITE.match(text.strip())
    if match is None:
        return None
    scale = "kmgt".find(match[2][:1].lower()) + 1 if match[2] else 0
    base = 1024 if match[2].endswith("i") else 1000
    size_bytes = int(float(match[1]) * base**scale)
    return AllocationSite(size_bytes=size_bytes, calls=int(match[3]), where=match[4])


def choice_line(text: str) -> Choice | None:
    """Whom a kernel before 5.1 chose, which is not always whom it killed."""
    match = _CHOICE.match(text)
    if match is None:
        return None
    return Choice(
        pid=int(match["pid"][:10]), name=match["name"], score=int(match["score"]),
        scope=match["scope"].strip(),
    )  # fmt: skip


def kill_line(text: str) -> Kill | None:
    """A kill that was done."""
    match = _KILLED.match(text)
    if match is None:
        return None
    found = Kill(pid=int(match["pid"]), name=match["name"], scope=(match["scope"] or "").strip())
    if match["early_uid"]:
        found.uid = int(match["early_uid"][:12])
    for name, value in _KILL_FIELD.findall(match["rest"]):
        setattr(found, _KILL_NAMES[name], int(value))
    return found


def reaped_line(text: str) -> Reaped | None:
    """What the reaper did."""
    match = _UNREAPED.match(text)
    if match is not None:
        return Reaped(pid=int(match[1]), name=match[2], succeeded=False)
    match = _REAPED.match(text)
    if match is None:
        return None
    found = Reaped(pid=int(match[1]), name=match[2], succeeded=True)
    for name, value in _KILL_FIELD.findall(match[3]):
        if name.endswith("-rss"):
            setattr(found, _KILL_NAMES[name], int(value))
    return found


def group_line(text: str) -> str | None:
    """The group that memory.oom.group kills as one."""
    match = _GROUP.match(text)
    return match[1] if match else None


def verdict_line(text: str) -> Verdict | None:
    """The summary since 5.0; a path and a command may hold any characters, commas too."""
    if not text.startswith("oom-kill:constraint="):
        return None
    front, comma, back = text.partition(",task_memcg=")
    first = _keyed(front, _VERDICT_KEYS[0])
    found = Verdict(
        constraint=first.get("oom-kill:constraint", ""),
        nodemask=first.get("nodemask", ""),
        cpuset=first.get("cpuset", ""),
    )
    mems = first.get("mems_allowed", "")
    mems, group, path = mems.partition(",oom_memcg=")
    found.oom_memcg = path if group else None
    found.mems_allowed = mems.partition(",global_oom")[0]
    if comma:
        last = _keyed("task_memcg=" + back, _VERDICT_KEYS[1])
        found.task_memcg, found.task = last.get("task_memcg"), last.get("task", "")
        pid, uid = last.get("pid", ""), last.get("uid", "")
        found.pid = int(pid) if pid.isdecimal() and len(pid) < 11 else None
        found.uid = int(uid) if uid.isdecimal() and len(uid) < 12 else None
    return found


def _keyed(text: str, keys: Sequence[str]) -> dict[str, str]:
    """key -> value of "a=1,b=2" with the keys in this order; a value runs to the next key."""
    found, rest = {}, text.partition(f"{keys[0]}=")[2]
    for key, after in zip(keys, (*keys[1:], ""), strict=True):
        value, there, rest = rest.partition(f",{after}=") if after else (rest, "", "")
        found[key] = value
        if after and not there:
            break
    return found
