"""Owns the census: every frame counted once by its own flags, and held beside the ledger.

Imports observe's frame bits and the ledger. Does no reading. Flags say less than counters: slab is
one row, files and block devices are one, and whatever carries no flag is "unflagged".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from memtwin.analysis.ledger import UNACCOUNTED, Ledger
from memtwin.observe import kpage
from memtwin.observe.kpage import FrameChunk, Frames

_BATCHES = "pages in a CPU's LRU batch carry no LRU flag yet"
# census row -> (ledger rows that it stands for, why the two may differ)
ROWS: dict[str, tuple[tuple[str, ...], str]] = {
    "free": (("free", "free_cma"), "frames move while the census walks"),
    "anonymous": (("anonymous",), "mapped huge pages split late; " + _BATCHES),
    "swap_cache": (("swap_cache",), "the ledger's row is a lower bound; unmapped pages pinned"),
    "file": (("file", "buffers"), _BATCHES + "; pages truncated, not yet freed"),
    "shmem": (("shmem",), _BATCHES),
    "slab": (
        ("slab_reclaimable", "slab_unreclaimable"),
        "large kmalloc() is counted as slab, its frames carry no flag",
    ),
    "page_tables": (
        ("page_tables", "sec_page_tables"),
        "the kernel's own tables and top levels carry the flag, uncounted",
    ),
    "hugetlb": (("hugetlb",), ""),
    "balloon": (("balloon",), "frames in a balloon may have left MemTotal"),
    "hardware_corrupted": (("hardware_corrupted",), ""),
    "mapped_unlisted": ((), "mapped but on no list: drivers' pages; " + _BATCHES),
    "unflagged": (
        (
            "free_on_cpus", "free_beyond_zones", "kernel_stacks", "vmalloc", "percpu",
            "zsmalloc", "zswap", "gpu", "misc_reclaimable", "bounce", "fuse_writeback",
            "memmap_hotplugged", UNACCOUNTED,
        ),
        "all that carries no flag, also what booting kept from MemTotal",
    ),
    "reserved": ((), "never handed to the page allocator, or given back by boot code"),
    "no_page": ((), "a hole, or memory without a page structure yet"),
}  # fmt: skip


class CensusRow(msgspec.Struct):
    """Frames of one kind. `ledger_pages` is None where the ledger has no such row."""

    row: str
    frames: int
    ledger_pages: int | None
    difference_pages: int | None  # frames - ledger_pages
    moved_pages: int | None  # how far the ledger's own figure moved during the census
    mapped_frames: int
    mapped_often_frames: int | None  # by more than one page table; None: kpagecount unreadable
    charged_frames: int | None  # to a memory cgroup; None: kpagecgroup unreadable
    why: str


class Census(msgspec.Struct):
    """Every frame counted once."""

    frames: int
    rows: dict[str, int]
    mapped: dict[str, int]
    mapped_often: dict[str, int] | None
    charged: dict[str, int] | None
    by_cgroup: dict[int, int]  # inode of the memory cgroup -> frames


def take_census(chunks: Iterable[FrameChunk]) -> Census:
    """Count the frames of `chunks`, each in the first row of its kind."""
    census = Census(0, dict.fromkeys(ROWS, 0), dict.fromkeys(ROWS, 0), None, None, {})
    head = np.uint64(0)
    for chunk in chunks:
        flags, head = with_head_flags(chunk.flags, head)
        _count(census, chunk, flags)
    return census


def with_head_flags(flags: Frames, last_head: np.uint64) -> tuple[Frames, np.uint64]:
    """`flags` where each tail of a compound page carries its head's kind, and the last head's.

    Kernels differ in which bits they copy to tails (fs/proc/page.c stable_page_flags(), v6.12).
    """
    is_head = (flags & np.uint64(kpage.KPF_COMPOUND_HEAD)) != 0
    is_tail = (flags & np.uint64(kpage.KPF_COMPOUND_TAIL)) != 0
    if is_tail.any():
        at = np.maximum.accumulate(np.where(is_head, np.arange(len(flags)), -1))
        heads = np.where(at >= 0, flags[np.maximum(at, 0)], last_head)
        flags = np.where(is_tail, flags | (heads & np.uint64(_OF_HEAD)), flags)
    if is_head.any():
        last_head = flags[np.flatnonzero(is_head)[-1]]
    return flags, last_head


_OF_HEAD = (
    kpage.KPF_LRU | kpage.KPF_SLAB | kpage.KPF_ANON | kpage.KPF_SWAPCACHE | kpage.KPF_SWAPBACKED
    | kpage.KPF_HUGE | kpage.KPF_UNEVICTABLE
)  # fmt: skip
_LISTED = kpage.KPF_LRU | kpage.KPF_UNEVICTABLE


Mask = NDArray[np.bool_]
Has = Callable[[int], Mask]


def _kinds() -> list[tuple[str, Callable[[Has], Mask]]]:
    """(row, test) in the order that decides where a frame with several bits belongs."""
    return [
        ("no_page", lambda has: has(kpage.KPF_NOPAGE)),
        ("hardware_corrupted", lambda has: has(kpage.KPF_HWPOISON)),
        ("reserved", lambda has: has(kpage.KPF_RESERVED)),
        ("free", lambda has: has(kpage.KPF_BUDDY)),
        ("balloon", lambda has: has(kpage.KPF_OFFLINE)),
        ("hugetlb", lambda has: has(kpage.KPF_HUGE)),
        ("page_tables", lambda has: has(kpage.KPF_PGTABLE)),
        ("slab", lambda has: has(kpage.KPF_SLAB)),
        ("anonymous", lambda has: has(kpage.KPF_ANON) & has(kpage.KPF_MMAP)),
        ("swap_cache", lambda has: has(kpage.KPF_ANON) | _swap_cache_alone(has)),
        ("shmem", lambda has: has(_LISTED) & has(kpage.KPF_SWAPBACKED)),
        ("file", lambda has: has(_LISTED)),
        ("mapped_unlisted", lambda has: has(kpage.KPF_MMAP)),
    ]


def _swap_cache_alone(has: Has) -> Mask:
    # PG_swapcache shares its bit with PG_owner_priv_1: only SwapBacked pages mean it
    # (include/linux/page-flags.h folio_test_swapcache(), v6.12)
    return has(kpage.KPF_SWAPCACHE) & has(kpage.KPF_SWAPBACKED)


def _count(census: Census, chunk: FrameChunk, flags: Frames) -> None:
    def has(bits: int) -> Mask:
        mask: Mask = (flags & np.uint64(bits)) != 0
        return mask

    left = np.ones(len(flags), dtype=np.bool_)
    mapped = has(kpage.KPF_MMAP)
    often = None if chunk.counts is None else chunk.counts > 1
    charged = None if chunk.cgroups is None else chunk.cgroups != 0
    if often is not None and census.mapped_often is None:
        census.mapped_often = dict.fromkeys(ROWS, 0)
    if charged is not None and census.charged is None:
        census.charged = dict.fromkeys(ROWS, 0)
    for row, test in [*_kinds(), ("unflagged", lambda has: ~has(0))]:
        mine = left & test(has)
        left = left & ~mine
        census.rows[row] += int(mine.sum())
        census.mapped[row] += int((mine & mapped).sum())
        if often is not None and census.mapped_often is not None:
            census.mapped_often[row] += int((mine & often).sum())
        if charged is not None and census.charged is not None:
            census.charged[row] += int((mine & charged).sum())
    if chunk.cgroups is not None:
        for inode, frames in zip(*np.unique(chunk.cgroups, return_counts=True), strict=True):
            if inode:
                census.by_cgroup[int(inode)] = census.by_cgroup.get(int(inode), 0) + int(frames)
    census.frames += len(flags)


def beside_ledger(census: Census, before: Ledger, after: Ledger) -> list[CensusRow]:
    """The census's rows beside the ledger's, which was made before and after it."""
    found = []
    for row, frames in census.rows.items():
        ledger_rows, why = ROWS[row]
        now, then = _pages(after, ledger_rows), _pages(before, ledger_rows)
        if not frames and not now:
            continue
        found.append(
            CensusRow(
                row=row,
                frames=frames,
                ledger_pages=now,
                difference_pages=None if now is None else frames - now,
                moved_pages=None if now is None or then is None else now - then,
                mapped_frames=census.mapped[row],
                mapped_often_frames=_of(census.mapped_often, row),
                charged_frames=_of(census.charged, row),
                why=why,
            )
        )
    return found


def _of(counts: dict[str, int] | None, row: str) -> int | None:
    return None if counts is None else counts[row]


def _pages(ledger: Ledger, names: tuple[str, ...]) -> int | None:
    found = [row.pages for row in ledger.rows if row.row in names]
    return sum(found) if found else None
