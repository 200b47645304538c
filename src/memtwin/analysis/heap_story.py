"""Owns the answer to "why doesn't freeing shrink the process?": what is free, and what holds it.

Imports heap and units. Knows nothing of traces or terminals. Bytes throughout.
"""

from __future__ import annotations

from memtwin.heap.census import FAST, LARGE, SMALL, TCACHE, UNSORTED, USED, Census

KIB = 1024


def human(size_bytes: float) -> str:
    """As people write it, two places: 1.25 MiB.

    >>> human(1310720)
    '1.25 MiB'
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size_bytes) < KIB or unit == "GiB":
            return f"{size_bytes:.0f} B" if unit == "B" else f"{size_bytes:.2f} {unit}"
        size_bytes /= KIB
    return ""


def reasons(census: Census, resident_bytes: int, live_bytes: int, where: str) -> list[str]:
    """Sentences, the weightiest first. `where` says who allocated the block that pins the break."""
    sizes, counts = census.bytes_by_state, census.chunks_by_state
    found = [f"The program holds {human(live_bytes)}; {human(resident_bytes)} are resident."]
    last = census.last_used
    if last is not None and census.free_below_last_bytes:
        found.append(
            f"The break can't fall below {last.address + last.size_bytes:#x}: a block of"
            f" {last.size_bytes} bytes at {last.address + 16:#x}{where} is the highest in use, and"
            f" {human(census.free_below_last_bytes)} of free memory lie below it."
        )
    if census.top_bytes:
        found.append(
            f"{human(census.top_bytes)} are above it (top): given back when they exceed the trim"
            " threshold, or by malloc_trim."
        )
    for state, why in (
        (LARGE, "sorted by size, kept for large requests"),
        (UNSORTED, "freed and not yet sorted"),
        (SMALL, "kept for requests of just their size"),
        (FAST, "still marked in use, so nothing merges with them"),
        (TCACHE, "kept by threads, still marked in use"),
    ):
        if sizes.get(state):
            found.append(f"{human(sizes[state])} in {counts[state]} free chunks ({state}): {why}.")
    found.append(
        f"malloc_trim(0) would give back {human(census.trimmable_resident_bytes)} inside free"
        f" chunks, and up to {human(max(0, census.top_bytes - 4096))} of top."
    )
    return found


def figures(census: Census) -> dict[str, float]:
    """What a table or JSON shows of a census: units in the names."""
    sizes = census.bytes_by_state
    return {
        "used_bytes": sizes.get(USED, 0),
        "mmapped_bytes": sizes.get("mmapped", 0),
        "tcache_bytes": sizes.get(TCACHE, 0),
        "fastbin_bytes": sizes.get(FAST, 0),
        "unsorted_bytes": sizes.get(UNSORTED, 0),
        "smallbin_bytes": sizes.get(SMALL, 0),
        "largebin_bytes": sizes.get(LARGE, 0),
        "top_bytes": census.top_bytes,
        "free_bytes": census.free_bytes,
        "largest_free_bytes": census.largest_free_bytes,
        "fragmentation": round(census.fragmentation, 4),
        "trimmable_bytes": census.trimmable_resident_bytes,
    }
