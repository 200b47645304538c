"""Owns kmemleak: which objects of the kernel nobody seems to point to any more.

Imports kernel_objects. Reads objects, changes none. Rules are those of mm/kmemleak.c, v6.1: an
object is white while fewer pointers than `min_count` were found to it, gray when enough were, black
when it is to be ignored; gray ones are scanned, until none is left.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

from memtwin.errors import UserError
from memtwin.process.kernel_objects import HZ, KernelObject, KernelObjects

PATH = "/sys/kernel/debug/kmemleak"
GREY, BLACK = 0, -1  # values of min_count: mm/kmemleak.c KMEMLEAK_GREY, KMEMLEAK_BLACK, v6.1
MIN_AGE_JIFFIES = 5 * HZ  # MSECS_MIN_AGE
_FIRST_SCAN_S, _SCAN_WAIT_S = 60, 600  # SECS_FIRST_SCAN, SECS_SCAN_WAIT
_NS_A_S = 1_000_000_000
_ALL_BITS = 0xFFFF_FFFF
COMMANDS = "scan, clear, scan=on, scan=off, scan=SECONDS, stack=on or stack=off"


@dataclass
class Tracked:
    """What kmemleak keeps of an object (mm/kmemleak.c struct kmemleak_object, v6.1)."""

    object: KernelObject
    min_count: int
    count: int = 0
    checksum: int = 0
    is_reported: bool = False
    is_not_scanned: bool = False

    @property
    def is_white(self) -> bool:
        """Not enough pointers to it were found (color_white())."""
        return self.count != BLACK and self.count < self.min_count

    @property
    def is_gray(self) -> bool:
        """Enough were (color_gray())."""
        return self.min_count != BLACK and self.count >= self.min_count


class Kmemleak:
    """kmemleak of one machine; its scans follow `next_ns`, or happen when they are asked for."""

    def __init__(self, objects: KernelObjects, log: Callable[[str], None]) -> None:
        self.objects = objects
        self.log = log
        self.tracked: dict[int, Tracked] = {}
        self.scans_stacks = True
        self.last_scan = 0  # jiffies_last_scan
        self._wait_s = _SCAN_WAIT_S
        self._thread_runs = True  # since boot (CONFIG_DEBUG_KMEMLEAK_AUTO_SCAN)
        self._next_scan_ns = -1  # not before there is an object

    # what is called when objects come and go

    def register(self, pointer: int) -> None:
        """kmemleak_alloc() or kmemleak_vmalloc()."""
        # DIFFERS: only objects that a script allocates are known; those of the rest of the kernel
        # have no contents here; false alarms, and pointers that the rest keeps
        made = self.objects.objects[pointer]
        # MODEL: a vm_struct points to its area all the while, so that of min_count 2
        # (kmemleak_vmalloc()) one is found always; both are left out here
        self.tracked[pointer] = Tracked(made, 1)
        if self._next_scan_ns < 0 and self._thread_runs:
            now_s = int(self.objects.clock.now_ns) // _NS_A_S
            rounds = max(0, -(-(now_s - _FIRST_SCAN_S) // self._wait_s))
            self._next_scan_ns = (_FIRST_SCAN_S + rounds * self._wait_s) * _NS_A_S

    def forget(self, pointer: int) -> None:
        """kmemleak_free()."""
        self.tracked.pop(pointer, None)

    def paint(self, pointer: int, how: str) -> None:
        """kmemleak_not_leak(), kmemleak_ignore() or kmemleak_no_scan() on the object there."""
        one = self.tracked.get(pointer)
        if one is None:
            raise UserError(f"found {pointer:#x}, allowed is the start of an allocated object")
        if how == "no_scan":
            one.is_not_scanned = True
            return
        one.min_count = GREY if how == "not_leak" else BLACK
        if how == "ignore":
            one.is_not_scanned = True  # __paint_it()

    # scanning

    def next_ns(self) -> int:
        """When the scanning thread wakes; -1 never."""
        return self._next_scan_ns

    def run(self) -> None:
        """The scanning thread's turn."""
        self.scan()
        self._next_scan_ns += self._wait_s * _NS_A_S

    def scan(self) -> None:
        """kmemleak_scan(): look once, and say how many new leaks there are."""
        # DIFFERS: a scan takes no time; what it reads of a whole kernel is not there; times of
        # scripts that scan
        self.last_scan = self.objects.jiffies()
        gray: list[Tracked] = []
        for one in self.tracked.values():
            one.count = 0
            if one.is_gray:
                gray.append(one)
        for value in self.objects.roots(with_stacks=self.scans_stacks):
            self._meet(value, None, gray)
        self._follow(gray)
        for one in self.tracked.values():
            if one.is_white and self._has_changed(one):
                one.count = one.min_count  # gray until the next scan
                gray.append(one)
        self._follow(gray)
        fresh = [
            one for one in self.tracked.values()
            if one.is_white and self.is_unreferenced(one) and not one.is_reported
        ]  # fmt: skip
        for one in fresh:
            one.is_reported = True
        if fresh:
            self.log(f"kmemleak: {len(fresh)} new suspected memory leaks (see {PATH})")

    def _follow(self, gray: list[Tracked]) -> None:
        """scan_gray_list(): scan what is gray, and what turns gray meanwhile; none is left."""
        while gray:
            one = gray.pop(0)
            if one.is_not_scanned:
                continue
            for _, word in sorted(one.object.words.items()):
                self._meet(word, one, gray)

    def _meet(self, word: int, scanned: Tracked | None, gray: list[Tracked]) -> None:
        """scan_block() of one word: a pointer to any byte of an object counts."""
        found = self.objects.object_at(word)
        if found is None:
            return
        one = self.tracked[found.pointer]
        if one is scanned or not one.is_white:
            return
        one.count += 1
        if one.is_gray:
            gray.append(one)

    def _has_changed(self, one: Tracked) -> bool:
        """update_checksum(): also true of a new object, unless it holds zeros only."""
        before = one.checksum
        made = one.object
        if made.words or made.texts:
            # lib/crc32.c crc32(0, ..), v6.1: zlib's without its two inversions
            content = made.content(made.size_bytes)
            one.checksum = zlib.crc32(content, _ALL_BITS) ^ _ALL_BITS
        else:
            one.checksum = 0
        return one.checksum != before

    def is_unreferenced(self, one: Tracked) -> bool:
        """White, and old enough at the last scan (unreferenced_object())."""
        return one.is_white and one.object.jiffies + MIN_AGE_JIFFIES <= self.last_scan

    def leaks(self) -> list[Tracked]:
        """What reading the file shows, in the order of allocation (kmemleak_seq_show())."""
        return [
            one for one in self.tracked.values() if one.is_reported and self.is_unreferenced(one)
        ]

    # commands

    def write(self, command: str) -> None:
        """What is written to the file (kmemleak_write()); UserError names what is allowed."""
        if command == "scan":
            self.scan()
        elif command == "clear":
            for one in self.leaks():
                one.min_count = GREY
        elif command in ("stack=on", "stack=off"):
            self.scans_stacks = command == "stack=on"
        elif command == "scan=off":
            self._thread_runs, self._next_scan_ns = False, -1
        elif command == "scan=on":
            if not self._thread_runs:
                self._start_thread()
        elif command.startswith("scan=") and command[5:].isdecimal():
            self._thread_runs, self._next_scan_ns = False, -1
            if int(command[5:]):
                self._wait_s = int(command[5:])
                self._start_thread()
        else:
            raise UserError(f"{PATH}: found {command!r}, allowed is {COMMANDS}")

    def _start_thread(self) -> None:
        """It scans at once (only the first one after boot waits), and again after each wait."""
        self._thread_runs, self._next_scan_ns = True, int(self.objects.clock.now_ns)

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests; nothing where no script has used it."""
        if not self.objects.is_used:
            return []
        found: list[tuple[str, object]] = [("last_scan", self.last_scan)]
        for pointer, one in self.tracked.items():
            figures = [one.min_count, one.count, one.checksum, int(one.is_reported)]
            found.append((f"{pointer:#x}", figures))
        return found
