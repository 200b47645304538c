"""Owns anon_vmas: which areas may map the anonymous pages of a family of processes.

Imports vma, errors. Has never heard of pages or page tables: `rmap` walks. A page names one
anon_vma; the areas linked to it are the one that faulted it in, and copies of that area in
children and grandchildren.

An anon_vma's life: made at an area's first anonymous fault, or at fork for the child's own pages
-> areas link and unlink -> the last area goes -> its number is used again.
"""

from __future__ import annotations

import cython

from memtwin.address_space.vma import VMA
from memtwin.errors import require


@cython.final
@cython.cclass
class AnonVma:
    """One anon_vma: the areas that may map its pages, and its place in the tree of forks."""

    def __init__(self, number: int, parent: int) -> None:
        self.id = number
        self.parent = parent  # 0: it is a root
        self.num_children = 0
        self.num_active_vmas = 0  # areas whose own pages it names (VMA.anon_vma == id)
        self.vmas: list[VMA] = []


@cython.final
@cython.cclass
class AnonVmas:
    """All anon_vmas by number; number 0 is none."""

    def __init__(self) -> None:
        self.all: list[AnonVma | None] = [None]
        self.unused: list[int] = []

    @cython.ccall
    def get(self, number: cython.int) -> AnonVma:
        """The anon_vma `number`."""
        found: AnonVma = self.all[number]  # type: ignore[assignment]
        return found

    def create(self, parent: int) -> AnonVma:
        """A new anon_vma below `parent` (0: a root)."""
        if self.unused:
            made = AnonVma(self.unused.pop(), parent)
            self.all[made.id] = made
        else:
            made = AnonVma(len(self.all), parent)
            self.all.append(made)
        if parent:
            above: AnonVma = self.get(parent)
            above.num_children += 1
        else:
            # a root counts itself: it is never reused (anon_vma_alloc(), v6.1)
            made.num_children = 1
        return made

    def link(self, vma: VMA, anon_vma: AnonVma) -> None:
        """Let `vma` map pages of `anon_vma`."""
        vma.chain.append(anon_vma.id)
        anon_vma.vmas.append(vma)

    @cython.ccall
    def prepare(self, vma: VMA, before: VMA | None, after: VMA | None) -> cython.int:
        """Give `vma` an anon_vma at its first anonymous fault; its number.

        `before` and `after` are its neighbours or None: a mergeable neighbour's anon_vma is
        shared, so that a later merge stays possible (mm/mmap.c find_mergeable_anon_vma(), v6.1).
        """
        if vma.anon_vma:
            return vma.anon_vma
        anon_vma: AnonVma | None = self._reusable(vma, after)
        if anon_vma is None:
            anon_vma = self._reusable(vma, before)
        if anon_vma is None:
            anon_vma = self.create(0)
        self.link(vma, anon_vma)
        vma.anon_vma = anon_vma.id
        anon_vma.num_active_vmas += 1
        return anon_vma.id

    def _reusable(self, vma: VMA, near: VMA | None) -> AnonVma | None:
        """mm/mmap.c reusable_anon_vma() and anon_vma_compatible(), v6.1."""
        if near is None or not near.anon_vma or len(near.chain) != 1:
            return None
        first, second = (vma, near) if vma.start_vpn < near.start_vpn else (near, vma)
        access = 7  # VM_READ | VM_WRITE | VM_EXEC may differ: mprotect can make them equal
        fits = (
            first.end_vpn == second.start_vpn
            and first.mapping_id == second.mapping_id
            and first.kind == second.kind
            and (first.vm_flags | access) == (second.vm_flags | access)
            and second.pgoff == first.pgoff + (second.start_vpn - first.start_vpn)
        )
        return self.get(near.anon_vma) if fits else None

    def clone(self, vma: VMA, source: VMA) -> None:
        """Link `vma` to every anon_vma of `source`, as a split does.

        mm/rmap.c anon_vma_clone(), v6.1.
        """
        for number in source.chain:
            anon_vma: AnonVma = self.get(number)
            self.link(vma, anon_vma)
            lone = anon_vma.num_children < 2 and anon_vma.num_active_vmas == 0
            if not vma.anon_vma and source.anon_vma and lone:
                vma.anon_vma = anon_vma.id
        if vma.anon_vma:
            own: AnonVma = self.get(vma.anon_vma)
            own.num_active_vmas += 1

    def split(self, vma: VMA, source: VMA) -> None:
        """Make `vma`, cut from `source`, share its anon_vma and chain."""
        vma.anon_vma = source.anon_vma
        self.clone(vma, source)

    def fork(self, vma: VMA, parent: VMA) -> None:
        """Link the child's area and give it an anon_vma of its own.

        mm/rmap.c anon_vma_fork(), v6.1.
        """
        if not parent.anon_vma:
            return
        vma.anon_vma = 0
        self.clone(vma, parent)
        if vma.anon_vma:
            return
        own = self.create(parent.anon_vma)
        own.num_active_vmas = 1
        vma.anon_vma = own.id
        self.link(vma, own)

    def unlink(self, vma: VMA) -> None:
        """Take `vma` out of all its anon_vmas; those without areas and children end."""
        if vma.anon_vma:
            own: AnonVma = self.get(vma.anon_vma)
            own.num_active_vmas -= 1
        for number in reversed(vma.chain):
            anon_vma = self.get(number)
            anon_vma.vmas.remove(vma)
            if not anon_vma.vmas:
                if anon_vma.parent:
                    parent = self.all[anon_vma.parent]
                    if parent is not None:
                        parent.num_children -= 1
                self.all[number] = None
                self.unused.append(number)
        vma.chain = []
        vma.anon_vma = 0

    def verify(self) -> None:
        """Links are mutual, and active areas are counted."""
        active: dict[int, int] = {}
        for anon_vma in self.all:
            for vma in anon_vma.vmas if anon_vma is not None else ():
                assert anon_vma is not None
                require(
                    anon_vma.id in vma.chain,
                    "anon_vma.verify",
                    f"anon_vma {anon_vma.id} lists an area whose chain is {vma.chain}",
                )
                if vma.anon_vma == anon_vma.id:
                    active[anon_vma.id] = active.get(anon_vma.id, 0) + 1
        for anon_vma in self.all:
            if anon_vma is not None:
                require(
                    anon_vma.num_active_vmas == active.get(anon_vma.id, 0),
                    "anon_vma.verify",
                    f"anon_vma {anon_vma.id}: num_active_vmas {anon_vma.num_active_vmas},"
                    f" {active.get(anon_vma.id, 0)} areas name it",
                )

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        found: list[tuple[str, object]] = [("unused", list(self.unused))]
        for anon_vma in self.all:
            if anon_vma is not None:
                found.append((f"{anon_vma.id}", [anon_vma.parent, anon_vma.num_children]))
                found.append((f"{anon_vma.id}.starts", [vma.start_vpn for vma in anon_vma.vmas]))
        return found
