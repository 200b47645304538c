"""Owns `memtwin leak scan`: one look into a heap, or two and what leaked between them.

Imports observe/live_heap, analysis/heap_growth and cli/leak_text.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from memtwin.analysis.heap_growth import Growth, HeapGrowth, heap_growth
from memtwin.cli.columns_text import Column, figure, table
from memtwin.cli.leak_text import kinds_table, notes_and_absent, per_hour, say, say_json, signed
from memtwin.errors import UserError
from memtwin.observe.leak_reports.reader import read_scan
from memtwin.observe.leak_reports.report import KIND_TITLES
from memtwin.observe.live_heap import Group, HeapScan, Method, scan_heap
from memtwin.units import format_size

_MOST_S = 86_400.0


class Wanted(NamedTuple):
    """What the command line asks for."""

    twice_s: float | None
    since: Path | None
    out: Path | None
    method: str
    top: int


def method_named(name: str) -> Method | None:
    """The method of that name, None for auto. Raises UserError when there is none."""
    if name == "auto":
        return None
    try:
        return Method(name)
    except ValueError:
        raise UserError(f"--method: found {name!r}, allowed is auto, fork or copy") from None


def checked_seconds(seconds: float, option: str) -> float:
    """Seconds between two looks. Raises UserError when they make no sense."""
    if not 0 < seconds <= _MOST_S:
        raise UserError(f"{option}: found {seconds:g}, allowed is more than 0, to {_MOST_S:g}")
    return seconds


def scan(pid: int, wanted: Wanted, *, as_json: bool) -> None:
    """Do what the words ask for."""
    method = method_named(wanted.method)
    before = read_scan(wanted.since) if wanted.since is not None else None
    if wanted.twice_s is not None:
        checked_seconds(wanted.twice_s, "--twice")
        before = scan_heap(pid, method)
        time.sleep(wanted.twice_s)
    after = scan_heap(pid, method)
    growth = heap_growth(before, after) if before is not None else None
    if wanted.out is not None:
        _save(after, wanted.out)
    if as_json and growth is not None:
        say_json(
            {"schema": "memtwin.heap_growth", "version": 1, "before": before, "after": after,
             "growth": growth}
        )  # fmt: skip
    elif as_json:
        say_json(after)
    else:
        say(_text(after, growth, wanted.top))


def _save(scan: HeapScan, out: Path) -> None:
    try:
        out.write_bytes(msgspec.json.encode(scan))
    except OSError as fault:
        raise UserError(f"{out}: can't be written ({fault.strerror})") from None


def _text(scan: HeapScan, growth: HeapGrowth | None, top: int) -> str:
    parts = [head_text(scan), "\n", kinds_table(dict(scan.kinds))]
    if growth is not None:
        parts += ["\n", growth_text(growth, top)]
    lost = [group for group in scan.groups if group.kind == "definite"]
    if lost:
        parts += ["\ndefinitely lost, the largest first\n", _groups_text(lost, top)]
        parts.append("look where such blocks are made: " + _advice(lost[0]) + "\n")
    possible = [group for group in scan.groups if group.kind == "possible"]
    if possible:
        parts += ["\nonly pointers to their inside\n", _groups_text(possible, min(top, 5))]
    if growth is None:
        held = [group for group in scan.groups if group.kind == "reachable"]
        parts += ["\nstill reachable\n", _groups_text(held, min(top, 5))]
    parts.append(notes_and_absent(scan.notes))
    return "".join(parts)


def head_text(scan: HeapScan) -> str:
    """Whose heap, how it was read, and the allocator's account."""
    heap, cost = scan.heap, scan.cost
    way = "through a copy" if scan.method == "fork" else "where it stood"
    used = sum(tally.blocks for tally in scan.kinds.values())
    return (
        f"PID {scan.pid} {scan.name}: {scan.allocator}, {scan.threads} threads, {heap.arenas}"
        f" arenas; read {way}, stood still {cost.stop_ns / 1e6:.1f} ms of"
        f" {cost.total_ns / 1e6:,.0f} ms\n"
        f"heap: {format_size(heap.in_use_bytes)} in use in {used:,} blocks"
        f" ({format_size(heap.mapped_bytes)} of it in {heap.mapped_chunks} mappings);"
        f" free {format_size(heap.free_bytes)} between them, {format_size(heap.top_bytes)} at the"
        f" ends; cached {heap.cached_chunks:,} chunks\n"
    )


def _what(content: str | None, text: str | None, held_by: Sequence[str]) -> str:
    words = [content] if content else []
    if text:
        words.append(f'"{text[:36]}"')
    if held_by:
        words.append("held by " + " < ".join([*held_by[:2], *held_by[2:][-1:]]))
    return ", ".join(words)


def _groups_text(groups: Sequence[Group], top: int) -> str:
    columns = [Column("bytes"), Column("blocks"), Column("of"), Column("with them"),
               Column("what stands there", "<")]  # fmt: skip
    rows = [
        [
            figure(group.bytes), figure(group.blocks), figure(group.size_bytes),
            figure(group.indirect_bytes) if group.indirect_bytes else "",
            _what(group.content, group.text, group.held_by),
        ]
        for group in groups[:top]
    ]  # fmt: skip
    rest = len(groups) - top
    return table(columns, rows) + (f"and {rest:,} groups more\n" if rest > 0 else "")


def _advice(group: Group) -> str:
    if group.content:
        return group.content
    if group.text:
        return f'what writes "{group.text[:36]}"'
    return f"malloc of {group.size_bytes - 24 + 1} to {group.size_bytes} bytes"


def growth_text(growth: HeapGrowth, top: int) -> str:
    """What came between two scans."""
    head = (
        f"in {growth.seconds:.1f} s: lost {signed(growth.lost_bytes_since)} in"
        f" {growth.lost_blocks_since:+,} blocks, in use {signed(growth.in_use_bytes_since)}\n"
    )
    grown = [one for one in growth.groups if one.bytes_since > 0]
    return head + (groups_since_text(grown[:top]) if grown else "no group of blocks grew\n")


def groups_since_text(groups: Sequence[Growth]) -> str:
    """Groups of blocks with what they grew by."""
    columns = [Column("since"), Column("blocks"), Column("of"), Column("rate"), Column("kind", "<"),
               Column("what stands there", "<")]  # fmt: skip
    rows = [
        [
            signed(one.bytes_since), f"{one.blocks_since:+,}", figure(one.size_bytes),
            per_hour(one.bytes_per_s), KIND_TITLES[one.kind],
            _what(one.content, one.text, one.held_by),
        ]
        for one in groups
    ]  # fmt: skip
    return table(columns, rows)
