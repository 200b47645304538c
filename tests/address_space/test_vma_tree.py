"""The tree of areas against a plain sorted list, and where it finds room."""

from __future__ import annotations

from random import Random

import pytest

from memtwin.address_space.mm import Mm
from memtwin.address_space.vm_flags import VM_GROWSDOWN, VM_READ, VM_WRITE, VMA_ANON
from memtwin.address_space.vma import VMA
from memtwin.address_space.vma_tree import VmaTree
from memtwin.errors import InternalError
from memtwin.page.tunables import Tunables

CEILING = 5000


def area(start_vpn: int, end_vpn: int, flags: int = VM_READ | VM_WRITE) -> VMA:
    return VMA(Mm(1, Tunables(601, 1)), start_vpn, end_vpn, flags, VMA_ANON)


@pytest.mark.parametrize("seed", range(3))
def test_find_agrees_with_a_walk_over_all_areas(seed: int) -> None:
    random, tree, held = Random(seed), VmaTree(), []
    for _ in range(300):
        if held and random.random() < 0.3:
            vma = held.pop(random.randrange(len(held)))
            tree.remove(vma)
        else:
            start = random.randrange(16, CEILING - 40)
            vma = area(start, start + random.randrange(1, 40))
            if all(v.end_vpn <= vma.start_vpn or vma.end_vpn <= v.start_vpn for v in held):
                tree.insert(vma)
                held.append(vma)
        for vpn in random.sample(range(CEILING), 20):
            inside = [v for v in held if v.start_vpn <= vpn < v.end_vpn]
            assert tree.find(vpn) is (inside[0] if inside else None)
        tree.verify()


@pytest.mark.parametrize("seed", range(3))
def test_the_highest_gap_below_a_ceiling_is_the_one_a_search_page_by_page_finds(seed: int) -> None:
    random, tree, taken = Random(seed), VmaTree(), set()
    for start in sorted(random.sample(range(100, CEILING, 60), 40)):
        tree.insert(area(start, start + random.randrange(1, 60)))
        taken |= set(range(start, tree.vmas[-1].end_vpn))
    for size in (1, 5, 30, 70, 200):
        expected = -1
        for start in range(CEILING - size, 15, -1):
            if not any(vpn in taken for vpn in range(start, start + size)):
                expected = start
                break
        assert tree.free_gap_below(size, CEILING) == expected


def test_below_a_stack_its_guard_gap_stays_free() -> None:
    tree = VmaTree()
    tree.insert(area(4000, 4010, VM_READ | VM_WRITE | VM_GROWSDOWN))
    assert tree.free_gap_below(10, 4000) == 4000 - 256 - 10


def test_areas_may_not_overlap() -> None:
    tree = VmaTree()
    tree.insert(area(100, 110))
    with pytest.raises(InternalError, match="overlaps"):
        tree.insert(area(109, 120))
