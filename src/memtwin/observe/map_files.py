"""Owns /proc/PID/{maps,smaps,numa_maps}: one record a mapping, read from texts of any kernel.

Imports observe/scan. Knows nothing of what a mapping is for. A line that does not have its shape
is passed over and counted: these texts may come from anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

_HEX = frozenset("0123456789abcdef")
_MOST_KIB = 1 << 54  # a 64-bit address space; what is larger is no figure


class MapArea(msgspec.Struct):
    """One mapping of a process. `kib`: what smaps says, by the kernel's name ("Rss"), in KiB."""

    start_vaddr: int
    end_vaddr: int
    perms: str  # "rw-p": read, write, execute, private or shared
    offset_bytes: int
    device: str
    inode: int
    path: str = ""  # as the kernel writes it: a file, "[heap]", "" for anonymous memory
    kib: dict[str, int] = {}
    vm_flags: tuple[str, ...] = ()  # "rd", "wr" ... of VmFlags
    words: dict[str, str] = {}  # other lines, such as ProtectionKey

    @property
    def size_kib(self) -> int:
        """Size of the address range."""
        return (self.end_vaddr - self.start_vaddr) >> 10

    def sum_kib(self, *names: str) -> int | None:
        """The sum of the figures `names`; None when the text had none of them.

        >>> MapArea(0, 4096, "r--p", 0, "00:00", 0, kib={"Rss": 4}).sum_kib("Rss", "Locked")
        4
        """
        found = [self.kib[name] for name in names if name in self.kib]
        return sum(found) if found else None


class MapText(msgspec.Struct):
    """What a maps or smaps text held. `malformed`: lines without the shape of one."""

    areas: list[MapArea]
    malformed: int = 0


class NumaArea(msgspec.Struct):
    """One mapping of numa_maps. `pages`: figures by name ("anon", "N0"); `marks`: bare words."""

    start_vaddr: int
    policy: str
    file: str = ""
    pages: dict[str, int] = {}
    marks: tuple[str, ...] = ()


def parse_maps(text: str) -> MapText:
    """The mappings of a maps or smaps text.

    >>> parse_maps("00400000-00401000 r-xp 00000000 08:01 7      /bin/true\\n").areas[0].path
    '/bin/true'
    """
    areas: list[MapArea] = []
    malformed = 0
    area: MapArea | None = None
    for line in text.split("\n"):
        if not line:
            continue
        if line[0] in _HEX:
            area = _area_of(line)
            if area is None:
                malformed += 1
            else:
                areas.append(area)
        elif not _take_figure(area, line):
            malformed += 1
    return MapText(areas, malformed)


def _area_of(line: str) -> MapArea | None:
    words = line.split(None, 5)
    start, dash, end = words[0].partition("-")
    try:
        low, high = int(start, 16), int(end, 16)
        offset, inode = int(words[2], 16), int(words[4])
    except (ValueError, IndexError):
        return None
    if not dash or not 0 <= low <= high < 1 << 64 or not 0 <= offset < 1 << 64 or len(words[1]) < 4:
        return None
    if not 0 <= inode < 1 << 64:
        return None
    path = words[5] if len(words) > 5 else ""
    return MapArea(low, high, words[1], offset, words[3], inode, path, {}, (), {})


def _take_figure(area: MapArea | None, line: str) -> bool:
    key, colon, value = line.partition(":")
    if area is None or not colon:
        return False
    words = value.split()
    if len(words) == 2 and words[1] == "kB":
        try:
            figure = int(words[0])
        except ValueError:
            return False
        if not 0 <= figure < _MOST_KIB:
            return False
        area.kib[key] = figure
    elif key == "VmFlags":
        area.vm_flags = tuple(words)
    else:
        area.words[key] = value.strip()
    return True


def parse_numa_maps(text: str) -> tuple[list[NumaArea], int]:
    """The mappings of a numa_maps text, and how many lines had another shape.

    >>> parse_numa_maps("7f00 default anon=3 dirty=3 N0=3 kernelpagesize_kB=4")[0][0].pages["N0"]
    3
    """
    areas: list[NumaArea] = []
    malformed = 0
    for line in filter(str.strip, text.split("\n")):
        words = line.split()
        try:
            area = NumaArea(int(words[0], 16), words[1])
            _take_numa_words(area, words[2:])
        except (ValueError, IndexError):
            malformed += 1
        else:
            areas.append(area)
    return areas, malformed


def _take_numa_words(area: NumaArea, words: Iterable[str]) -> None:
    marks = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            marks.append(word)
        elif name == "file":
            area.file = value
        else:
            area.pages[name] = int(value)
    area.marks = tuple(marks)
