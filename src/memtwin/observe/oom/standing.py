"""Owns what the OOM killer sees of each process: read from /proc of a host, a tree or the twin.

Imports observe's source, meminfo, cgroup and the files of processes. Knows nothing of points.
"""

from __future__ import annotations

import msgspec

from memtwin.errors import UserError
from memtwin.observe.cgroup import CgroupMemory, parse_cgroup
from memtwin.observe.meminfo import parse_meminfo
from memtwin.observe.processes.files import (
    parse_cgroup_membership,
    parse_process_stat,
    parse_status,
)
from memtwin.observe.source import Tree

PAGE_KIB = 4
_RELEASES = ("/proc/sys/kernel/osrelease", "/proc/version")
# where hierarchies of the memory controller are mounted by habit; the lab's at /cg
GROUP_ROOTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/cg")
_LIMITS = (
    "memory.current", "memory.max", "memory.swap.max", "memory.usage_in_bytes",
    "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.swappiness",
)  # fmt: skip


class Standing(msgspec.Struct, kw_only=True):
    """One process as the OOM killer weighs it."""

    pid: int
    name: str
    uid: int | None = None
    group: str = ""  # its memory cgroup, as /proc/PID/cgroup has it
    rss_pages: int = 0
    swap_pages: int = 0
    page_table_pages: int = 0
    oom_score_adj: int = 0
    oom_score: int | None = None  # the kernel's own; None when it may not be read


class Surroundings(msgspec.Struct, kw_only=True):
    """What holds for all processes."""

    release: str = ""
    ram_pages: int
    swap_pages: int
    allocating_task: bool = False  # vm.oom_kill_allocating_task
    panic: int = 0  # vm.panic_on_oom
    swappiness: int | None = None  # vm.swappiness, which groups of cgroup v2 have
    kernel_threads: int = 0
    unread: dict[str, int] = {}  # why a process could not be read -> how many


def _figure(source: Tree, path: str) -> int | None:
    text = (source.read(path) or "").strip()
    return int(text) if text.lstrip("-").isdecimal() and len(text) < 20 else None


def read_surroundings(source: Tree) -> Surroundings:
    """The machine's totals. Raises UserError when there is no /proc/meminfo."""
    text = source.read("/proc/meminfo")
    if text is None:
        raise UserError("oom: found no /proc/meminfo below --root, allowed is a tree that has one")
    info = parse_meminfo(text)
    release = ""
    for path in _RELEASES:
        said = (source.read(path) or "").strip().removeprefix("Linux version ")
        if said:
            release = said.split()[0]
            break
    return Surroundings(
        release=release,
        ram_pages=(info.mem_total_kib or 0) // PAGE_KIB,
        swap_pages=(info.swap_total_kib or 0) // PAGE_KIB,
        allocating_task=bool(_figure(source, "/proc/sys/vm/oom_kill_allocating_task")),
        panic=_figure(source, "/proc/sys/vm/panic_on_oom") or 0,
        swappiness=_figure(source, "/proc/sys/vm/swappiness"),
    )


def read_standings(source: Tree, around: Surroundings) -> list[Standing]:
    """Every process that has memory of its own; what could not be read is counted in `around`."""
    found = []
    pids = sorted(int(name) for name in source.names("/proc") if name.isdecimal())
    for pid in pids:
        text = source.read(f"/proc/{pid}/status")
        if text is None:
            _count(around, "gone or not permitted")
            continue
        try:
            one = _standing(source, pid, text)
        except (UserError, ValueError):
            _count(around, "malformed")
            continue
        if one is None:
            around.kernel_threads += 1
        else:
            found.append(one)
    return found


def _count(around: Surroundings, why: str) -> None:
    around.unread[why] = around.unread.get(why, 0) + 1


def _standing(source: Tree, pid: int, text: str) -> Standing | None:
    """One process; None without an address space (a kernel thread, a zombie)."""
    status = parse_status(text)
    if status.vm_rss_kib is None:
        return None
    uids = status.lines.get("Uid", "").split()
    group = _group_of(source.read(f"/proc/{pid}/cgroup") or "")
    return Standing(
        pid=pid,
        name=status.name,
        uid=int(uids[1]) if len(uids) > 1 and uids[1].isdecimal() else None,
        group=group,
        rss_pages=_quick_rss(source, pid, status.vm_rss_kib // PAGE_KIB),
        swap_pages=(status.vm_swap_kib or 0) // PAGE_KIB,
        page_table_pages=((status.vm_pte_kib or 0) + _pmd_kib(status.lines)) // PAGE_KIB,
        oom_score_adj=_figure(source, f"/proc/{pid}/oom_score_adj") or 0,
        oom_score=_figure(source, f"/proc/{pid}/oom_score"),
    )


def _quick_rss(source: Tree, pid: int, summed_pages: int) -> int:
    """Resident pages as the killer counts them: stat has that count, status a better one.

    fs/proc/array.c do_task_stat() and fs/proc/task_mmu.c task_mem(), v6.16
    """
    try:
        quick = parse_process_stat(source.read(f"/proc/{pid}/stat") or "").rss_pages
    except (UserError, IndexError):
        return summed_pages
    # pages of another size would make it a multiple: then what is given in KiB stands
    return quick if quick * 2 >= summed_pages and quick <= summed_pages * 2 + 64 else summed_pages


def _pmd_kib(lines: dict[str, str]) -> int:
    """VmPMD, which stands apart from VmPTE between 4.0 and 4.14 (fs/proc/task_mmu.c, v4.9)."""
    words = lines.get("VmPMD", "").split()
    return int(words[0]) if words and words[0].isdecimal() else 0


def _group_of(text: str) -> str:
    try:
        groups = parse_cgroup_membership(text)
    except UserError:
        return ""
    for controllers, path in groups.items():
        if "memory" in controllers.split(","):
            return path
    return groups.get("", "")


def is_inside(group: str, scope: str) -> bool:
    """Whether memory cgroup `group` is `scope` or below it.

    >>> is_inside("/a/b", "/a"), is_inside("/ab", "/a")
    (True, False)
    """
    wanted = "/" + scope.strip("/")
    return wanted == "/" or group == wanted or group.startswith(wanted + "/")


def read_group(source: Tree, scope: str) -> CgroupMemory:
    """The limits of memory cgroup `scope`. Raises UserError when there is no such group."""
    path = scope.strip("/")
    for root in GROUP_ROOTS:
        directory = f"{root}/{path}".rstrip("/")
        texts = {name: source.read(f"{directory}/{name}") for name in _LIMITS}
        found = {name: text for name, text in texts.items() if text is not None}
        if found:
            return parse_cgroup(found)
    raise UserError(
        f"--cgroup: found no memory cgroup {scope!r}, allowed is a path below {GROUP_ROOTS[0]}"
    )


def kills_as_one(source: Tree, group: str) -> str | None:
    """The outermost group from `group` upwards whose memory.oom.group is set; None: none.

    mm/memcontrol.c mem_cgroup_get_oom_group(), v6.12
    """
    parts = group.strip("/").split("/") if group.strip("/") else []
    for length in range(1, len(parts) + 1):
        path = "/" + "/".join(parts[:length])
        if any(_figure(source, f"{root}{path}/memory.oom.group") == 1 for root in GROUP_ROOTS):
            return path
    return None
