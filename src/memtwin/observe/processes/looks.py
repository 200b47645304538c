"""Owns looking at all processes cheaply: statm of each, costly files only where something moved.

Imports observe/source. Knows nothing of stores. A process's statm stays open, so that a look
is one pread(); the kernel binds it to the process, so a reused pid can't be taken for the old one.

smaps_rollup walks the page tables of a process under its mmap lock, and stalls its page faults for
so long. So it is read only where RSS moved since the last time, dearest news first, and only while
the CPU time that all of them cost stays within a share of the time gone by.
"""

from __future__ import annotations

import os
import resource
import time

from memtwin.observe.source import TreeSource

PAGE_WALK_NS = 60.0  # measured: a first guess of smaps_rollup's cost for each resident page
FILE_NS = 40_000.0  # and of opening, reading and closing a file of a process
LONGEST_CREDIT_S = 30.0  # of looks without spending: what a large process may cost at once
MOVED_SHARE = 64  # RSS moved by 1/64 is news ...
MOVED_PAGES = 64  # ... or by this many pages, whichever is more
_FIRST_FILES = ("stat", "status", "cmdline", "cgroup")
_SMALL_READ, _READ = 256, 1 << 16
_SPARE_FDS = 64


class _Known:
    """One process."""

    __slots__ = ("areas_vss", "fd", "read_rss", "refused", "rss", "statm", "status_rss", "vss")

    def __init__(self, fd: int) -> None:
        self.fd = fd  # -1: no fd to spare, opened for each look
        self.statm = b""
        self.vss = self.rss = 0
        self.read_rss = -1  # RSS when smaps_rollup was read last; -1 never
        self.status_rss = -1
        self.areas_vss = -1
        self.refused = False  # smaps_rollup is not ours to read

    def close(self) -> None:
        """Close what is open."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class ProcessLooks:
    """Looks at the processes of a source; `share` is of one CPU, for the costly files."""

    def __init__(self, source: TreeSource, share: float) -> None:
        self.source, self.share = source, share
        self._read = _read if source.is_live else source.read_bytes
        self.known: dict[str, _Known] = {}
        self.kernel_threads: set[str] = set()
        self.unreadable = 0
        self._walk_ns = PAGE_WALK_NS
        self._credit_ns = 0.0
        self._looked_ns = time.monotonic_ns()
        self._kept_fds = self._fd_room() if source.is_live else 0

    @staticmethod
    def _fd_room() -> int:
        """How many files may stay open; the soft limit is raised to the hard one."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (ValueError, OSError):
            pass  # not ours to raise
        return max((soft if soft > 0 else 1 << 16) - _SPARE_FDS, 0)

    def look(self, texts: dict[str, bytes], gone: list[str], *, thorough: object = None) -> None:
        """Put what changed into `texts` (path -> text) and what ended into `gone`.

        With `thorough`, status and the extent of the maps are read too where they moved.
        """
        names = os.listdir("/proc") if self.source.is_live else self.source.names("/proc")
        present = {name for name in names if name.isdigit()}
        for pid in [pid for pid in self.known if pid not in present]:
            self._forget(pid, gone)
        self.kernel_threads &= present
        moved: list[tuple[int, str]] = []
        for pid in present - self.kernel_threads:
            known = self.known.get(pid) or self._meet(pid, texts)
            if known is None:
                continue
            statm = self._statm(pid, known)
            if statm is None:
                self._forget(pid, gone)
                continue
            if statm != known.statm:
                self._take_statm(pid, known, statm, texts)
            if not known.refused:
                change = abs(known.rss - known.read_rss)
                if known.read_rss < 0 or change >= max(MOVED_PAGES, known.rss // MOVED_SHARE):
                    moved.append((change, pid))
        self._spend(moved, texts)
        if thorough:
            self._thorough(texts)

    def forget_texts(self) -> None:
        """Let the next look put every text again, as the first of a journal must have them."""
        for pid in list(self.known):
            self._forget(pid, [])
        self.kernel_threads.clear()

    def close(self) -> None:
        """Close what is open."""
        self.forget_texts()

    def _meet(self, pid: str, texts: dict[str, bytes]) -> _Known | None:
        """A process seen for the first time: who it is, and its statm left open."""
        known = _Known(self._opened(pid))
        statm = self._statm(pid, known)
        if statm is None:
            self.unreadable += 1
            known.close()
            return None
        for name in _FIRST_FILES:
            text = self._read(f"/proc/{pid}/{name}")
            if text is not None:
                texts[f"/proc/{pid}/{name}"] = text
        if statm.startswith(b"0 "):  # a kernel thread, or a zombie: nothing to follow
            known.close()
            texts[f"/proc/{pid}/statm"] = statm
            self.kernel_threads.add(pid)
            return None
        self.known[pid] = known
        return known

    def _opened(self, pid: str) -> int:
        if len(self.known) >= self._kept_fds:
            return -1
        try:
            return os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return -1

    def _statm(self, pid: str, known: _Known) -> bytes | None:
        if known.fd < 0:
            return self._read(f"/proc/{pid}/statm")
        try:
            return os.pread(known.fd, _SMALL_READ, 0) or None
        except OSError:
            return None

    def _take_statm(self, pid: str, known: _Known, statm: bytes, texts: dict[str, bytes]) -> None:
        words = statm.split(maxsplit=2)
        known.statm = statm
        known.vss, known.rss = int(words[0]), int(words[1])
        texts[f"/proc/{pid}/statm"] = statm

    def _forget(self, pid: str, gone: list[str]) -> None:
        known = self.known.pop(pid, None)
        if known is not None:
            known.close()
        gone += [f"/proc/{pid}/{name}" for name in ("statm", "smaps_rollup", *_FIRST_FILES)]
        gone.append(f"/memtwin/processes/{pid}/areas")

    def _spend(self, moved: list[tuple[int, str]], texts: dict[str, bytes]) -> None:
        """Read smaps_rollup of those that moved most, as far as the credit goes."""
        now = time.monotonic_ns()
        gained = (now - self._looked_ns) * self.share
        self._looked_ns = now
        most = LONGEST_CREDIT_S * 1e9 * self.share
        self._credit_ns = min(self._credit_ns + gained, most)
        moved.sort(reverse=True)
        for _, pid in moved:
            known = self.known[pid]
            expected = min(FILE_NS + known.rss * self._walk_ns, most)
            if expected > self._credit_ns:
                continue  # a smaller one may still fit
            began = time.thread_time_ns()
            text = self._read(f"/proc/{pid}/smaps_rollup")
            spent = time.thread_time_ns() - began
            self._credit_ns -= spent
            if known.rss > 4096:  # small ones tell the file's cost, not the walk's
                self._walk_ns += 0.2 * (max(spent - FILE_NS, 0.0) / known.rss - self._walk_ns)
            known.read_rss = known.rss
            if text is None:
                known.refused = True
                self.unreadable += 1
            else:
                texts[f"/proc/{pid}/smaps_rollup"] = text

    def _thorough(self, texts: dict[str, bytes]) -> None:
        for pid, known in self.known.items():
            if self._credit_ns <= 0:
                return
            began = time.thread_time_ns()
            if known.status_rss != known.rss:
                known.status_rss = known.rss
                text = self._read(f"/proc/{pid}/status")
                if text is not None:
                    texts[f"/proc/{pid}/status"] = text
            if known.areas_vss != known.vss and not known.refused:
                known.areas_vss = known.vss
                maps = self._read(f"/proc/{pid}/maps")
                if maps:
                    texts[f"/memtwin/processes/{pid}/areas"] = areas_text(maps)
            self._credit_ns -= time.thread_time_ns() - began


def areas_text(maps: bytes) -> bytes:
    """What the maps of a process add up to: bytes of its heap and of its other anonymous areas.

    These are extents, not what is resident: reading them walks no page table.

    >>> areas_text(b"1000-3000 rw-p 00000000 00:00 0     [heap]\\n")
    b'heap 8192\\nanonymous_maps 0\\n'
    """
    heap = anonymous = 0
    for line in maps.splitlines():
        # fs/proc/task_mmu.c show_map_vma(), v6.12: range, permissions, offset, device, inode, name
        words = line.split(maxsplit=5)
        if len(words) < 5 or words[4] != b"0" or words[1][1:2] != b"w":
            continue
        start, _, end = words[0].partition(b"-")
        size_bytes = int(end, 16) - int(start, 16)
        if words[5:] == [b"[heap]"]:
            heap += size_bytes
        elif not words[5:] or words[5].startswith(b"[anon"):
            anonymous += size_bytes
    return b"heap %d\nanonymous_maps %d\n" % (heap, anonymous)


def _read(path: str) -> bytes | None:
    """The whole text of a file of the live host: less to do than for any source."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        pieces = [os.read(fd, _READ)]
        while pieces[-1]:
            pieces.append(os.read(fd, _READ))
        return b"".join(pieces)
    except OSError:
        return None
    finally:
        os.close(fd)
