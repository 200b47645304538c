"""Owns the picture of a heap: one cell for so many bytes, for a terminal or as SVG in a page.

Imports heap. Does no arithmetic but the sharing out of cells.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from memtwin.heap.census import (
    FAST,
    FENCE,
    FREE_STATES,
    LARGE,
    MMAPPED,
    OWN,
    SMALL,
    TCACHE,
    TOP,
    UNSORTED,
    USED,
    Chunk,
)

MIXED = "free, some used"
# state -> (sign, colour)
LOOKS = {
    USED: ("█", "#2b6cb0"),
    OWN: ("█", "#2b6cb0"),
    FENCE: ("█", "#2b6cb0"),
    MMAPPED: ("█", "#2b6cb0"),
    MIXED: ("▒", "#90cdf4"),
    TCACHE: ("t", "#dd6b20"),
    FAST: ("f", "#d69e2e"),
    UNSORTED: ("u", "#9f7aea"),
    SMALL: ("s", "#68d391"),
    LARGE: ("░", "#c6f6d5"),
    TOP: ("·", "#edf2f7"),
}
LEGEND = (
    "█ used  ▒ mostly free  t tcache  f fastbin  u unsorted  s small bin  ░ large bin  · top"
    "  (each cell: its most)"
)


def cells(chunks: Sequence[Chunk], count: int) -> tuple[list[str], int]:
    """The state that fills most of each of at most `count` cells, and the bytes of one."""
    if not chunks:
        return [], 0
    start = chunks[0].address
    span = chunks[-1].address + chunks[-1].size_bytes - start
    size = max(16, -(-span // count))
    shares: list[dict[str, int]] = [{} for _ in range(-(-span // size))]
    for chunk in chunks:
        at, end = chunk.address - start, chunk.address - start + chunk.size_bytes
        while at < end:
            cell = at // size
            part = min(end, (cell + 1) * size) - at
            shares[cell][chunk.state] = shares[cell].get(chunk.state, 0) + part
            at += part
    return [_most(share) for share in shares], size


def _most(share: dict[str, int]) -> str:
    if not share:
        return FENCE
    most = max(share, key=lambda state: share[state])
    return MIXED if most in FREE_STATES and USED in share else most


def text(chunks: Sequence[Chunk], width: int = 80, height: int = 16) -> str:
    """Lines of signs, lowest address first."""
    found, size = cells(chunks, width * height)
    signs = "".join(LOOKS[state][0] for state in found)
    lines = [signs[at : at + width] for at in range(0, len(signs), width)]
    start = chunks[0].address if chunks else 0
    return "\n".join([f"{start:#x}, {size} bytes a cell", *lines])


def svg(chunks: Sequence[Chunk], width: int = 128, height: int = 64) -> str:
    """The same as an SVG of squares, each with its address and state as a title."""
    found, size = cells(chunks, width * height)
    start = chunks[0].address if chunks else 0
    side, out = 7, []
    for number, state in enumerate(found):
        x, y = number % width * side, number // width * side
        title = html.escape(f"{start + number * size:#x} {state}")
        out.append(
            f'<rect x="{x}" y="{y}" width="{side}" height="{side}" fill="{LOOKS[state][1]}">'
            f"<title>{title}</title></rect>"
        )
    rows = -(-len(found) // width)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width * side} {rows * side}">'
        + "".join(out)
        + "</svg>"
    )


def page(title: str, pictures: Sequence[tuple[str, Sequence[Chunk]]], lines: Sequence[str]) -> str:
    """A page for the browser: pictures with their names, then sentences."""
    legend = "".join(
        f'<span><i style="background:{colour}"></i>{html.escape(state)}</span>'
        for state, (_, colour) in LOOKS.items()
        if state not in (OWN, FENCE, MMAPPED)
    )
    body = "".join(f"<h2>{html.escape(name)}</h2>{svg(chunks)}" for name, chunks in pictures)
    said = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
        "<style>body{font:15px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "svg{width:100%;border:1px solid #cbd5e0}span{margin-right:1rem}"
        "i{display:inline-block;width:.8em;height:.8em;margin-right:.3em;border:1px solid #cbd5e0}"
        f"</style><h1>{html.escape(title)}</h1><p>{legend}</p>{body}{said}</html>"
    )
