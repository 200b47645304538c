"""Owns reading a log into OOM reports: which lines belong together, and what is missing.

Imports observe's log_lines, and the room's lines, others and records. Any text gives an answer:
lines of no known form are counted, a report that the log cut short says what it lacks and why.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from memtwin.observe.log_lines import LogLine, Origin, log_lines
from memtwin.observe.oom import lines as oom_lines
from memtwin.observe.oom.missing import note_missing
from memtwin.observe.oom.others import other_kill
from memtwin.observe.oom.records import (
    GroupStat,
    Kill,
    MemcgText,
    MemInfoText,
    NodeText,
    OomLog,
    OomReport,
    ZoneText,
)

# a dump of memory that is no OOM report: mm/page_alloc.c warn_alloc(), v6.12, and SysRq-m
_FAILURE = re.compile(
    r".{1,80}: page allocation (?:failure|stalls)[:. ]|[sS]ys[rR]q ?: Show Memory"
)
_SYSRQ = re.compile(r"[sS]ys[rR]q ?: Manual OOM execution")
_LOST = re.compile(
    r"\*\* \d+ printk messages dropped|.{0,80}\d+ callbacks suppressed|Missed \d+ kernel messages"
    r"|printk: \d+ messages suppressed|.{0,40}\d+ output lines suppressed"
)
_PANIC = re.compile(r"Kernel panic - not syncing: (.*)")
# pieces that a console without continuation lines tears apart
_OPEN_NODE = re.compile(r"Node \d+ ?")
_OPEN_LIST = re.compile(r"(?:Node \d+ )?[A-Z]\w*: ?(?:\d+\*\d+kB ?(?:\([A-Z]*\))? ?)*")
_LIST_PIECE = re.compile(r"(?:\d+\*\d+kB ?|\([A-Z]*\) ?)*(?:= \d+kB)?")
_MAX_JOINED = 64  # pieces of one line
_MAX_STRANGERS = 200  # lines of others in a row: the rest of the report is not to be had


# what some line of every part of a report has, and every other line that is of use here
_OF_USE = (
    "oom-kill", "ill process", "illed process", "oom_reaper", "oomd", "Kill '", "illing '",
    "send sigkill", "sending SIG", "Mem-Info", "killable processes", "Linux version", "total_vm",
    "lowmem_reserve", "page allocation", "suppressed", "dropped", "Missed ", "ysRq", "ysrq",
    "slab info", "panic_on_oom", "Memory cgroup", "Memory alloc", "active_anon:", "*4kB",
)  # fmt: skip
_ROWS_OF_USE = (re.compile(r"\] +\d+ +\d+ +\d+ +\d+ +\d"), re.compile(r"KB +\d+KB"))
_BLOCK_LINES = 256  # looked through at once; a useful one keeps its neighbours


def read_oom_log(text: str) -> OomLog:
    """Everything that `text` says of memory running out; any text is allowed.

    >>> log = read_oom_log("[1.5] Out of memory: Killed process 7 (hog) total-vm:8kB, anon-rss:4kB")
    >>> log.reports[0].kills[0].name, log.reports[0].missing["asker"]
    ('hog', 'the log has this kill alone: its report was rate-limited or is not in the text')
    """
    lines = log_lines(_of_use(text))
    reader = _Reader()
    for line in _joined(lines):
        reader.take(line)
    reader.close("the text ends")
    reader.log.lines = text.count("\n") + (not text.endswith("\n")) if text else 0
    return reader.log


def _of_use(text: str) -> str:
    """`text` with the lines far from any of use made empty, so that large logs are read quickly.

    Journals whose entries have several lines are left as they are.
    """
    if text.startswith(("{\n", "__")) or len(text) < _BLOCK_LINES * 100:
        return text
    starts = [0]
    for number, newline in enumerate(re.finditer("\n", text), 1):
        if number % _BLOCK_LINES == 0:
            starts.append(newline.end())
    ends = [*starts[1:], len(text)]
    useful = [_is_of_use(text, a, b) for a, b in zip(starts, ends, strict=True)]
    parts = []
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        kept = any(useful[max(place - 1, 0) : place + 2])
        parts.append(text[start:end] if kept else "\n" * text.count("\n", start, end))
    return "".join(parts)


def _is_of_use(text: str, start: int, end: int) -> bool:
    if any(text.find(word, start, end) >= 0 for word in _OF_USE):
        return True
    return any(pattern.search(text, start, end) for pattern in _ROWS_OF_USE)


def _joined(lines: Iterable[LogLine]) -> Iterator[LogLine]:
    """The lines, with those put together that a console tore apart."""
    held: LogLine | None = None
    pieces = 0
    for line in lines:
        if held is not None and pieces < _MAX_JOINED and _continues(held.text, line):
            text = held.text if held.text.endswith(" ") else held.text + " "
            held = LogLine(
                held.number, text + line.text.strip(), held.origin, held.stamp, held.time_s
            )
            pieces += 1
            continue
        if held is not None:
            yield held
        held, pieces = line, 0
    if held is not None:
        yield held


def _continues(open_text: str, line: LogLine) -> bool:
    text = line.text.strip()
    if line.origin is Origin.PROGRAM:
        return False
    if _OPEN_NODE.fullmatch(open_text):
        return bool(re.match(r"[A-Z]\w*(?: free:|:)", text))
    if open_text.startswith("lowmem_reserve[]:") and "=" not in open_text:
        return bool(re.fullmatch(r"-?\d+(?: -?\d+)*", text))
    if text[:1].isdigit() or text[:1] in ("(", "="):
        return bool(_LIST_PIECE.fullmatch(text) and _OPEN_LIST.fullmatch(open_text))
    return False


class _Reader:
    """The reports so far, and the one that is being read."""

    def __init__(self) -> None:
        self.log = OomLog()
        self.report: OomReport | None = None
        self.foreign = False  # inside a dump that is no OOM report
        self.section = ""  # "trace", "stats", "slabs" or "sites": whose rows come
        self.release = ""  # of the last boot seen
        self.sysrq = False
        self.lost_before: str | None = None  # since the last line of a report
        self.strangers = 0  # lines of no known form, in a row
        self.readers: tuple[Callable[[OomReport, LogLine, str], bool], ...] = (
            self._context, self._memory, self._zones, self._group, self._tasks, self._outcome,
            self._rows,
        )  # fmt: skip

    def take(self, line: LogLine) -> None:
        """Read one line."""
        other = other_kill(line)
        if other is not None:
            self.log.others.append(other)
            return
        text = line.text.strip()
        if _LOST.match(text):
            self.log.lost.append(f"line {line.number}: {text}")
            self.lost_before = text
            return
        if line.origin is Origin.PROGRAM:
            return
        if self._starts(line, text) or (self.foreign and not self._ends_foreign(line, text)):
            return
        report = self.report
        if report is None:
            self._headless(line, text)
            return
        if any(read(report, line, text) for read in self.readers):
            report.last_line, self.strangers = line.number, 0
            return
        self.strangers += 1
        if not report.kills:
            report.unread_lines += 1
        if self.strangers > _MAX_STRANGERS:
            report.unread_lines -= min(self.strangers, report.unread_lines)
            self.close("other messages follow")

    def _starts(self, line: LogLine, text: str) -> bool:
        """Whether `text` is the head of something."""
        if _FAILURE.match(text):
            self.close("another dump of memory begins")
            self.foreign = True
            self.log.failures += 1
            return True
        if _SYSRQ.match(text):
            self.sysrq = True
            return True
        release = oom_lines.release_of_boot(text)
        if release is not None:
            self.close("the machine boots again")
            self.release, self.foreign = release, False
            return True
        asker = oom_lines.invocation(text)
        if asker is None:
            return False
        self.close("the next report begins")
        self._open(line)
        assert self.report is not None
        self.report.invocation = asker
        self.report.by_sysrq = self.sysrq or asker.order == -1
        self.foreign, self.sysrq = False, False
        return True

    def _open(self, line: LogLine) -> None:
        self.report = OomReport(
            first_line=line.number, last_line=line.number, stamp=line.stamp, time_s=line.time_s,
            release=self.release,
        )  # fmt: skip
        self.section, self.strangers = "", 0

    def _ends_foreign(self, line: LogLine, text: str) -> bool:
        if oom_lines.kill_line(text) or oom_lines.choice_line(text):
            self.foreign = False
        return not self.foreign

    def _headless(self, line: LogLine, text: str) -> None:
        """A line of a report whose beginning is not in the text."""
        reaped = oom_lines.reaped_line(text)
        if reaped is not None:
            self._reap(reaped.pid, line, text)
            return
        self._open(line)
        report = self.report
        assert report is not None
        wanted = (self._zones, self._group, self._tasks, self._outcome)
        if not any(read(report, line, text) for read in wanted):
            self.report = None

    def close(self, why: str) -> None:
        """Finish the report that is being read."""
        if self.report is not None and _is_a_report(self.report):
            note_missing(self.report, why, self.lost_before)
            self.log.reports.append(self.report)
            self.lost_before = None
        self.report, self.section = None, ""

    # the readers: each says whether the line was one of its own

    def _context(self, report: OomReport, line: LogLine, text: str) -> bool:
        asker = report.invocation
        if asker is not None and oom_lines.context(text, asker):
            report.release = asker.release or report.release
            return True
        if text.startswith(("Call Trace:", "Call trace:", "Backtrace:", "Stack:", "Call Trace")):
            self.section = "trace"
            return True
        if report.mem_info is None and oom_lines.is_stack(text):
            return True
        frame = oom_lines.frame(text)
        if frame is not None and " from " in text and report.mem_info is None:
            self.section = "trace"  # 32-bit ARM since 5.18 begins without a word
        if self.section != "trace":
            return False
        if frame is not None:
            (report.doubtful_trace if frame[1] else report.trace).append(frame[0])
        return frame is not None or text in ("<TASK>", "</TASK>") or _is_register(text)

    def _memory(self, report: OomReport, line: LogLine, text: str) -> bool:
        info = report.mem_info or MemInfoText()
        if text == "Mem-Info:" or text.startswith("Mem-info:"):
            self.section = ""
        elif (figures := oom_lines.global_line(text)) is not None:
            info.pages.update(figures)
        elif (pages := oom_lines.pages_line(text)) is not None:
            if pages[0]:
                setattr(info, pages[0], pages[1])
        elif (swap := oom_lines.swap_line(text)) is not None:
            setattr(info, swap[0], swap[1])
        elif (pool := oom_lines.huge_line(text)) is not None:
            info.huge_pools.append(pool)
        elif (node := oom_lines.node_line(text)) is not None:
            info.nodes.append(NodeText(node=node[0], kib=node[1], all_unreclaimable=node[2]))
        elif not text.startswith(("Swap cache stats:", "CPU ")) and "per-cpu:" not in text:
            return False
        report.mem_info = info
        return True

    def _zones(self, report: OomReport, line: LogLine, text: str) -> bool:
        info = report.mem_info or MemInfoText()
        if (zone := oom_lines.zone_line(text)) is not None:
            info.zones.append(
                ZoneText(node=zone[0], name=zone[1], kib=zone[2], all_unreclaimable=zone[3])
            )
        elif (reserve := oom_lines.reserve_line(text)) is not None:
            if info.zones and info.zones[-1].lowmem_reserve_pages is None:
                info.zones[-1].lowmem_reserve_pages = reserve
        elif (blocks := oom_lines.blocks_line(text)) is not None:
            node, name, counts, types, page_kib = blocks
            found = [zone for zone in info.zones if (zone.node, zone.name) == (node, name)]
            if not found:  # its own line is lost
                found = [ZoneText(node=node, name=name)]
                info.zones.extend(found)
            found[-1].blocks, found[-1].block_types = counts, types
            found[-1].kib["page"] = page_kib
        else:
            return False
        report.mem_info = info
        return True

    def _group(self, report: OomReport, line: LogLine, text: str) -> bool:
        group = report.memcg or MemcgText()
        if (counter := oom_lines.counter_line(text)) is not None:
            setattr(group, counter[0], counter[1])
        elif (kept := oom_lines.protected_line(text)) is not None:
            report.protected_kib, self.section = kept, ""
            return True
        elif (paths := oom_lines.limit_line(text)) is not None:
            group.task_path, group.limit_path = paths
        elif (stats := oom_lines.stats_line(text)) is not None:
            group.groups.append(GroupStat(path=stats[0], stat=stats[1]))
            group.limit_path = group.limit_path or stats[0] or None
            self.section = "stats"
            report.memcg = group
            return True
        elif self.section == "stats" and (stat := oom_lines.stat_line(text)) is not None:
            if group.groups:
                group.groups[-1].stat[stat[0]] = stat[1]
            return True
        else:
            return False
        self.section, report.memcg = "", group
        return True

    def _tasks(self, report: OomReport, line: LogLine, text: str) -> bool:
        head = oom_lines.table_head(text)
        if head is not None:
            report.columns, self.section = head, "tasks"
            return True
        row = oom_lines.task_row(text, report.columns)
        if row is not None:
            report.tasks.append(row)
            self.section = "tasks"
        return row is not None or text.startswith("Tasks state (memory values in pages)")

    def _outcome(self, report: OomReport, line: LogLine, text: str) -> bool:
        if (verdict := oom_lines.verdict_line(text)) is not None:
            report.verdict = verdict
        elif (path := oom_lines.group_line(text)) is not None:
            report.whole_group = path
        elif (choice := oom_lines.choice_line(text)) is not None:
            choice.line, report.choice = line.number, choice
            report.allocating_task |= "oom_kill_allocating_task" in choice.scope
        elif (kill := oom_lines.kill_line(text)) is not None:
            kill.line = line.number
            self._killed(report, kill, line)
        elif (reaped := oom_lines.reaped_line(text)) is not None:
            self._reap(reaped.pid, line, text)
        elif text.startswith("Out of memory and no killable processes"):
            report.no_killable = True
        elif (panic := _PANIC.match(text)) is not None and report.invocation is not None:
            report.panic = panic[1]
        elif text.startswith("Out of memory: ") and "panic_on_oom is enabled" in text:
            report.panic = text
        else:
            return False
        return True

    def _rows(self, report: OomReport, line: LogLine, text: str) -> bool:
        if text.startswith("Unreclaimable slab info:"):
            self.section = "slabs"
            return True
        if text.startswith("Memory allocations:"):
            self.section = "sites"
            return True
        slab = oom_lines.slab_line(text) if self.section == "slabs" else None
        site = oom_lines.site_line(text) if self.section == "sites" else None
        if slab is not None:
            report.slabs.append(slab)
        if site is not None:
            report.sites.append(site)
        return slab is not None or site is not None or text.split()[:3] == ["Name", "Used", "Total"]

    def _killed(self, report: OomReport, kill: Kill, line: LogLine) -> None:
        """A kill belongs to the open report, unless that has its own: then it stands alone."""
        if not report.kills or report.whole_group is not None:
            report.kills.append(kill)
            report.allocating_task |= "oom_kill_allocating_task" in kill.scope
            return
        self.close("the next kill follows")
        self._open(line)
        assert self.report is not None
        self.report.kills.append(kill)

    def _reap(self, pid: int, line: LogLine, text: str) -> None:
        """What the reaper says belongs to the last report that killed `pid`."""
        reaped = oom_lines.reaped_line(text)
        reports = [*self.log.reports, *([self.report] if self.report is not None else [])]
        for report in reversed(reports[-50:]):
            if reaped is not None and any(kill.pid == pid for kill in report.kills):
                report.reaped.append(reaped)
                report.last_line = line.number
                return


def _is_a_report(report: OomReport) -> bool:
    """Whether a text without a head has enough of a report to be called one."""
    if report.invocation is not None or report.kills or report.verdict or report.choice:
        return True
    return bool(report.tasks or report.memcg or report.no_killable or report.panic) or (
        report.mem_info is not None and len(report.mem_info.zones) > 0
    )


def _is_register(text: str) -> bool:
    return bool(re.match(r"R[A-Z0-9]{2}: |RIP: |RSP: |Code: |EIP: |EAX: |ESI: |DS: ", text))
