"""Owns merging and splitting of areas, as the kernel's vma_merge() and __split_vma() do.

Imports vma, vma_tree, anon_vma, rmap (MappedFiles). Has never heard of pages or of why a flag
changes.
"""

from __future__ import annotations

from memtwin.address_space.anon_vma import AnonVmas
from memtwin.address_space.mapped_files import MappedFiles
from memtwin.address_space.mm import Mm
from memtwin.address_space.vm_flags import VMA_ANON, VMA_FILE, VMA_SHMEM
from memtwin.address_space.vma import VMA
from memtwin.address_space.vma_tree import VmaTree
from memtwin.errors import require


class Areas:
    """Changes to the set of areas of any mm, keeping anon_vmas and file maps in step."""

    def __init__(self, anon_vmas: AnonVmas, files: MappedFiles) -> None:
        self.anon_vmas = anon_vmas
        self.files = files
        self.changed: dict[int, Mm] = {}  # address spaces that got or lost areas; takers clear it

    def tree(self, mm: Mm) -> VmaTree:
        """The areas of `mm`."""
        tree = mm.tree
        assert isinstance(tree, VmaTree)
        return tree

    def insert(self, vma: VMA) -> None:
        """Add a new area to its mm."""
        self.tree(vma.mm).insert(vma)
        self.files.add(vma)
        self.changed[vma.mm.id] = vma.mm

    def remove(self, vma: VMA) -> None:
        """Take an area, whose pages are gone, out of its mm."""
        self.tree(vma.mm).remove(vma)
        self.files.remove(vma)
        self.changed[vma.mm.id] = vma.mm
        self.anon_vmas.unlink(vma)

    def split(self, vma: VMA, at_vpn: int) -> VMA:
        """Cut `vma` at `at_vpn`; it keeps the lower part, the new upper part is returned."""
        require(
            vma.start_vpn < at_vpn < vma.end_vpn, "vma_merge.split", f"{at_vpn:#x} is not inside"
        )
        upper = vma.copy_to(vma.mm)
        upper.start_vpn = at_vpn
        upper.pgoff = vma.pgoff + (at_vpn - vma.start_vpn)
        self.tree(vma.mm).set_range(vma, vma.start_vpn, at_vpn)
        if vma.chain:
            self.anon_vmas.split(upper, vma)
        self.insert(upper)
        return upper

    def isolate(self, mm: Mm, start_vpn: int, end_vpn: int) -> list[VMA]:
        """The areas in [start_vpn, end_vpn), after cutting those that reach beyond its borders."""
        for border in (start_vpn, end_vpn):
            vma = self.tree(mm).find(border)
            if vma is not None and vma.start_vpn < border:
                self.split(vma, border)
        return self.tree(mm).overlapping(start_vpn, end_vpn)

    def expand_new(self, vma: VMA) -> VMA:
        """Insert `vma`, new and without pages, or let a neighbour grow over its range; the result.

        mm/mmap.c vma_merge() as mmap_region() and do_brk_flags() use it, v6.1.
        """
        tree = self.tree(vma.mm)
        at = int(tree.index_above(vma.start_vpn))
        before: VMA | None = tree.at(at - 1)
        after: VMA | None = tree.at(at)
        if before is not None and not self._fits(before, vma):
            before = None
        if after is not None and not self._fits(vma, after):
            after = None
        if before is not None and after is not None and self._chains_fit(before, after, None):
            self._absorb(before, after)
            return before
        if before is not None:
            tree.set_range(before, before.start_vpn, vma.end_vpn)
            return before
        if after is not None:
            after.pgoff -= after.start_vpn - vma.start_vpn
            tree.set_range(after, vma.start_vpn, after.end_vpn)
            return after
        self.insert(vma)
        return vma

    def merge_around(self, mm: Mm, start_vpn: int, end_vpn: int) -> None:
        """After flags of the areas in the range changed.

        Join each with what it fits, borders included.
        """
        tree = self.tree(mm)
        at = max(int(tree.first_ending_above(start_vpn)) - 1, 0)
        while at + 1 < tree.nr:
            left, right = tree.vmas[at], tree.vmas[at + 1]
            if left.start_vpn >= end_vpn:
                return
            if self._fits(left, right):
                self._absorb(left, right)
            else:
                at += 1

    def _fits(self, left: VMA, right: VMA) -> bool:
        """Whether two neighbours may become one (can_vma_merge_after(), v6.1)."""
        mergeable = left.kind in (VMA_ANON, VMA_FILE, VMA_SHMEM)  # special mappings never are
        return (
            mergeable
            and left.end_vpn == right.start_vpn
            and left.same_backing(right)
            and right.pgoff == left.pgoff + (right.start_vpn - left.start_vpn)
            and self._chains_fit(left, right, left if left.chain else right)
        )

    def _chains_fit(self, left: VMA, right: VMA, chained: VMA | None) -> bool:
        """mm/mmap.c is_mergeable_anon_vma(), v6.1."""
        if not left.anon_vma or not right.anon_vma:
            return chained is None or len(chained.chain) <= 1
        return left.anon_vma == right.anon_vma

    def _absorb(self, keeper: VMA, victim: VMA) -> None:
        """Let `keeper` grow over the hole and `victim`, whose entries stay as they are."""
        end_vpn = victim.end_vpn
        if not keeper.anon_vma and victim.chain:
            self.anon_vmas.split(keeper, victim)
        self.remove(victim)
        self.tree(keeper.mm).set_range(keeper, keeper.start_vpn, end_vpn)
