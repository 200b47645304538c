"""Owns the units: pages, bytes, pfn, vpn, paddr, vaddr, and how people write sizes.

Imports errors only. A pfn numbers physical frames, a vpn virtual pages; a paddr and a vaddr are
byte addresses. Conversions are named functions; nobody shifts at the call site.
"""

from __future__ import annotations

import re

from memtwin.errors import UserError

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
NIL = -1  # the only sentinel

_SUFFIX_BYTES = {"": 1, "B": 1, "K": KIB, "M": MIB, "G": GIB, "T": TIB}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)


def pages_to_bytes(size_pages: int) -> int:
    """Bytes in `size_pages` pages of 4 KiB.

    >>> pages_to_bytes(3)
    12288
    """
    return size_pages << PAGE_SHIFT


def bytes_to_pages(size_bytes: int) -> int:
    """Pages that hold `size_bytes` bytes, rounded up.

    >>> bytes_to_pages(4097)
    2
    """
    return (size_bytes + PAGE_SIZE - 1) >> PAGE_SHIFT


def pages_to_kib(size_pages: int) -> int:
    """KiB in `size_pages` pages: the unit of /proc/meminfo.

    >>> pages_to_kib(2)
    8
    """
    return size_pages << (PAGE_SHIFT - 10)


def vaddr_to_vpn(vaddr: int) -> int:
    """Number of the virtual page that holds byte address `vaddr`.

    >>> vaddr_to_vpn(0x7fff1234)
    524273
    """
    return vaddr >> PAGE_SHIFT


def vpn_to_vaddr(vpn: int) -> int:
    """First byte address of virtual page `vpn`."""
    return vpn << PAGE_SHIFT


def paddr_to_pfn(paddr: int) -> int:
    """Number of the frame that holds physical byte address `paddr`."""
    return paddr >> PAGE_SHIFT


def pfn_to_paddr(pfn: int) -> int:
    """First physical byte address of frame `pfn`."""
    return pfn << PAGE_SHIFT


def parse_size(text: str, what: str = "size") -> int:
    """Bytes that `text` names ("4096", "128M", "1.5G", "64KiB"); `what` names it in the error.

    Raises UserError when the text is not a size.

    >>> parse_size("1.5G")
    1610612736
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UserError(
            f"{what}: found {text!r}, allowed is a number with K, M, G or T (as 128M or 1.5G)"
        )
    size = float(match.group(1)) * _SUFFIX_BYTES[match.group(2).upper()]
    return int(size)


def format_size(size_bytes: int) -> str:
    """`size_bytes` as people write it, with one decimal where it says something.

    >>> format_size(134217728), format_size(1600)
    ('128M', '1.6K')
    """
    for suffix, unit in (("T", TIB), ("G", GIB), ("M", MIB), ("K", KIB)):
        if size_bytes >= unit:
            amount = size_bytes / unit
            return f"{amount:.0f}{suffix}" if amount == int(amount) else f"{amount:.1f}{suffix}"
    return f"{size_bytes}B"
