"""Owns /proc/vmallocinfo of a twin: its kernel stacks, and what booting left behind.

Imports the records of observe/vmallocinfo. Pages of all areas add up to VmallocUsed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from memtwin.observe.vmallocinfo import VmallocArea
from memtwin.units import PAGE_SIZE

# arch/x86/include/asm/pgtable_64_types.h VMALLOC_START, v6.1
# MODEL: stacks follow each other from 1 TiB above it, each on the next multiple of a stack's
# alignment; the twin's kernel gives addresses only to what scripts allocate
_STACKS_VADDR = 0xFFFF_C900_0000_0000 + (1 << 40)
_ALIGN_BYTES = 16 << 10  # include/linux/thread_info.h THREAD_ALIGN, v6.1
_GUARD_BYTES = PAGE_SIZE  # mm/vmalloc.c __get_vm_area_node(), v6.1


def stack_areas(stacks: Iterable[Mapping[int, int]], boot_pages: int) -> list[VmallocArea]:
    """One area for each stack, given as node -> pages; before them what booting took, as one.

    >>> [area.size_bytes for area in stack_areas([{0: 4}], 0)]
    [20480]
    """
    areas: list[VmallocArea] = []
    at_vaddr = _STACKS_VADDR
    if boot_pages > 0:
        # MODEL: a recorded start that has no vmallocinfo tells only how much booting took
        at_vaddr = _add(areas, at_vaddr, "memtwin_boot+0x0/0x0", {0: boot_pages})
    for by_node in stacks:
        # kernel/fork.c alloc_thread_stack_node(), v6.1; printed as kernel_clone() calls it
        at_vaddr = _add(areas, at_vaddr, "kernel_clone+0x0/0x0", by_node)
    return areas


def without_stacks(areas: list[VmallocArea], gone: int) -> list[VmallocArea]:
    """A recorded start's `areas` without its last `gone` stacks, which were freed since.

    >>> len(without_stacks(stack_areas([{0: 4}, {0: 4}], 0), 1))
    1
    """
    kept = []
    for area in reversed(areas):
        if gone and area.function == "kernel_clone":
            gone -= 1
        else:
            kept.append(area)
    return kept[::-1]


def vmalloc_area(at_vaddr: int, caller: str, by_node: Mapping[int, int]) -> VmallocArea:
    """An area of memory at `at_vaddr`; `by_node`: node -> pages."""
    pages = sum(by_node.values())
    size_bytes = pages * PAGE_SIZE + _GUARD_BYTES
    return VmallocArea(
        f"0x{at_vaddr:016x}",
        f"0x{at_vaddr + size_bytes:016x}",
        size_bytes,
        caller,
        pages,
        flags=("vmalloc",),
        by_node_pages={f"N{node}": count for node, count in by_node.items()},
    )


def _add(areas: list[VmallocArea], at_vaddr: int, caller: str, by_node: Mapping[int, int]) -> int:
    area = vmalloc_area(at_vaddr, caller, by_node)
    areas.append(area)
    return at_vaddr + -(-area.size_bytes // _ALIGN_BYTES) * _ALIGN_BYTES
