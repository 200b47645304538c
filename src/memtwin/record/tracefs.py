"""Owns a private instance of the kernel's tracing: its own mount, its own buffers, its own events.

Imports errors only. What it sets up it takes away again, on every way out; an instance left by a
killed recorder is taken away by the next. Decodes the ring buffers' pages with NumPy. Knows
nothing of what the events mean.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from memtwin.errors import UserError

_PREFIX = "memtwin-"
_MOUNT_PREFIX = "memtwin-tracefs-"
_BUFFER_KIB = 16384  # of each CPU
_POLL_S = 0.01
_FIELD = re.compile(r"field:([^;]*?)(\w+)(\[\w*\])?;\s*offset:(\d+);\s*size:(\d+);")
# include/linux/ring_buffer.h enum ring_buffer_type, v6.12
_PADDING, _TIME_EXTEND, _TIME_STAMP = 29, 30, 31
_COMMIT_MASK = 0xFFFFF  # kernel/trace/ring_buffer.c RB_MISSED_MASK, v6.12: flags are above


@dataclass
class Records:
    """Decoded events: time, type, thread, and where each one's bytes begin in `raw`."""

    raw: NDArray[np.uint8]
    time_ns: NDArray[np.uint64]
    kind: NDArray[np.uint16]
    tid: NDArray[np.int32]
    offset: NDArray[np.int64]


class TraceInstance:
    """A private tracefs mount and instance, from `open()` to `close()`.

    Raises UserError when the kernel or the permissions don't allow it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._mount: Path | None = None
        self._path: Path | None = None
        self._readers: list[_CpuReader] = []
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.lost = 0
        self.ids: dict[str, int] = {}
        self.fields: dict[str, dict[str, tuple[int, int]]] = {}

    def open(self, events: list[str]) -> None:
        """Mount, make the instance, enable those of `events` that this kernel has."""
        if os.geteuid() != 0:
            raise UserError("--life needs root: it uses the kernel's tracing (tracefs)")
        self._remove_stale_mounts()
        self._mount = Path(tempfile.mkdtemp(prefix=f"{_MOUNT_PREFIX}{os.getpid()}-"))
        if self._libc.mount(b"tracefs", str(self._mount).encode(), b"tracefs", 0, None) != 0:
            reason = os.strerror(ctypes.get_errno()).lower()
            self._mount.rmdir()
            self._mount = None
            raise UserError(f"--life: tracefs can't be mounted ({reason})")
        instances = self._mount / "instances"
        for left in instances.glob(f"{_PREFIX}*"):
            if not Path("/proc", left.name.removeprefix(_PREFIX)).exists():
                self._remove(left)
        self._path = instances / f"{_PREFIX}{os.getpid()}"
        try:
            self._path.mkdir()
            self._set("tracing_on", "0")
            self._set("buffer_size_kb", str(_BUFFER_KIB))
            self._set("trace_clock", "mono")
            self._set("options/event-fork", "1")
            for event in events:
                self._enable(event)
        except OSError as error:
            raise UserError(f"--life: {error.filename}: {error.strerror}") from None

    def _enable(self, event: str) -> None:
        assert self._path is not None
        directory = self._path / "events" / event
        if not directory.exists():
            return
        name = event.partition("/")[2]
        self.ids[name] = int((directory / "id").read_text())
        text = (directory / "format").read_text()
        self.fields[name] = {m[2]: (int(m[4]), int(m[5])) for m in _FIELD.finditer(text)}
        (directory / "enable").write_text("1")

    def _set(self, name: str, value: str) -> None:
        assert self._path is not None
        (self._path / name).write_text(value)

    def start(self, pid: int) -> None:
        """Record process `pid` and, from now on, its descendants."""
        assert self._path is not None
        self._set("set_event_pid", str(pid))
        for cpu in sorted((self._path / "per_cpu").iterdir()):
            reader = _CpuReader(cpu, self._directory)
            self._readers.append(reader)
            reader.start()
        self._set("tracing_on", "1")

    @property
    def size_bytes(self) -> int:
        """Raw bytes read so far."""
        return sum(reader.size_bytes for reader in self._readers)

    @property
    def failed(self) -> OSError | None:
        """What stopped a reader: a full disk."""
        return next((r.failed for r in self._readers if r.failed is not None), None)

    def stop(self) -> list[Records]:
        """Stop recording; the events of each CPU."""
        assert self._path is not None
        self._set("tracing_on", "0")
        for reader in self._readers:
            reader.stopping.set()
        for reader in self._readers:
            reader.join()
            stats = (reader.cpu / "stats").read_text()
            counts = re.findall(r"^(?:overrun|dropped events): (\d+)", stats, re.MULTILINE)
            self.lost += sum(int(n) for n in counts)
        return [decode(reader.take()) for reader in self._readers]

    def close(self) -> None:
        """Take away the instance, the mount and its directory; safe to call twice."""
        for reader in self._readers:
            reader.stopping.set()
            reader.join()
        self._readers = []
        if self._path is not None and self._path.exists():
            self._remove(self._path)
        self._path = None
        if self._mount is not None:
            self._libc.umount2(str(self._mount).encode(), 0)
            self._mount.rmdir()
        self._mount = None

    def _remove_stale_mounts(self) -> None:
        """Mounts of recorders that were killed; the names say whose they were."""
        for left in Path(tempfile.gettempdir()).glob(f"{_MOUNT_PREFIX}*"):
            pid = left.name.removeprefix(_MOUNT_PREFIX).partition("-")[0]
            if pid.isdecimal() and not Path("/proc", pid).exists():
                self._libc.umount2(str(left).encode(), 0)
                with contextlib.suppress(OSError):
                    left.rmdir()

    def _remove(self, path: Path) -> None:
        for _ in range(50):
            try:
                (path / "tracing_on").write_text("0")
                path.rmdir()
                return
            except OSError:
                time.sleep(0.02)  # a reader's descriptor is still being closed


class _CpuReader(threading.Thread):
    """Copies one CPU's buffer to a file without a name, a page at a time."""

    def __init__(self, cpu: Path, directory: Path) -> None:
        super().__init__(daemon=True)
        self.cpu = cpu
        self.stopping = threading.Event()
        self.size_bytes = 0
        self.failed: OSError | None = None
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115
        self._page_bytes = _page_bytes(cpu)

    def run(self) -> None:
        """Read until told to stop and nothing is left."""
        fd = os.open(self.cpu / "trace_pipe_raw", os.O_RDONLY | os.O_NONBLOCK)
        try:
            while True:
                last = self.stopping.is_set()
                try:
                    page = os.read(fd, self._page_bytes)
                except BlockingIOError:
                    page = b""
                if page:
                    self._file.write(page.ljust(self._page_bytes, b"\0"))
                    self.size_bytes += self._page_bytes
                elif last:
                    return
                else:
                    self.stopping.wait(_POLL_S)
        except OSError as error:
            self.failed = error
        finally:
            os.close(fd)

    def take(self) -> tuple[NDArray[np.uint8], int]:
        """The raw pages and the size of one."""
        self._file.seek(0)
        raw = np.frombuffer(self._file.read(), np.uint8)
        self._file.close()
        return raw, self._page_bytes


def _page_bytes(cpu: Path) -> int:
    try:
        return int((cpu.parent.parent / "buffer_subbuf_size_kb").read_text()) * 1024
    except OSError:
        return os.sysconf("SC_PAGE_SIZE")  # before 6.8 it could not be chosen


def words_at(raw: NDArray[np.uint8], offset: NDArray[np.int64], dtype: str) -> NDArray[Any]:
    """The numbers of type `dtype` that begin at each of the byte offsets."""
    width = np.dtype(dtype).itemsize
    numbers: NDArray[Any] = raw[offset[:, None] + np.arange(width)].reshape(-1).view(dtype)
    return numbers


def decode(pages: tuple[NDArray[np.uint8], int]) -> Records:
    """The events in ring buffer pages: one step takes the next event of every page at once."""
    raw, page_bytes = pages
    starts = np.arange(len(raw) // page_bytes, dtype=np.int64) * page_bytes
    raw = np.concatenate([raw, np.zeros(64, np.uint8)])
    time_ns = words_at(raw, starts, "<u8").copy()
    ends = starts + 16 + (words_at(raw, starts + 8, "<u8") & np.uint64(_COMMIT_MASK)).astype(
        np.int64
    )
    at = starts + 16
    found: list[tuple[NDArray[Any], ...]] = []
    live = np.flatnonzero(at + 4 <= ends)
    while len(live):
        head = words_at(raw, at[live], "<u4")
        length, delta = head & np.uint32(31), (head >> np.uint32(5)).astype(np.uint64)
        second = words_at(raw, at[live] + 4, "<u4").astype(np.int64)
        wide = delta | second.astype(np.uint64) << np.uint64(27)
        stamp, extend = length == _TIME_STAMP, length == _TIME_EXTEND
        padding = length == _PADDING
        high = time_ns[live] & ~np.uint64((1 << 59) - 1)
        time_ns[live] = np.where(
            stamp, high | wide, time_ns[live] + np.where(extend, wide, np.where(padding, 0, delta))
        ).astype(np.uint64)
        event = ~(stamp | extend | padding)
        long = event & (length == 0)
        body = at[live] + np.where(long, 8, 4)
        size = np.where(long, 4 + second, 4 + 4 * length.astype(np.int64))
        size = np.where(stamp | extend, 8, np.where(padding, 4 + second, size))
        size = np.where(padding & (delta == 0), page_bytes, size)  # nothing more in the page
        which = live[event]
        found.append((time_ns[which].copy(), body[event]))
        at[live] += size
        live = live[at[live] + 4 <= ends[live]]
    time_all = np.concatenate([f[0] for f in found]) if found else np.zeros(0, np.uint64)
    body_all = np.concatenate([f[1] for f in found]) if found else np.zeros(0, np.int64)
    order = np.argsort(time_all, kind="stable")
    time_all, body_all = time_all[order], body_all[order]
    kind = words_at(raw, body_all, "<u2")
    tid = words_at(raw, body_all + 4, "<i4")
    return Records(raw, time_all, kind, tid, body_all)
