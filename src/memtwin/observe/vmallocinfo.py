"""Owns /proc/vmallocinfo: its record, its reader and its writer.

Imports observe/scan. Knows nothing of who maps what. An area's size includes its guard page where
it has one; without privilege (kptr_restrict) the addresses are hashed, so no gap is computed here.
"""

from __future__ import annotations

import re

import msgspec

from memtwin.observe.scan import no_match, whole

PATH = "/proc/vmallocinfo"
# the words of an area's flags (mm/vmalloc.c vmalloc_info_show(), v6.12), sorted as `kind` prefers
KINDS = ("vmalloc", "ioremap", "vmap", "sparse", "dma-coherent", "vm_map_ram", "unpurged")
_FLAGS = frozenset((*KINDS, "user", "vpages", "vm_area"))
# an address, its hash, or "(____ptrval____)" before hashes are ready (lib/vsprintf.c
# default_pointer(), v6.1)
_LINE = re.compile(r"(0x[^\s-]{1,24})-(0x[^\s-]{1,24}) +(\d{1,19})(.*)")
_NODE = re.compile(r"N(\d{1,9})=(\d{1,19})")


class VmallocArea(msgspec.Struct, frozen=True):
    """One area of the kernel's vmalloc range."""

    start: str  # as printed: an address, or its hash
    end: str
    size_bytes: int  # of addresses, its guard page with them
    caller: str = ""  # "function+0x1/0x2 [module]"; "" where the kernel does not say
    pages: int | None = None  # pages of memory behind it; None: none of its own
    phys: str | None = None  # physical address of a device's memory, as printed
    flags: tuple[str, ...] = ()
    by_node_pages: dict[str, int] = {}

    @property
    def kind(self) -> str:
        """What the area is: a word of `KINDS`, "vmalloc, user" for one a program may map."""
        found = next((kind for kind in KINDS if kind in self.flags), "other")
        return f"{found}, user" if "user" in self.flags else found

    @property
    def function(self) -> str:
        """The caller without its offsets: "kernel_clone", "snd_open [snd]"."""
        name, _, module = self.caller.partition(" ")
        return " ".join(filter(None, (name.partition("+")[0], module))) or "(not told)"


def parse_vmallocinfo(text: str) -> list[VmallocArea]:
    """The areas of a /proc/vmallocinfo text, in its order.

    >>> parse_vmallocinfo("0x01-0x02   20480 kernel_clone+0x94/0x3e0 pages=4 vmalloc N0=4")[0].pages
    4
    """
    return [_area(line) for line in text.splitlines() if line.strip()]


def _area(line: str) -> VmallocArea:
    match = _LINE.fullmatch(line)
    if match is None:
        raise no_match(PATH, line, "'START-END SIZE CALLER FLAG...'")
    caller: list[str] = []
    flags: list[str] = []
    nodes: dict[str, int] = {}
    pages, phys = None, None
    for word in match[4].split():
        node = _NODE.fullmatch(word)
        if word in _FLAGS:
            flags.append(word)
        elif word.startswith("pages="):
            pages = whole(word[6:], PATH, line)
        elif word.startswith("phys="):
            phys = word[5:]
        elif node:
            nodes[f"N{int(node[1])}"] = int(node[2])
        else:
            caller.append(word)
    size_bytes = whole(match[3], PATH, line)
    return VmallocArea(
        match[1], match[2], size_bytes, " ".join(caller), pages, phys, tuple(flags), nodes
    )


def render_vmallocinfo(areas: list[VmallocArea]) -> str:
    """The text of `areas` (mm/vmalloc.c vmalloc_info_show(), v6.12)."""
    out = []
    for area in areas:
        words = [f"{area.start}-{area.end} {area.size_bytes:>7}"]
        words += [area.caller] if area.caller else []
        words += [f"pages={area.pages}"] if area.pages is not None else []
        words += [f"phys={area.phys}"] if area.phys is not None else []
        words += area.flags
        words += [f"{node}={pages}" for node, pages in area.by_node_pages.items()]
        out.append(" ".join(words) + "\n")
    return "".join(out)
