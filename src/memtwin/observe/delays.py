"""Owns a process's delays as one record: from taskstats, or in part from /proc where that is shut.

Imports observe's taskstats and source, and the files of processes. Knows no screen.
"""

from __future__ import annotations

import errno

import msgspec

from memtwin.observe.processes.files import parse_process_stat
from memtwin.observe.source import TreeSource
from memtwin.observe.taskstats import TaskStats
from memtwin.observe.taskstats_layout import KINDS

SWITCH = "/proc/sys/kernel/task_delayacct"  # kernel/delayacct.c sysctl_delayacct(), v6.12
# what each kind waits for
MEANING = {
    "cpu": "a CPU, while runnable",
    "blkio": "synchronous block I/O",
    "swapin": "pages read from swap",
    "freepages": "reclaim of memory",
    "thrashing": "pages evicted a moment ago",
    "compact": "compaction of memory",
    "wpcopy": "a copy on a write-protected page",
    "irq": "interrupts",
}
_NEEDS = {"thrashing": 9, "compact": 11, "wpcopy": 13, "irq": 14}  # struct version
TICK_NS = 10_000_000  # USER_HZ is 100: include/asm-generic/param.h, v6.12
_BLKIO_TICKS = 38  # field 42 of /proc/PID/stat, counted from ppid: fs/proc/array.c, v6.12


class Delay(msgspec.Struct, kw_only=True):
    """What a process waited for one kind of thing."""

    kind: str
    count: int | None = None
    total_ns: int | None = None
    max_ns: int | None = None  # of the threads alive
    min_ns: int | None = None
    max_at_s: int | None = None  # when the longest was, seconds since 1970

    @property
    def average_ns(self) -> float | None:
        """The mean wait."""
        if self.count is None or self.total_ns is None:
            return None
        return self.total_ns / self.count if self.count else 0.0


class TaskDelays(msgspec.Struct, kw_only=True):
    """The delays of one process, or of one thread (`tid`)."""

    pid: int
    comm: str = ""
    tid: int | None = None
    source: str = "taskstats"
    version: int | None = None  # of struct taskstats
    threads: int = 1
    run_ns: int | None = None
    min_flt: int | None = None
    maj_flt: int | None = None
    delays: list[Delay] = []
    absent: dict[str, str] = {}  # kind -> why

    def total_ns(self) -> int:
        """All waiting except for a CPU."""
        return sum(one.total_ns or 0 for one in self.delays if one.kind != "cpu")


def accounting_is_on(source: TreeSource) -> bool | None:
    """Whether delays are counted for new processes; None when the kernel has no such switch."""
    text = source.read(SWITCH)
    return None if text is None else text.strip() == "1"


class DelayReader:
    """Reads delays; `why_partial` says why taskstats could not be asked, if so."""

    def __init__(self, source: TreeSource) -> None:
        self.source = source
        self.why_partial = ""
        self.line: TaskStats | None = None
        if not source.is_live:
            self.why_partial = "taskstats answers for this host alone, not for a captured tree"
            return
        try:
            self.line = TaskStats()
        except (OSError, KeyError) as fault:
            said = fault.strerror if isinstance(fault, OSError) else "no such family"
            self.why_partial = f"taskstats: {said}"

    def close(self) -> None:
        """End the line to the kernel."""
        if self.line is not None:
            self.line.close()

    def process(self, pid: int) -> TaskDelays | None:
        """The delays of process `pid`; None when there is no such process."""
        if self.line is not None:
            try:
                return self._of_process(self.line, pid)
            except OSError as fault:
                if fault.errno == errno.ESRCH:
                    return None
                self._shut(fault)
        return self._partial(f"/proc/{pid}", pid, None)

    def threads(self, pid: int) -> list[TaskDelays]:
        """The delays of each thread of `pid` that is alive."""
        return [one for tid in self._tids(pid) if (one := self._thread(pid, tid)) is not None]

    def _shut(self, fault: OSError) -> None:
        """taskstats does not answer us: from now on what /proc has."""
        who = "CAP_NET_ADMIN is needed" if fault.errno == errno.EPERM else "no answer"
        self.why_partial = f"taskstats: {fault.strerror or fault} ({who})"
        self.close()
        self.line = None

    def _tids(self, pid: int) -> list[int]:
        names = self.source.names(f"/proc/{pid}/task")
        return sorted(int(name) for name in names if name.isdecimal())

    def _of_process(self, line: TaskStats, pid: int) -> TaskDelays:
        """Sums over all threads, those that ended too; faults and extremes over those alive."""
        whole = line.of_process(pid)
        parts = []
        for tid in self._tids(pid):
            try:
                parts.append(line.of_thread(tid))
            except OSError as fault:
                if fault.errno != errno.ESRCH:
                    raise
        found = _record(pid, None, whole)
        found.threads = len(parts)
        if not parts:
            return found
        found.comm = str(parts[0].get("ac_comm", ""))
        found.min_flt = sum(int(one.get("ac_minflt", 0)) for one in parts)
        found.maj_flt = sum(int(one.get("ac_majflt", 0)) for one in parts)
        for delay in found.delays:
            _widen(delay, parts)
        self.note_off(found)
        return found

    def _thread(self, pid: int, tid: int) -> TaskDelays | None:
        if self.line is not None:
            try:
                found = _record(pid, tid, self.line.of_thread(tid))
            except OSError as fault:
                if fault.errno == errno.ESRCH:
                    return None
                self._shut(fault)
            else:
                self.note_off(found)
                return found
        return self._partial(f"/proc/{pid}/task/{tid}", pid, tid)

    def note_off(self, found: TaskDelays) -> None:
        """Take away zeros that mean "not counted"."""
        counted = [one for one in found.delays if one.kind != "cpu"]
        if any(one.count for one in counted):
            return
        is_on = accounting_is_on(self.source)
        # kernel/delayacct.c delayacct_tsk_init(), v6.12: only who is born while it is on is counted
        if is_on is False:
            why = "kernel.task_delayacct is 0"
        elif is_on and found.min_flt and any(one.kind == "wpcopy" for one in counted):
            why = "most likely older than the switching on of kernel.task_delayacct"
        else:
            return
        found.absent.update((one.kind, why) for one in counted)
        found.delays = [one for one in found.delays if one.kind == "cpu"]

    def _partial(self, directory: str, pid: int, tid: int | None) -> TaskDelays | None:
        """What /proc says without asking: the wait for a CPU, and ticks of block I/O."""
        text = self.source.read(f"{directory}/stat")
        if text is None:
            return None
        stat = parse_process_stat(text)
        found = TaskDelays(pid=pid, tid=tid, comm=stat.comm, source="/proc")
        found.min_flt, found.maj_flt = stat.min_flt, stat.maj_flt
        found.absent = dict.fromkeys(KINDS, self.why_partial)
        self._schedstat(found, pid, tid)
        if len(stat.fields) > _BLKIO_TICKS and accounting_is_on(self.source):
            ticks = stat.fields[_BLKIO_TICKS]
            found.delays.append(Delay(kind="blkio", total_ns=ticks * TICK_NS))
            del found.absent["blkio"]
        elif accounting_is_on(self.source) is False:
            found.absent["blkio"] = "kernel.task_delayacct is 0"
        return found

    def _schedstat(self, found: TaskDelays, pid: int, tid: int | None) -> None:
        # a process has its first thread alone there: fs/proc/base.c proc_pid_schedstat(), v6.12
        tids = self._tids(pid) if tid is None else [tid]
        sums = [0, 0, 0]
        read = 0
        for one in tids:
            words = (self.source.read(f"/proc/{pid}/task/{one}/schedstat") or "").split()
            if len(words) == 3 and all(word.isdecimal() for word in words):
                sums = [a + int(word) for a, word in zip(sums, words, strict=True)]
                read += 1
        found.threads = len(tids)
        if read:
            found.run_ns = sums[0]
            found.delays.insert(0, Delay(kind="cpu", total_ns=sums[1], count=sums[2]))
            del found.absent["cpu"]


def of_exits(pid: int, parts: list[dict[str, int | str]]) -> TaskDelays:
    """The delays of process `pid` from the figures of its threads as they ended."""
    found = _record(pid, None, parts[0] if parts else {})
    found.threads = len(parts)
    found.run_ns = sum(_number(one, "cpu_run_virtual_total") or 0 for one in parts)
    found.min_flt = sum(_number(one, "ac_minflt") or 0 for one in parts)
    found.maj_flt = sum(_number(one, "ac_majflt") or 0 for one in parts)
    for delay in found.delays:
        delay.count = sum(_number(one, f"{delay.kind}_count") or 0 for one in parts)
        total = f"{delay.kind}_delay_total"
        delay.total_ns = sum(_number(one, total) or 0 for one in parts)
        _widen(delay, parts)
    return found


def _record(pid: int, tid: int | None, figures: dict[str, int | str]) -> TaskDelays:
    found = TaskDelays(pid=pid, tid=tid, comm=str(figures.get("ac_comm", "")))
    found.version = _number(figures, "version")
    found.run_ns = _number(figures, "cpu_run_virtual_total")
    if tid is not None:
        found.min_flt = _number(figures, "ac_minflt")
        found.maj_flt = _number(figures, "ac_majflt")
    for kind in KINDS:
        count = _number(figures, f"{kind}_count")
        if count is None:
            needs = f"struct taskstats has it since version {_NEEDS.get(kind, 8)}"
            found.absent[kind] = f"{needs}, this kernel sends {found.version}"
            continue
        delay = Delay(kind=kind, count=count, total_ns=_number(figures, f"{kind}_delay_total"))
        if tid is not None:
            _widen(delay, [figures])
        found.delays.append(delay)
    return found


def _widen(delay: Delay, parts: list[dict[str, int | str]]) -> None:
    """Extremes over threads: of a whole process the kernel sends those of one thread only."""
    for one in parts:
        most = _number(one, f"{delay.kind}_delay_max")
        least = _number(one, f"{delay.kind}_delay_min")
        if most is not None and (delay.max_ns is None or most > delay.max_ns):
            delay.max_ns = most
            delay.max_at_s = _number(one, f"{delay.kind}_delay_max_s") or None
        if least and (delay.min_ns is None or least < delay.min_ns):
            delay.min_ns = least


def _number(figures: dict[str, int | str], name: str) -> int | None:
    value = figures.get(name)
    return value if isinstance(value, int) else None
