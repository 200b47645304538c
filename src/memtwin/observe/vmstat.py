"""Owns /proc/vmstat: its record, its reader and its writer.

Imports observe/scan. Knows nothing of what moves a counter. The names are the kernel's and carry
the unit: nr_kernel_stack is KiB, pgpgin and pgpgout are KiB, other nr_* and pg* figures are pages
or times.
"""

from __future__ import annotations

import msgspec

from memtwin.observe.scan import parse_flat, render_flat

PATH = "/proc/vmstat"


class VmStatText(msgspec.Struct):
    """One reading of /proc/vmstat: figures by the kernel's name, in the text's order."""

    figures: dict[str, int]

    def pgscan_pages(self) -> int:
        """Pages scanned by reclaim: kswapd, direct, khugepaged and proactive together."""
        return sum(self.figures.get(f"pgscan_{who}", 0) for who in _RECLAIMERS)

    def pgsteal_pages(self) -> int:
        """Pages freed by reclaim: kswapd, direct, khugepaged and proactive together."""
        return sum(self.figures.get(f"pgsteal_{who}", 0) for who in _RECLAIMERS)


_RECLAIMERS = ("kswapd", "direct", "khugepaged", "proactive")


def parse_vmstat(text: str) -> VmStatText:
    """The record of a /proc/vmstat text.

    >>> parse_vmstat("nr_free_pages 47603\\n").figures["nr_free_pages"]
    47603
    """
    return VmStatText(parse_flat(text, PATH))


def render_vmstat(record: VmStatText) -> str:
    """The text of `record` (mm/vmstat.c vmstat_show(), v6.12)."""
    return render_flat(record.figures)
