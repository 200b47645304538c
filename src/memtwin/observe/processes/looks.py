"""Owns looking at all processes cheaply: statm of each, costly files only where something moved.

Imports observe/source and the room's `walk_budget`. Knows nothing of stores. A process's statm
stays open, so that a look is one pread(); the kernel binds it to the process, so a reused pid can't
be taken for the old one.

smaps_rollup walks the page tables of a process under its mmap lock, and stalls its page faults for
so long. So it is read only where RSS moved since the last time, and only while the budget affords
it; status and maps are paid from the same budget.
"""

from __future__ import annotations

import os
import resource
import time
from typing import cast

from memtwin.observe.processes.walk_budget import WalkBudget, Wish
from memtwin.observe.source import SmallFiles, TreeSource

MOVED_SHARE = 64  # RSS moved by 1/64 is news ...
MOVED_PAGES = 64  # ... or by this many pages, whichever is more
_FIRST_FILES = ("stat", "status", "cmdline", "cgroup")
_SMALL_READ = 256
_SPARE_FDS = 64


class _Known:
    """One process."""

    __slots__ = (
        "areas_vss", "fd", "read_rss", "read_s", "refused", "rss", "statm", "status_rss", "vss"
    )  # fmt: skip

    def __init__(self, fd: int, now_s: float) -> None:
        self.fd = fd  # -1: no fd to spare, opened for each look
        self.statm = b""
        self.vss = self.rss = 0
        self.read_rss = -1  # RSS when smaps_rollup was read last; -1 never
        self.read_s = now_s  # and when that was; when it was first seen
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
        self.source = source
        self.files = SmallFiles(source, "/proc")
        self.known: dict[str, _Known] = {}
        self.kernel_threads: set[str] = set()
        self.unreadable = 0
        self.budget = WalkBudget(share, lambda pid: self.files.line_count(f"{pid}/maps"))
        self._looked_s = time.monotonic()
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
        now_s = time.monotonic()
        names = os.listdir("/proc") if self.source.is_live else self.source.names("/proc")
        present = {name for name in names if name.isdigit()}
        for pid in [pid for pid in self.known if pid not in present]:
            self._forget(pid, gone)
        self.kernel_threads &= present
        wishes: list[Wish] = []
        for pid in present - self.kernel_threads:
            known = self.known.get(pid) or self._meet(pid, texts, now_s)
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
                    wishes.append(Wish(pid, change, now_s - known.read_s, known.rss))
        self.budget.earn(now_s - self._looked_s)
        self._looked_s = now_s
        for wish in self.budget.affordable(wishes):
            self._walk(wish, texts, now_s)
        if thorough:
            self._thorough(texts)

    def forget_texts(self) -> None:
        """Let the next look put every text again, as the first of a journal must have them."""
        for known in self.known.values():
            known.close()
        self.known.clear()  # what walks cost is still known
        self.kernel_threads.clear()

    def close(self) -> None:
        """Close what is open."""
        self.forget_texts()

    def _meet(self, pid: str, texts: dict[str, bytes], now_s: float) -> _Known | None:
        """A process seen for the first time: who it is, and its statm left open."""
        known = _Known(self._opened(pid), now_s)
        statm = self._statm(pid, known)
        if statm is None:
            self.unreadable += 1
            known.close()
            return None
        for name in _FIRST_FILES:
            text = self._text(f"{pid}/{name}")
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
            return self._text(f"{pid}/statm")
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
            self.budget.forget(pid)
        gone += [f"/proc/{pid}/{name}" for name in ("statm", "smaps_rollup", *_FIRST_FILES)]
        gone.append(f"/memtwin/processes/{pid}/areas")

    def _walk(self, wish: Wish, texts: dict[str, bytes], now_s: float) -> None:
        pid = cast("str", wish.key)
        known = self.known[pid]
        began = time.thread_time_ns()
        text = self._text(f"{pid}/smaps_rollup")
        self.budget.paid(wish, time.thread_time_ns() - began)
        known.read_rss, known.read_s = known.rss, now_s
        if text is None:
            known.refused = True
            self.unreadable += 1
        else:
            texts[f"/proc/{pid}/smaps_rollup"] = text

    def _thorough(self, texts: dict[str, bytes]) -> None:
        for pid, known in self.known.items():
            if self.budget.is_spent:
                return
            began = time.thread_time_ns()
            if known.status_rss != known.rss:
                known.status_rss = known.rss
                text = self._text(f"{pid}/status")
                if text is not None:
                    texts[f"/proc/{pid}/status"] = text
            if known.areas_vss != known.vss and not known.refused:
                known.areas_vss = known.vss
                maps = self._text(f"{pid}/maps")
                if maps:
                    texts[f"/memtwin/processes/{pid}/areas"] = areas_text(maps)
            self.budget.charge(time.thread_time_ns() - began)

    def _text(self, name: str) -> bytes | None:
        """The whole of a file below /proc, or None."""
        try:
            return self.files.read_whole(name)
        except (OSError, ValueError):
            return None


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
