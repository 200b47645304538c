"""Owns /proc's files about the whole system that hold no memory figures: stat, uptime, loadavg,
diskstats, cpuinfo, version, kernel names, mounts.

Imports the records of observe/system. Knows of a machine only what `SystemView` names. Times are
virtual. With a recorded start, a counter is the start's figure plus what the twin counted since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from memtwin.observe.system import (
    DISKSTATS_PATH,
    LOADAVG_PATH,
    SECTOR_BYTES,
    STAT_PATH,
    DiskRow,
    LoadAvg,
    StatText,
    parse_diskstats,
    parse_loadavg,
    parse_stat,
    render_diskstats,
    render_loadavg,
    render_stat,
)
from memtwin.units import PAGE_SIZE

TICK_NS = 10_000_000  # USER_HZ is 100: include/asm-generic/param.h, v6.12
PID_MAX = 32768  # include/linux/threads.h PID_MAX_DEFAULT, v6.12
_PAGE_SECTORS = PAGE_SIZE // SECTOR_BYTES
_NR_CPU_COLUMNS = 10  # fs/proc/stat.c show_stat(), v6.12: user ... guest_nice
_USER, _SYSTEM, _IDLE = 0, 2, 3
_COUNTED_DISK_FIGURES = ("reads", "sectors_read", "writes", "sectors_written")


@dataclass
class DiskView:
    """One block device: requests and pages so far."""

    name: str  # as in /proc/diskstats
    major: int
    minor: int
    size_bytes: int
    rotational: bool = False
    algorithm: str = ""  # of a zram device, whose requests nobody counts; empty: a disk
    reads: int = 0
    pages_read: int = 0
    writes: int = 0
    pages_written: int = 0


@dataclass
class SystemView:
    """The machine at one moment. Counts begin at boot, the twin's own if it was booted."""

    now_ns: int
    cpu_ns: int  # of all CPUs, what was spent computing
    user_ns: int  # of it, in programs; the rest in the kernel
    nr_cpus: int
    tasks_made: int
    running: int  # tasks that have a CPU or could use one
    blocked: int  # tasks that wait for a device
    threads: int
    last_pid: int
    release: str
    machine: str  # as uname -m
    disks: list[DiskView] = field(default_factory=list)


class SystemTexts:
    """Answers for these files. Make it when the machine has booted, before it runs anything."""

    def __init__(self, view: Callable[[], SystemView], start: Mapping[str, str]) -> None:
        self.view = view
        self.start = start
        self._base = view()
        self._makers: dict[str, Callable[[], str]] = {
            STAT_PATH: self.stat,
            "/proc/uptime": self.uptime,
            LOADAVG_PATH: self.loadavg,
            DISKSTATS_PATH: self.diskstats,
            "/proc/cpuinfo": self.cpuinfo,
            "/proc/version": self.version,
            "/proc/sys/kernel/ostype": lambda: "Linux\n",
            "/proc/sys/kernel/osrelease": lambda: f"{self.view().release}\n",
            "/proc/sys/kernel/version": lambda: f"{_BUILD}\n",
            "/proc/sys/kernel/pid_max": lambda: f"{PID_MAX}\n",
        }

    def read(self, path: str) -> str | None:
        """The text of `path`, or None when it is none of these files."""
        maker = self._makers.get(path)
        return None if maker is None else maker()

    def paths(self) -> list[str]:
        """The paths of these files."""
        return list(self._makers)

    def stat(self) -> str:
        """/proc/stat.

        # DIFFERS: all that is not computing stands under idle, none under iowait; an even share a
        # CPU, no interrupts or context switches; wa, in and cs of vmstat
        """
        now, base = self.view(), self._base
        rows = parse_stat(self.start.get(STAT_PATH, "")).rows
        started = "cpu" in rows
        user = (now.user_ns - (base.user_ns if started else 0)) // TICK_NS
        busy = (now.cpu_ns - (base.cpu_ns if started else 0)) // TICK_NS
        nr_cpus = now.nr_cpus
        passed = (now.now_ns - (base.now_ns if started else 0)) * nr_cpus // TICK_NS
        shares = {"cpu": (user, busy, passed)}
        for cpu in range(nr_cpus):
            shares[f"cpu{cpu}"] = user // nr_cpus, busy // nr_cpus, passed // nr_cpus
        for name, (in_user, busy, total) in shares.items():
            figures = rows.setdefault(name, [0] * _NR_CPU_COLUMNS)
            figures[_USER] += in_user
            figures[_SYSTEM] += busy - in_user
            figures[_IDLE] += max(total - busy, 0)
        made = rows.get("processes", [0])[0] + now.tasks_made - base.tasks_made * started
        rows.setdefault("btime", [0])  # MODEL: virtual time began with the epoch
        rows["processes"] = [made]
        rows["procs_running"], rows["procs_blocked"] = [now.running], [now.blocked]
        return render_stat(StatText(rows))

    def uptime(self) -> str:
        """/proc/uptime: seconds since boot, and of all CPUs not spent computing."""
        # fs/proc/uptime.c uptime_proc_show(), v6.12
        now = self.view()
        idle_ns = max(now.now_ns * now.nr_cpus - now.cpu_ns, 0)
        return f"{_hundredths(now.now_ns)} {_hundredths(idle_ns)}\n"

    def loadavg(self) -> str:
        """/proc/loadavg.

        # DIFFERS: load averages are those of the recorded start, else 0.00; nothing samples the
        # run queue every 5 s; what uptime and top print first
        """
        now, text = self.view(), self.start.get(LOADAVG_PATH)
        load = parse_loadavg(text) if text else LoadAvg(0.0, 0.0, 0.0, 0, 0, 0)
        if text:
            load.threads += now.threads - self._base.threads
            load.last_pid = max(load.last_pid, now.last_pid)
        else:
            load.threads, load.last_pid = now.threads, now.last_pid
        load.running = now.running
        return render_loadavg(load)

    def diskstats(self) -> str:
        """/proc/diskstats.

        # DIFFERS: merges and times stand as 0; a device counts requests and pages only; the merged
        # and ms columns of vmstat -d
        """
        found = {row.name: row for row in parse_diskstats(self.start.get(DISKSTATS_PATH, ""))}
        before = {disk.name: disk for disk in self._base.disks}
        for disk in self.view().disks:
            if disk.algorithm:
                continue
            row = found.get(disk.name)
            if row is None:
                found[disk.name] = _disk_row(disk)
                continue
            grown, base = _disk_row(disk), _disk_row(before.get(disk.name, disk))
            for name in _COUNTED_DISK_FIGURES:
                since = getattr(grown, name) - getattr(base, name)
                setattr(row, name, getattr(row, name) + since)
        return render_diskstats(list(found.values()))

    def cpuinfo(self) -> str:
        """/proc/cpuinfo: what programs count CPUs by.

        # MODEL: a CPU without a maker: only its number and the twin's name for it
        """
        cpus = range(self.view().nr_cpus)
        return "".join(f"processor\t: {n}\nmodel name\t: memtwin\n\n" for n in cpus)

    def version(self) -> str:
        """/proc/version: the release of the described kernel, and that a twin runs it."""
        text = self.start.get("/proc/version")
        return text or f"Linux version {self.view().release} (memtwin) {_BUILD}\n"


_BUILD = "#1 SMP memtwin"  # MODEL: a twin was never built


def _hundredths(duration_ns: int) -> str:
    return f"{duration_ns // 1_000_000_000}.{duration_ns // TICK_NS % 100:02d}"


def _disk_row(disk: DiskView) -> DiskRow:
    return DiskRow(
        major=disk.major,
        minor=disk.minor,
        name=disk.name,
        reads=disk.reads,
        reads_merged=0,
        sectors_read=disk.pages_read * _PAGE_SECTORS,
        read_ms=0,
        writes=disk.writes,
        writes_merged=0,
        sectors_written=disk.pages_written * _PAGE_SECTORS,
        write_ms=0,
        in_flight=0,
        io_ms=0,
        weighted_ms=0,
    )
