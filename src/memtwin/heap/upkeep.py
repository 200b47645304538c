"""Owns malloc_trim, mallopt and mallinfo2, and the texts of malloc_stats and malloc_info.

Imports the heap. Knows nothing of programs. It walks lists in Python: these calls are rare.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass

from memtwin.columns import array
from memtwin.heap.constants import (
    BLOCK_SHIFT,
    MADV_DONTNEED,
    NBINS,
    NFASTBINS,
    PAGE_SIZE,
    SIZEOF_MALLOC_CHUNK,
)
from memtwin.heap.heap import Heap


@dataclass
class MallInfo:
    """malloc/malloc.h struct mallinfo2, glibc 2.36: bytes, and counts of free chunks (blks)."""

    arena: int = 0
    ordblks: int = 0
    smblks: int = 0
    hblks: int = 0
    hblkhd: int = 0
    usmblks: int = 0
    fsmblks: int = 0
    uordblks: int = 0
    fordblks: int = 0
    keepcost: int = 0


@dataclass(frozen=True)
class SizeClass:
    """Free chunks of one bin: the smallest and the largest, all their bytes, how many."""

    start: int
    end: int
    total: int
    count: int


def arena_ring(heap: Heap) -> Iterator[int]:
    """The arenas in the order that glibc walks them, main_arena first."""
    arena = 0
    while True:
        yield arena
        arena = int(heap.arenas.next[arena])
        if arena == 0:
            return


def bin_chunks(heap: Heap, arena: int, i: int) -> Iterator[int]:
    """Rows of the chunks of bin `i`, from the last to the first: as glibc takes them."""
    head = int(heap.arenas.bin_at(arena, i))
    words = heap.memory.word
    row = int(words[2 * head + 3])
    while row != head:
        following = int(words[2 * row + 3])
        yield row
        row = following


def fast_chunks(heap: Heap, arena: int, i: int) -> Iterator[int]:
    """Rows of the chunks of fastbin `i`."""
    row = int(heap.arenas.fastbin[arena * NFASTBINS + i])
    while row:
        yield row
        row = int(heap.memory.word[2 * row + 2])


def mallopt(heap: Heap, parameter: int, value: int) -> int:
    """1 done, 0 refused (malloc/malloc.c __libc_mallopt(), glibc 2.36)."""
    heap.int_free.consolidate(0)
    return int(heap.par.mallopt(parameter, value))


def malloc_trim(heap: Heap, pad_bytes: int = 0) -> int:
    """1 when anything went back to the system (malloc/malloc.c __malloc_trim(), glibc 2.36)."""
    result = 0
    for arena in arena_ring(heap):
        heap.int_free.consolidate(arena)
        for start, length, row in trimmable(heap, arena):
            heap.system.madvise(start, length, MADV_DONTNEED)
            heap.memory.give_back(row, length)
            result = 1
        if arena == 0:
            result |= int(heap.int_free.systrim(pad_bytes))
    return result


def trimmable(heap: Heap, arena: int) -> Iterator[tuple[int, int, int]]:
    """(address, bytes, row) of the whole pages inside free chunks, as mtrim() finds them."""
    page_bin = int(heap.arenas.bin_index(PAGE_SIZE))
    for i in range(1, NBINS):
        if i != 1 and i < page_bin:
            continue
        for row in bin_chunks(heap, arena, i):
            address = int(heap.memory.address_of(row))
            start = (address + SIZEOF_MALLOC_CHUNK + PAGE_SIZE - 1) & -PAGE_SIZE
            length = (address + chunk_bytes(heap, row) - start) & -PAGE_SIZE
            if length > 0:
                yield start, length, row + ((start - address) >> 4)


def chunk_bytes(heap: Heap, row: int) -> int:
    """Size of a chunk, header included."""
    return int(heap.arenas.chunk_size(row))


def mallinfo2(heap: Heap) -> MallInfo:
    """Of all arenas together."""
    total = MallInfo()
    for arena in arena_ring(heap):
        for name, value in vars(arena_info(heap, arena)).items():
            setattr(total, name, getattr(total, name) + value)
    return total


def arena_info(heap: Heap, arena: int) -> MallInfo:
    """malloc/malloc.c int_mallinfo(), glibc 2.36, of one arena; mapped chunks count to the main."""
    info = MallInfo(arena=int(heap.arenas.system_mem[arena]), ordblks=1)
    top_bytes = chunk_bytes(heap, int(heap.arenas.top[arena]))
    info.fordblks = top_bytes
    for i in range(NFASTBINS):
        for row in fast_chunks(heap, arena, i):
            info.smblks += 1
            info.fsmblks += chunk_bytes(heap, row)
    for i in range(1, NBINS):
        for row in bin_chunks(heap, arena, i):
            info.ordblks += 1
            info.fordblks += chunk_bytes(heap, row)
    info.fordblks += info.fsmblks
    info.uordblks = info.arena - info.fordblks
    if arena == 0:
        info.hblks = int(heap.par.n_mmaps)
        info.hblkhd = int(heap.par.mmapped_mem)
        info.keepcost = top_bytes
    return info


def mallinfo_numbers(heap: Heap) -> list[int]:
    """The ten fields in the order of the struct."""
    return list(astuple(mallinfo2(heap)))


def malloc_stats(heap: Heap) -> str:
    """The text of malloc_stats() (malloc/malloc.c __malloc_stats(), glibc 2.36)."""
    lines = []
    in_use = system = int(heap.par.mmapped_mem)
    for number, arena in enumerate(arena_ring(heap)):
        info = arena_info(heap, arena)
        lines.append(f"Arena {number}:")
        lines += _two(info.arena, info.uordblks)
        system += info.arena
        in_use += info.uordblks
    lines.append("Total (incl. mmap):")
    lines += _two(system, in_use)
    lines.append(f"max mmap regions = {int(heap.par.max_n_mmaps):10}")
    lines.append(f"max mmap bytes   = {int(heap.par.max_mmapped_mem):10}")
    return "\n".join(lines) + "\n"


def _two(system: int, in_use: int) -> list[str]:
    # printed as unsigned int
    mask = (1 << 32) - 1
    return [
        f"system bytes     = {system & mask:10}",
        f"in use bytes     = {in_use & mask:10}",
    ]


def size_classes(heap: Heap, arena: int) -> list[SizeClass]:
    """As malloc_info counts them: 10 fastbins, the unsorted bin, then bins 2 to 127."""
    found = []
    for i in range(NFASTBINS):
        sizes = [chunk_bytes(heap, row) for row in fast_chunks(heap, arena, i)]
        start = sizes[0] - 15 if sizes else 0
        end = sizes[0] if sizes else 0
        found.append(SizeClass(start, end, end * len(sizes), len(sizes)))
    words = array(heap.memory.word)
    for i in range(1, NBINS):
        # with the bits of the size word, as glibc prints them
        sizes = [int(words[2 * row + 1]) for row in bin_chunks(heap, arena, i)]
        found.append(
            SizeClass(min(sizes, default=0), max(sizes, default=0), sum(sizes), len(sizes))
        )
    return found


def malloc_info(heap: Heap) -> str:
    """The text of malloc_info(0) (malloc/malloc.c __malloc_info(), glibc 2.36)."""
    out = ['<malloc version="1">']
    sums = [0] * 8
    for number, arena in enumerate(arena_ring(heap)):
        out += [f'<heap nr="{number}">', "<sizes>"]
        figures = _arena_text(heap, arena, out)
        out.append("</heap>")
        sums = [a + b for a, b in zip(sums, figures, strict=True)]
    out += _totals(sums[:4])
    count, size = int(heap.par.n_mmaps), int(heap.par.mmapped_mem)
    out.append(f'<total type="mmap" count="{count}" size="{size}"/>')
    out += _system(sums[4:6])
    out.append(f'<aspace type="total" size="{sums[6]}"/>')
    out.append(f'<aspace type="mprotect" size="{sums[7]}"/>')
    out.append("</malloc>")
    return "\n".join(out) + "\n"


def _arena_text(heap: Heap, arena: int, out: list[str]) -> list[int]:
    classes = size_classes(heap, arena)
    for number, found in enumerate(classes):
        if found.count and number != NFASTBINS:
            out.append(f"  <size {_four(found)}/>")
    unsorted = classes[NFASTBINS]
    if unsorted.count:
        out.append(f"  <unsorted {_four(unsorted)}/>")
    out.append("</sizes>")
    fast, rest = classes[:NFASTBINS], classes[NFASTBINS:]
    counts = [
        sum(c.count for c in fast),
        sum(c.total for c in fast),
        1 + sum(c.count for c in rest),
        chunk_bytes(heap, int(heap.arenas.top[arena])) + sum(c.total for c in rest),
    ]
    system = [int(heap.arenas.system_mem[arena]), int(heap.arenas.max_system_mem[arena])]
    out += _totals(counts) + _system(system)
    space = [system[0], system[0]]
    subheaps = ""
    if arena:
        sizes = list(_heaps_of(heap, arena))
        space = [sum(size for size, _ in sizes), sum(writable for _, writable in sizes)]
        subheaps = f'<aspace type="subheaps" size="{len(sizes)}"/>'
    out.append(f'<aspace type="total" size="{space[0]}"/>')
    out.append(f'<aspace type="mprotect" size="{space[1]}"/>')
    if subheaps:
        out.append(subheaps)
    return counts + system + space


def _heaps_of(heap: Heap, arena: int) -> Iterator[tuple[int, int]]:
    row = int(heap.heaps.heap_for(int(heap.arenas.top[arena])))
    while row:
        block = row >> BLOCK_SHIFT
        yield int(heap.heaps.size[block]), int(heap.heaps.mprotect_size[block])
        row = int(heap.heaps.prev[block])


def _four(found: SizeClass) -> str:
    return f'from="{found.start}" to="{found.end}" total="{found.total}" count="{found.count}"'


def _totals(counts: list[int]) -> list[str]:
    return [
        f'<total type="fast" count="{counts[0]}" size="{counts[1]}"/>',
        f'<total type="rest" count="{counts[2]}" size="{counts[3]}"/>',
    ]


def _system(sizes: list[int]) -> list[str]:
    return [
        f'<system type="current" size="{sizes[0]}"/>',
        f'<system type="max" size="{sizes[1]}"/>',
    ]
