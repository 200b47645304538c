"""Owns the words of the views of the kernel's memory features: thp, ksm, zswap, hugepages, numa.

Imports cli/declared and cli/view_words; what a view shows stands in kernel_mm_views.
"""

from __future__ import annotations

from typing import Annotated

from memtwin.cli.declared import argument
from memtwin.cli.view_words import SHOWN, Shown


def thp(shown: Shown = SHOWN) -> None:
    """Transparent huge pages: settings, what is in them, how often they could be had."""
    from memtwin.cli.kernel_mm_views import thp_at
    from memtwin.cli.view import show

    show(thp_at(shown.root), shown.how())


def ksm(shown: Shown = SHOWN) -> None:
    """Same-page merging: settings, what it saves, whether it pays."""
    from memtwin.cli.kernel_mm_views import ksm_at
    from memtwin.cli.view import show

    show(ksm_at(shown.root), shown.how())


def zswap(shown: Shown = SHOWN) -> None:
    """Compressed memory in front of swap: settings, what it holds and takes."""
    from memtwin.cli.kernel_mm_views import zswap_at
    from memtwin.cli.view import show

    show(zswap_at(shown.root), shown.how())


def hugepages(shown: Shown = SHOWN) -> None:
    """Pools of hugetlb pages, of the machine and of each node."""
    from memtwin.cli.kernel_mm_views import hugepages_at
    from memtwin.cli.view import show

    show(hugepages_at(shown.root), shown.how())


def numa(
    pid: Annotated[
        int | None, argument(metavar="PID", help="A process: where its pages lie.")
    ] = None,
    shown: Shown = SHOWN,
) -> None:
    """The nodes' memory and where allocations went; with PID, where that process's pages lie."""
    from memtwin.cli.kernel_mm_views import numa_at, numa_of_at
    from memtwin.cli.view import show

    show(numa_at(shown.root) if pid is None else numa_of_at(shown.root, pid), shown.how())
