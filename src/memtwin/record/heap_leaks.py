"""Owns the leaks of a recorded program: blocks in use at its end, with the stacks that made them.

Imports heap_trace, exit_scan, frame_names, observe and heap. The heap says which blocks are in use
and what points to them, the recording how large each was asked for, and by whom; an address joins
the two. Sizes are those asked for, so that figures are memcheck's.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from memtwin import __version__
from memtwin.heap.block_states import INDIRECT, POSSIBLE, REACHABLE, UNREACHED
from memtwin.heap.reachability import Reachability
from memtwin.observe.leak_reports.report import (
    KIND_TITLES,
    Frame,
    LeakReport,
    LossRecord,
    Tally,
    tallies_of,
)
from memtwin.observe.live_heap.heap_scan import Look, mark_look
from memtwin.record.frame_names import named
from memtwin.record.heap_trace import CALLOC, FREE, MALLOC, MEMALIGN, REALLOC, HeapTrace

Ints = NDArray[np.int64]
_KINDS = {
    UNREACHED: "definite",
    INDIRECT: "indirect",
    POSSIBLE: "possible",
    REACHABLE: "reachable",
}


def leaks_of(trace: HeapTrace, look: Look, files: Mapping[str, str]) -> LeakReport:
    """The report of the process that `look` saw at its end.

    `files` are the paths of the short names that frames of the recording have.
    """
    blocks = look.blocks
    assert blocks is not None
    rows = _rows_of(trace, look.frozen.target_pid)
    sizes, stacks = _owners(trace, rows, blocks.starts)
    known = sizes >= 0
    usable = blocks.ends - blocks.starts
    sizes = np.where(known, sizes, usable)
    # memcheck takes what was asked for, and a block of 0 bytes as one that can be pointed to
    blocks.ends = blocks.starts + np.minimum(np.maximum(sizes, 1), usable)
    reach = mark_look(look, blocks)
    records = _records(trace, reach, sizes, stacks, known, files)
    report = LeakReport(
        tool="memtwin heap record",
        tool_version=__version__,
        command=" ".join(trace.info.command),
        pid=look.frozen.target_pid,
        kinds=tallies_of(records),
        records=records,
        in_use=Tally(int(known.sum()), int(sizes[known].sum())),
        notes=_notes(look, np.asarray(reach.state)[: len(sizes)][~known], sizes[~known]),
    )
    _count_calls(report, trace, rows)
    return report


def _rows_of(trace: HeapTrace, pid: int) -> Ints:
    """The events of the last program that `pid` was."""
    mine = np.flatnonzero(trace.table["pid"] == pid)
    if not len(mine):
        return mine
    return np.flatnonzero(trace.table["image"] == trace.table["image"][mine].max())


def _owners(trace: HeapTrace, rows: Ints, starts: Ints) -> tuple[Ints, Ints]:
    """For each block: bytes asked for (-1 unknown) and stack, of the last call that gave it."""
    table = {name: trace.table[name][rows] for name in ("op", "pointer", "size", "stack")}
    gave = np.isin(table["op"], (MALLOC, REALLOC, CALLOC, MEMALIGN)) & (table["pointer"] != 0)
    pointers = table["pointer"][gave]
    order = np.argsort(pointers, kind="stable")
    at = np.searchsorted(pointers[order], starts, side="right") - 1
    found = at >= 0
    found[found] = pointers[order][at[found]] == starts[found]
    sizes, stacks = np.full(len(starts), -1, np.int64), np.zeros(len(starts), np.int64)
    sizes[found] = table["size"][gave][order][at[found]]
    stacks[found] = table["stack"][gave][order][at[found]]
    return sizes, stacks


def _records(
    trace: HeapTrace,
    reach: Reachability,
    sizes: Ints,
    stacks: Ints,
    known: NDArray[np.bool_],
    files: Mapping[str, str],
) -> list[LossRecord]:
    """Recorded blocks of one kind and one stack together, as --leak-resolution=high has them."""
    n = len(sizes)
    state = np.asarray(reach.state)[:n].astype(np.int64)
    led = _led(np.asarray(reach.leader)[:n].astype(np.int64), state, sizes, known)
    led_blocks, led_bytes = (column[known] for column in led)
    stacks, sizes = stacks[known], sizes[known]
    keys = np.stack((state[known], stacks), axis=1)
    groups, inverse = np.unique(keys, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    sums = [
        np.bincount(inverse, weights=column, minlength=len(groups)).astype(np.int64).tolist()
        for column in (np.ones(len(sizes)), sizes, led_blocks, led_bytes)
    ]
    texts = {int(stack): trace.info.stacks.get(str(int(stack)), []) for stack in np.unique(stacks)}
    frames = named((frame for text in texts.values() for frame in text), files)
    records = []
    for (kind, stack), count, size, indirect, indirect_bytes in zip(
        groups.tolist(), *sums, strict=True
    ):
        shown: list[Frame] = [frames[frame] for frame in texts[stack]]
        record = LossRecord(
            _KINDS[kind], count, size, indirect or None, indirect_bytes or None, shown
        )
        records.append(record)
    return records


def _led(leader: Ints, state: Ints, sizes: Ints, known: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """For each leader of lost blocks: how many recorded ones only it leads to, and their bytes."""
    lost = np.flatnonzero(state == INDIRECT)
    top = leader[lost]
    while len(lost) and not np.array_equal(leader[top], top):
        top = leader[top]
    blocks, size = np.zeros(len(sizes), np.int64), np.zeros(len(sizes), np.int64)
    np.add.at(blocks, top, known[lost].astype(np.int64))
    np.add.at(size, top, np.where(known[lost], sizes[lost], 0))
    return blocks, size


def _count_calls(report: LeakReport, trace: HeapTrace, rows: Ints) -> None:
    """Calls as memcheck counts them: a realloc frees the old block and allocates the new one."""
    op = trace.table["op"][rows]
    pointer, argument = trace.table["pointer"][rows], trace.table["argument"][rows]
    gave = np.isin(op, (MALLOC, REALLOC, CALLOC, MEMALIGN)) & (pointer != 0)
    moved = (op == REALLOC) & (argument != 0) & ((pointer != 0) | (trace.table["size"][rows] == 0))
    report.allocs = int(gave.sum())
    report.frees = int(((op == FREE) | moved).sum())
    report.allocated_bytes = int(trace.table["size"][rows][gave].sum())


def _notes(look: Look, states: NDArray[np.uint8], sizes: Ints) -> list[str]:
    """What has to be said; `states` and `sizes` are of the blocks that are not recorded."""
    assert look.blocks is not None
    notes = ["looked at when the process ended, after its own exit handlers; not at what it forked"]
    notes += look.blocks.notes
    if look.blocks.troubles:
        trouble = look.blocks.troubles[0]
        notes.append(f"the heap does not fit at {trouble.vaddr:#x}: {trouble.what}")
    if len(states):
        kinds = ", ".join(
            f"{count} {KIND_TITLES[name]}"
            for number, name in _KINDS.items()
            if (count := int((states == number).sum()))
        )
        notes.append(
            f"left out: {len(states)} blocks ({int(sizes.sum()):,} bytes; {kinds}) from before the"
            " recording began or from inside the C library"
        )
    return notes
