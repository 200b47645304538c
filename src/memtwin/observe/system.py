"""Owns /proc/stat, diskstats, loadavg, uptime and pressure/*: records, readers and writers.

Imports observe/scan. Knows nothing of scheduling.
"""

from __future__ import annotations

import re

import msgspec

from memtwin.observe.scan import no_match, whole

STAT_PATH = "/proc/stat"
DISKSTATS_PATH = "/proc/diskstats"
LOADAVG_PATH = "/proc/loadavg"
UPTIME_PATH = "/proc/uptime"
PRESSURE_PATHS = ("/proc/pressure/memory", "/proc/pressure/io", "/proc/pressure/cpu")
_PERCENT = r"(\d{1,4}(?:\.\d{1,6})?)"
_PRESSURE = re.compile(
    rf"(\w+) avg10={_PERCENT} avg60={_PERCENT} avg300={_PERCENT} total=(\d{{1,19}})(?: .*)?"
)
SECTOR_BYTES = 512


class StatText(msgspec.Struct):
    """One reading of /proc/stat: each line's figures by name; cpu lines are in ticks (USER_HZ)."""

    rows: dict[str, list[int]]

    def figure(self, name: str) -> int:
        """The first figure of line `name` (ctxt, btime, processes ...); 0 when absent."""
        return self.rows.get(name, [0])[0]

    @property
    def nr_cpus(self) -> int:
        """CPUs online."""
        return sum(1 for name in self.rows if re.fullmatch(r"cpu\d+", name))


class DiskRow(msgspec.Struct):
    """One block device. Sectors are 512 bytes. `more`: discards and flushes."""

    major: int
    minor: int
    name: str
    reads: int
    reads_merged: int
    sectors_read: int
    read_ms: int
    writes: int
    writes_merged: int
    sectors_written: int
    write_ms: int
    in_flight: int
    io_ms: int
    weighted_ms: int
    more: list[int] = []


_DISK_FIGURES = DiskRow.__struct_fields__[3:14]


class PressureRow(msgspec.Struct):
    """One line of a pressure file: percent of time over 10, 60, 300 s, and total stall in us."""

    avg10_percent: float
    avg60_percent: float
    avg300_percent: float
    total_us: int


class Pressure(msgspec.Struct):
    """One reading of a pressure file: some tasks stalled, all tasks stalled.

    /proc/pressure/irq has only the second line, /proc/pressure/cpu before 5.13 only the first.
    """

    some: PressureRow | None = None
    full: PressureRow | None = None


class LoadAvg(msgspec.Struct):
    """One reading of /proc/loadavg."""

    load1: float
    load5: float
    load15: float
    running: int
    threads: int
    last_pid: int


class Uptime(msgspec.Struct, frozen=True):
    """One reading of /proc/uptime; `idle_s` is summed over the CPUs."""

    up_s: float
    idle_s: float


def parse_stat(text: str) -> StatText:
    """The record of a /proc/stat text."""
    rows = {}
    for line in filter(str.strip, text.splitlines()):
        name, *words = line.split()
        rows[name] = [whole(word, STAT_PATH, line) for word in words]
    return StatText(rows)


def render_stat(stat: StatText) -> str:
    """The text of `stat` (fs/proc/stat.c show_stat(), v6.12)."""
    return "".join(
        f"{name}{'  ' if name == 'cpu' else ' '}{' '.join(map(str, figures))}\n"
        for name, figures in stat.rows.items()
    )


def parse_diskstats(text: str) -> list[DiskRow]:
    """The devices of a /proc/diskstats text."""
    rows = []
    for line in filter(str.strip, text.splitlines()):
        words = line.split()
        if len(words) < 14:
            raise no_match(DISKSTATS_PATH, line, "'MAJOR MINOR NAME' and eleven or more figures")
        major, minor = whole(words[0], DISKSTATS_PATH, line), whole(words[1], DISKSTATS_PATH, line)
        figures = [whole(word, DISKSTATS_PATH, line) for word in words[3:]]
        named = dict(zip(_DISK_FIGURES, figures, strict=False))
        rows.append(DiskRow(major=major, minor=minor, name=words[2], **named, more=figures[11:]))
    return rows


def render_diskstats(rows: list[DiskRow]) -> str:
    """The text of `rows` (block/genhd.c diskstats_show(), v6.12)."""
    out = []
    for row in rows:
        figures = [*msgspec.structs.astuple(row)[3:14], *row.more]
        out.append(f"{row.major:>4} {row.minor:>7} {row.name} {' '.join(map(str, figures))}\n")
    return "".join(out)


def parse_pressure(text: str) -> Pressure:
    """The record of a /proc/pressure or memory.pressure text."""
    rows = {}
    for line in filter(str.strip, text.splitlines()):
        match = _PRESSURE.fullmatch(line.strip())
        if match is None:
            raise no_match("pressure", line, "'some avg10=N avg60=N avg300=N total=N'")
        avg10, avg60, avg300 = (float(match[n]) for n in (2, 3, 4))
        rows[match[1]] = PressureRow(avg10, avg60, avg300, int(match[5]))
    if "some" not in rows and "full" not in rows:
        raise no_match("pressure", text, "a line 'some ...' or 'full ...'")
    return Pressure(rows.get("some"), rows.get("full"))


def render_pressure(pressure: Pressure) -> str:
    """The text of `pressure` (kernel/sched/psi.c psi_show(), v6.12)."""
    out = []
    for name, row in (("some", pressure.some), ("full", pressure.full)):
        if row is not None:
            averages = f"avg10={row.avg10_percent:.2f} avg60={row.avg60_percent:.2f}"
            out.append(f"{name} {averages} avg300={row.avg300_percent:.2f} total={row.total_us}\n")
    return "".join(out)


def parse_loadavg(text: str) -> LoadAvg:
    """The record of a /proc/loadavg text."""
    words = text.replace("/", " ").split()
    if len(words) != 6:
        raise no_match(LOADAVG_PATH, text, "'L1 L5 L15 RUNNING/THREADS PID'")
    try:
        load1, load5, load15 = map(float, words[:3])
    except ValueError:
        raise no_match(LOADAVG_PATH, text, "numbers as '0.52'") from None
    running, threads, last_pid = (whole(word, LOADAVG_PATH, text) for word in words[3:])
    return LoadAvg(load1, load5, load15, running, threads, last_pid)


def render_loadavg(load: LoadAvg) -> str:
    """The text of `load` (fs/proc/loadavg.c loadavg_proc_show(), v6.12)."""
    averages = f"{load.load1:.2f} {load.load5:.2f} {load.load15:.2f}"
    return f"{averages} {load.running}/{load.threads} {load.last_pid}\n"


def parse_uptime(text: str) -> Uptime:
    """The record of a /proc/uptime text.

    >>> parse_uptime("10.74 0.31\\n").up_s
    10.74
    """
    words = text.split()
    try:
        return Uptime(float(words[0]), float(words[1]))
    except (ValueError, IndexError):
        raise no_match(UPTIME_PATH, text.rstrip("\n"), "'SECONDS SECONDS'") from None


def render_uptime(uptime: Uptime) -> str:
    """The text of `uptime` (fs/proc/uptime.c uptime_proc_show(), v6.12)."""
    return f"{uptime.up_s:.2f} {uptime.idle_s:.2f}\n"
