"""Owns /proc/iomem: its record, its reader and its writer.

Imports observe/scan. Knows nothing of zones. Addresses are physical bytes; the end is exclusive
here, though the text prints the last byte. Without privilege every address reads as 0:
`is_hidden` says so.
"""

from __future__ import annotations

import re

import msgspec

from memtwin.observe.scan import no_match

PATH = "/proc/iomem"
_LINE = re.compile(r"( *)([0-9a-f]{1,16})-([0-9a-f]{1,16}) : (.*)")


class Resource(msgspec.Struct, frozen=True):
    """One range; depth 0 is a root, deeper ones lie inside the range above them."""

    start_paddr: int
    end_paddr: int  # exclusive
    name: str
    depth: int = 0


def parse_iomem(text: str) -> list[Resource]:
    """The ranges of an /proc/iomem text, in its order.

    >>> parse_iomem("00001000-0009fbff : System RAM\\n")[0].end_paddr
    654336
    """
    found = []
    for line in filter(str.strip, text.splitlines()):
        match = _LINE.fullmatch(line)
        if match is None:
            raise no_match(PATH, line, "'START-END : NAME' in hexadecimal")
        start, end = int(match[2], 16), int(match[3], 16) + 1
        found.append(Resource(start, end, match[4], len(match[1]) // 2))
    return found


def render_iomem(resources: list[Resource]) -> str:
    """The text of `resources` (kernel/resource.c r_show(), v6.12)."""
    return "".join(
        f"{'  ' * r.depth}{r.start_paddr:08x}-{r.end_paddr - 1:08x} : {r.name}\n" for r in resources
    )


def is_hidden(resources: list[Resource]) -> bool:
    """Whether the kernel blanked the addresses for want of privilege."""
    return all(r.start_paddr == 0 and r.end_paddr <= 1 for r in resources)


def system_ram(resources: list[Resource]) -> list[tuple[int, int]]:
    """(start_paddr, end_paddr) of each range of System RAM."""
    return [
        (r.start_paddr, r.end_paddr) for r in resources if r.depth == 0 and r.name == "System RAM"
    ]
