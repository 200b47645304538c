"""Owns the sentences on a kill that more RAM in general would not have avoided.

Imports sweep's record and cli/columns_text. Knows no reports.
"""

from __future__ import annotations

from memtwin.cli.columns_text import size
from memtwin.sweep.oom_bound import Bound, Kind
from memtwin.units import PAGE_SIZE

# what lies in a zone is where it lies: include/linux/mmzone.h enum zone_type, v6.12
_BOUNDS = {"DMA": "the first 16M", "DMA32": "what lies below 4G", "Normal": ""}


def bound_sentences(found: Bound) -> list[str]:
    """Sentences, the cause first, then what would have helped, then what not."""
    begin = {Kind.PIECES: _pieces, Kind.LOW_ZONE: _low_zone, Kind.NODES: _nodes}[found.kind]
    said = begin(found)
    if found.more_bytes is not None and found.kind is Kind.PIECES:
        said.append(
            f"It is served as soon as {size(found.more_bytes)} more of zone {found.zone} is free in"
            " whole blocks."
        )
    elif found.more_bytes is not None:
        said.append(
            f"It is served as soon as {size(found.more_bytes)} more of zone {found.zone} is free:"
            " by less in use there, that much for this request alone."
        )
    if found.highest_min_share is not None and found.min_free_kib:
        said.append(_min_free(found))
    if found.without_reserve_serves and found.kind is not Kind.NODES:
        said.append(
            "It is served, too, if no zone keeps pages back from requests that may use higher zones"
            " (vm.lowmem_reserve_ratio): then such requests can fill the low zones, which"
            " brings this kill about by another way."
        )
    if found.elsewhere_serves is False and found.kind is not Kind.NODES:
        said.append(
            "More RAM does not help by itself: with twice as much free in the zones that the"
            " request may not use, it fails as before."
        )
    return said


def _pieces(found: Bound) -> list[str]:
    wanted = size(PAGE_SIZE << found.order)
    said = [f"Memory was in pieces: the request for {wanted} in one piece fails in the twin, too."]
    if found.lower_orders:
        largest = size(PAGE_SIZE << max(found.lower_orders))
        said.append(
            f"A request for {largest} is served as things were. Code that falls back to smaller"
            " pieces (kvmalloc(), scattered buffers, a smaller MTU or ring) avoids this kill."
        )
    if found.compaction_short_bytes:
        said.append(
            f"Compaction could not run: it needs {size(found.compaction_short_bytes)} more free"
            " pages to move things to. A larger vm.min_free_kbytes keeps those."
        )
    elif found.compaction_short_bytes == 0:
        movable = "" if found.movable_bytes is None else f" and {size(found.movable_bytes)} to move"
        said.append(
            f"Compaction had room to run{movable}; it made no block, so what lay between the free"
            " pages could not be moved, or the kernel has no compaction. Earlier compaction"
            " (vm.compaction_proactiveness, vm.watermark_boost_factor) or a larger"
            " vm.min_free_kbytes leaves more whole blocks."
        )
    said.append(
        "More RAM helps only until it is in pieces as well: what is added comes as whole blocks."
    )
    return said


def _low_zone(found: Bound) -> list[str]:
    said = ["Only low memory ran out: the request fails in the twin, too."]
    bound = _BOUNDS.get(found.zone.split(" ")[0], "")
    if bound:
        said.append(f"Zone {found.zone} is {bound}, so RAM beyond does not make it larger.")
    if found.any_zone_serves:
        said.append(
            "Without its limit to low zones the request is served as things were: a driver with a"
            " wider DMA mask, an IOMMU, or bounce buffers reserved at boot (swiotlb=) avoid it."
        )
    return said


def _nodes(found: Bound) -> list[str]:
    said = ["The request was held to some nodes, and they ran out: it fails in the twin, too."]
    if found.any_node_serves:
        said.append(
            "Without that limit it is served as things were: the other nodes have room. A wider"
            " cpuset.mems, or a policy that prefers the node and does not bind to it, avoids this"
            " kill."
        )
    elif found.any_node_serves is False:
        said.append("Without that limit it fails as well: the other nodes are full, too.")
    if found.elsewhere_serves is False:
        said.append("More RAM on other nodes does not help while the limit stands.")
    said.append("Each page that the program wants beyond it needs another one there.")
    return said


def _min_free(found: Bound) -> str:
    assert found.highest_min_share is not None
    assert found.min_free_kib is not None
    lowered = int(found.min_free_kib * found.highest_min_share)
    return (
        f"It is served with vm.min_free_kbytes of at most {lowered:,} (it was about"
        f" {found.min_free_kib:,}): the pages were there, kept for interrupts and for reclaim"
        " itself, which then run short instead."
    )
