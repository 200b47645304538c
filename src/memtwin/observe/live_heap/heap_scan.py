"""Owns one scan of a live heap from the freeze to the records.

Imports the other files of the room. A heap that does not fit is looked at again, because the
program may have stood in the middle of a call; what stays is said, and nothing is guessed from it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from memtwin.errors import UserError
from memtwin.heap.block_states import IN_REGISTER
from memtwin.heap.reachability import Reachability
from memtwin.observe.live_heap.allocators import Allocators, recognise
from memtwin.observe.live_heap.arenas import Trouble, find_main_arena
from memtwin.observe.live_heap.content import GC_HEAD_BYTES, Content
from memtwin.observe.live_heap.heap_blocks import HeapBlocks, read_blocks
from memtwin.observe.live_heap.mappings import read_mappings
from memtwin.observe.live_heap.marking import mark
from memtwin.observe.live_heap.memory_image import MemoryImage
from memtwin.observe.live_heap.method_choice import choose_method
from memtwin.observe.live_heap.modules import Modules
from memtwin.observe.live_heap.records import (
    Group,
    HeapFigures,
    HeapScan,
    ScanCost,
    Tally,
    TroubleSeen,
)
from memtwin.observe.live_heap.second_bases import second_bases
from memtwin.observe.live_heap.target import (
    Frozen,
    Method,
    Released,
    check_target,
    frozen,
)

TRIES = 6
_PAUSE_S = 0.02  # between tries, longer each time
# of Reachability's states, by number
_KIND_OF_STATE = ("definite", "indirect", "possible", "reachable")
_EXAMPLES = 5
_MOST_DESCRIBED = 200  # groups whose text and holders are looked up, the largest first
_MOST_STEPS = 6
_COUNT_IN_FRONT_BYTES = 8  # new[] of a class with a destructor (Itanium C++ ABI, array cookies)
_TLS_BYTES = 4096
_STARTTIME, _START_BRK = 19, 44  # proc(5): fields 22 and 47, counted behind the name


class HeapTrouble(UserError):
    """The heap does not fit together: where and what, and whether it was so each time."""


@dataclass
class Look:
    """One try: what was read, and how long things took."""

    frozen: Frozen
    image: MemoryImage
    allocators: Allocators
    blocks: HeapBlocks | None
    released: Released | None
    start_ticks: int
    name: str
    start_brk: int | None
    read_cpu_ns: int
    walk_cpu_ns: int = 0
    notes: list[str] = field(default_factory=list)


def scan_heap(pid: int, method: Method | None = None) -> HeapScan:
    """Look into the heap of `pid` once; without a method, by the one that suits it.

    Raises UserError when it can't be looked into, is no glibc heap, or (HeapTrouble) does not fit
    together in several looks.
    """
    began_ns = time.monotonic_ns()
    taken_s = time.time()
    troubles: list[list[Trouble]] = []
    check_target(pid)
    notes: list[str] = []
    if method is None:
        method, notes = choose_method(pid)
    stop_ns, nr_locked = 0, 0
    while len(troubles) < TRIES:
        look = take_look(pid, method)
        look.notes += notes
        stop_ns = max(stop_ns, look.released.stop_ns if look.released else look.frozen.stop_ns)
        if look.blocks is None:
            raise UserError(f"PID {pid}: {look.allocators.unreadable}")
        if not look.blocks.troubles:
            return _finished(look, began_ns, taken_s, stop_ns, len(troubles) + 1)
        troubles.append(look.blocks.troubles)
        nr_locked += look.blocks.locked
        time.sleep(_PAUSE_S * len(troubles))
    raise HeapTrouble(f"PID {pid}: {_told(troubles, nr_locked)}")


def _told(troubles: list[list[Trouble]], nr_locked: int) -> str:
    last = troubles[-1][0]
    same = {trouble.vaddr for trouble in troubles[0]}
    for seen in troubles:
        same &= {trouble.vaddr for trouble in seen}
    if same:
        what = next(t.what for t in troubles[-1] if t.vaddr in same)
        return f"the heap is corrupted at {min(same):#x}: {what} (in each of {TRIES} looks)"
    held = f", {nr_locked} times with a thread inside the allocator" if nr_locked else ""
    return (
        f"the heap was in mid-change in each of {TRIES} looks{held};"
        f" last at {last.vaddr:#x}: {last.what}"
    )


def take_look(pid: int, method: Method) -> Look:
    """Freeze `pid`, read its memory, let it go, and walk its heap; `blocks` is None without one."""
    with frozen(pid, method) as hold:
        look = read_look(hold.frozen)
    look.released = hold.released
    walk(look)
    return look


def read_look(frozen: Frozen, left_out: Path | None = None) -> Look:
    """Read the memory of a process that stands still; it may run on, or end, afterwards.

    Files below `left_out` that it maps are not looked for pointers: they are a recorder's.
    Raises UserError when it is no glibc heap, or can't be read.
    """
    began_ns = time.process_time_ns()
    pid, readable = frozen.target_pid, frozen.readable_pid
    try:
        mappings = read_mappings(readable)
        name, start_ticks, start_brk = _identity(pid)
        allocators = recognise(pid, mappings)
        if not allocators.is_glibc_alone:
            raise UserError(f"PID {pid}: {allocators.unreadable}")
        if left_out is not None:
            mappings = [one for one in mappings if not one.path.startswith(f"{left_out}/")]
        image = MemoryImage(readable, mappings)
    except PermissionError as error:
        raise UserError(f"PID {pid}: its memory can't be read ({error.strerror})") from None
    except OSError as error:
        raise UserError(f"PID {pid}: ended meanwhile ({error.strerror})") from None
    cpu_ns = time.process_time_ns() - began_ns
    return Look(frozen, image, allocators, None, None, start_ticks, name, start_brk, cpu_ns)


def walk(look: Look) -> None:
    """Find the blocks in what was read; `look.blocks` stays None where there is no heap."""
    began_ns = time.process_time_ns()
    image, allocators = look.image, look.allocators
    main_vaddr = find_main_arena(image) if allocators.glibc else None
    if main_vaddr is not None and allocators.glibc is not None:
        blocks = read_blocks(
            image, allocators.glibc, main_vaddr, look.start_brk, look.frozen.threads
        )
        if len(blocks.starts) or blocks.troubles or not allocators.foreign:
            look.blocks = blocks
    look.walk_cpu_ns = time.process_time_ns() - began_ns


def _identity(pid: int) -> tuple[str, int, int | None]:
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        head, _, rest = file.read().rpartition(")")
    fields = rest.split()
    return head.partition("(")[2], int(fields[_STARTTIME]), int(fields[_START_BRK]) or None


def mark_look(look: Look, blocks: HeapBlocks) -> Reachability:
    """Sort the blocks of a look, by the rules of the languages that the program is written in."""
    inner = second_bases(look.frozen.target_pid, look.image, blocks)
    mask = start_mask(look.allocators)
    return mark(look.image, blocks, look.frozen.threads, mask, inner)


def _finished(look: Look, began_ns: int, taken_s: float, stop_ns: int, tries: int) -> HeapScan:
    assert look.blocks is not None
    mark_began_ns = time.process_time_ns()
    reach = mark_look(look, look.blocks)
    mark_cpu_ns = time.process_time_ns() - mark_began_ns
    modules = Modules(look.frozen.target_pid, look.image.mappings)
    content = Content(look.frozen.target_pid, look.image, modules)
    groups = _groups(look, reach, content, modules)
    cost = ScanCost(
        stop_ns, look.image.read_bytes, look.read_cpu_ns, look.walk_cpu_ns, mark_cpu_ns,
        int(reach.scanned_bytes), time.monotonic_ns() - began_ns, tries,
    )  # fmt: skip
    version = look.allocators.glibc_version or (0, 0)
    return HeapScan(
        look.frozen.target_pid,
        look.name,
        taken_s,
        look.start_ticks,
        f"glibc {version[0]}.{version[1]}",
        look.frozen.method.value,
        len(look.frozen.threads),
        _figures(look.blocks),
        _tallies(look.blocks, reach),
        groups,
        [TroubleSeen(trouble.vaddr, trouble.what) for trouble in look.blocks.troubles],
        _notes(look),
        cost,
    )


def start_mask(allocators: Allocators) -> int:
    """Which words inside a block are as good as its start, as Reachability takes it."""
    mask = 1
    if "CPython" in allocators.languages:
        mask |= 1 << (GC_HEAD_BYTES >> 3)
    if "C++" in allocators.languages:
        mask |= 1 << (_COUNT_IN_FRONT_BYTES >> 3)
    return mask


def _notes(look: Look) -> list[str]:
    assert look.blocks is not None
    notes = [*look.notes, *look.frozen.notes, *look.blocks.notes]
    if look.released is not None and look.released.left_behind:
        notes.append("a dead copy stays in the process table until the program ends")
    if "CPython" in look.allocators.languages:
        notes.append(
            "CPython: objects to 512 bytes live in its own arenas, which count as roots here;"
            " a pointer behind a block's collector header counts as one to its start"
        )
    if look.allocators.foreign:
        names = " and ".join(look.allocators.foreign)
        notes.append(f"memory from {names} is not part of this")
    if look.image.unreadable:
        notes.append(f"{len(look.image.unreadable)} ranges could not be read")
    return notes


def _figures(blocks: HeapBlocks) -> HeapFigures:
    lengths = blocks.ends - blocks.starts
    return HeapFigures(
        blocks.system_bytes,
        int(lengths[blocks.mapped].sum()),
        int(lengths.sum()),
        blocks.free_bytes,
        blocks.top_bytes,
        blocks.nr_chunks,
        blocks.nr_cached,
        blocks.nr_fastbin,
        int(blocks.mapped.sum()),
        len(blocks.arenas.found),
    )


def _tallies(blocks: HeapBlocks, reach: Reachability) -> dict[str, Tally]:
    state = np.asarray(reach.state)[: len(blocks.starts)]
    lengths = blocks.ends - blocks.starts
    return {
        kind: Tally(int((state == number).sum()), int(lengths[state == number].sum()))
        for number, kind in enumerate(_KIND_OF_STATE)
    }


def _groups(look: Look, reach: Reachability, content: Content, modules: Modules) -> list[Group]:
    blocks = look.blocks
    assert blocks is not None
    n = len(blocks.starts)
    if n == 0:
        return []
    state = np.asarray(reach.state)[:n].astype(np.int64)
    lengths = blocks.ends - blocks.starts
    keys = content.keys(blocks.starts, blocks.ends)
    order = np.lexsort((keys, lengths, state))
    changes = (
        (np.diff(state[order]) != 0) | (np.diff(lengths[order]) != 0) | (np.diff(keys[order]) != 0)
    )
    firsts = np.concatenate(([0], np.flatnonzero(changes) + 1))
    counts = np.diff(np.concatenate((firsts, [n])))
    indirect_blocks = np.add.reduceat(np.asarray(reach.indirect_blocks)[:n][order], firsts)
    indirect_bytes = np.add.reduceat(np.asarray(reach.indirect_bytes)[:n][order], firsts)
    sums = counts * lengths[order][firsts]
    rank = np.lexsort((-(sums + indirect_bytes), state[order][firsts]))
    largest = set(np.argsort(-(sums + indirect_bytes))[:_MOST_DESCRIBED].tolist())
    groups = []
    for g in rank.tolist():
        members = order[firsts[g] : firsts[g] + min(int(counts[g]), _EXAMPLES)]
        block, key = int(members[0]), int(keys[members[0]])
        described = g in largest or _KIND_OF_STATE[state[block]] == "definite"
        start, end = int(blocks.starts[block]), int(blocks.ends[block])
        groups.append(
            Group(
                _KIND_OF_STATE[state[block]],
                end - start,
                int(counts[g]),
                int(sums[g]),
                int(indirect_blocks[g]),
                int(indirect_bytes[g]),
                content.name(key),
                content.text(start, end) if described else None,
                _holders(look, reach, modules, block) if described else [],
                blocks.starts[members].tolist(),
            )
        )
    return groups


def _holders(look: Look, reach: Reachability, modules: Modules, block: int) -> list[str]:
    """From a block outwards: the blocks that hold it, and the root at the end."""
    blocks = look.blocks
    assert blocks is not None
    steps: list[str] = []
    found_at = reach.found_at
    seen: set[int] = set()
    while found_at[block] and block not in seen:
        seen.add(block)
        at = int(found_at[block])
        if at == IN_REGISTER:
            steps.append("a register")
            break
        holder = int(reach.block_at(at))
        if holder < 0:
            steps.append(_root_name(look, modules, at))
            break
        if len(steps) < _MOST_STEPS:
            offset = at - int(blocks.starts[holder])
            size = int(blocks.ends[holder] - blocks.starts[holder])
            steps.append(f"a block of {size} bytes, at +{offset}")
        elif len(steps) == _MOST_STEPS:
            steps.append("...")
        block = holder
    return steps


def _root_name(look: Look, modules: Modules, vaddr: int) -> str:
    named = modules.describe(vaddr)
    if named is not None:
        return named
    region = look.image.region_at(vaddr)
    for thread in look.frozen.threads:
        if region is not None and region.start_vaddr <= thread.stack_pointer < region.end_vaddr:
            # a thread's own variables lie above its first frame, under its control block
            near = region.end_vaddr > thread.fs_base > vaddr > thread.fs_base - _TLS_BYTES
            where = "first frame or thread-local data" if near else "stack"
            return f"{where} of thread {thread.tid}"
    place = (
        region.mapping.path if region is not None and region.mapping.path else "anonymous memory"
    )
    return f"{place} at {vaddr:#x}"
