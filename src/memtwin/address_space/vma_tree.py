"""Owns the sorted areas of one mm: find, insert, remove, and where a new area may go.

Imports vma, columns, errors. Has never heard of pages, faults or merging (`vma_merge` has).
"""

from __future__ import annotations

import cython

from memtwin.address_space.layout import MMAP_MIN_VPN, STACK_GUARD_GAP_PAGES
from memtwin.address_space.vm_flags import VM_GROWSDOWN
from memtwin.address_space.vma import VMA
from memtwin.columns import grown, zeros
from memtwin.errors import require

_FIRST_ROWS = 16


@cython.final
@cython.cclass
class VmaTree:
    """Areas in order of address, with the last hit remembered."""

    def __init__(self) -> None:
        self.vmas: list[VMA] = []
        self.nr = 0
        self.starts = zeros(_FIRST_ROWS, "i8")  # start_vpn of each area, for the binary search
        self.capacity = _FIRST_ROWS
        self.last = 0

    @cython.ccall
    def index_above(self, vpn: cython.longlong) -> cython.int:
        """Index of the first area whose start_vpn > `vpn`."""
        low: cython.int = 0
        high: cython.int = self.nr
        middle: cython.int
        while low < high:
            middle = (low + high) >> 1
            if self.starts[middle] <= vpn:
                low = middle + 1
            else:
                high = middle
        return low

    @cython.ccall
    def first_ending_above(self, vpn: cython.longlong) -> cython.int:
        """Index of the first area whose end_vpn > `vpn` (the kernel's find_vma)."""
        at: cython.int = self.index_above(vpn) - 1
        if at >= 0:
            vma: VMA = self.vmas[at]
            if vma.end_vpn > vpn:
                return at
        return at + 1

    @cython.ccall
    def find(self, vpn: cython.longlong) -> VMA | None:
        """The area that contains `vpn`, or None."""
        vma: VMA
        if self.last < self.nr:
            vma = self.vmas[self.last]
            if vma.start_vpn <= vpn < vma.end_vpn:
                return vma
        at: cython.int = self.index_above(vpn) - 1
        if at < 0:
            return None
        vma = self.vmas[at]
        if vpn >= vma.end_vpn:
            return None
        self.last = at
        return vma

    @cython.ccall
    def at(self, index: cython.int) -> VMA | None:
        """The area at `index` in order of address, or None beyond either end."""
        if index < 0 or index >= self.nr:
            return None
        vma: VMA = self.vmas[index]
        return vma

    def insert(self, vma: VMA) -> None:
        """Add `vma`, which must overlap no other."""
        at = int(self.index_above(vma.start_vpn))
        before, after = self.at(at - 1), self.at(at)
        fits = (before is None or before.end_vpn <= vma.start_vpn) and (
            after is None or vma.end_vpn <= after.start_vpn
        )
        require(fits, "vma_tree.insert", f"area {vma.start_vpn:#x}..{vma.end_vpn:#x} overlaps")
        self.vmas.insert(at, vma)
        self._renumber(at)

    def remove(self, vma: VMA) -> None:
        """Take `vma` out."""
        at = int(self.index_above(vma.start_vpn)) - 1
        require(self.at(at) is vma, "vma_tree.remove", f"no area at {vma.start_vpn:#x}")
        del self.vmas[at]
        self._renumber(at)

    def set_range(self, vma: VMA, start_vpn: int, end_vpn: int) -> None:
        """Change the range of an area in the tree; its order among the others must stay."""
        at = int(self.index_above(vma.start_vpn)) - 1
        require(self.at(at) is vma, "vma_tree.set_range", f"no area at {vma.start_vpn:#x}")
        vma.start_vpn = start_vpn
        vma.end_vpn = end_vpn
        self.starts[at] = start_vpn

    def _renumber(self, first: int) -> None:
        self.nr = len(self.vmas)
        if self.nr > self.capacity:
            self.capacity *= 2
            self.starts = grown(self.starts, self.capacity)
        self._copy_starts(first)

    @cython.cfunc
    def _copy_starts(self, first: cython.int) -> cython.int:
        at: cython.int
        for at in range(first, self.nr):
            vma: VMA = self.vmas[at]
            self.starts[at] = vma.start_vpn
        return self.nr

    @cython.ccall
    def free_gap_below(
        self, size_pages: cython.longlong, ceiling_vpn: cython.longlong
    ) -> cython.longlong:
        """Start of the highest free range of `size_pages` ending at or below `ceiling_vpn`, or -1.

        mm/mmap.c vm_unmapped_area(), v6.1: below a stack its guard gap stays free.
        """
        top: cython.longlong = ceiling_vpn
        at: cython.int = self.index_above(ceiling_vpn - 1) - 1
        above: VMA | None = self.at(at + 1)
        if above is not None and above.vm_flags & VM_GROWSDOWN:
            top = min(top, above.start_vpn - STACK_GUARD_GAP_PAGES)
        while at >= 0:
            vma: VMA = self.vmas[at]
            if top - vma.end_vpn >= size_pages:
                return top - size_pages
            top = min(top, vma.start_vpn)
            if vma.vm_flags & VM_GROWSDOWN:
                top -= STACK_GUARD_GAP_PAGES
            at -= 1
        return top - size_pages if top - size_pages >= MMAP_MIN_VPN else -1

    @cython.ccall
    def free_gap_above(
        self, size_pages: cython.longlong, floor_vpn: cython.longlong, ceiling_vpn: cython.longlong
    ) -> cython.longlong:
        """Start of the lowest free range of `size_pages` in [floor_vpn, ceiling_vpn), or -1."""
        low: cython.longlong = floor_vpn
        at: cython.int = self.first_ending_above(floor_vpn)
        limit: cython.longlong
        while at < self.nr:
            vma: VMA = self.vmas[at]
            limit = vma.start_vpn
            if vma.vm_flags & VM_GROWSDOWN:
                limit -= STACK_GUARD_GAP_PAGES
            if limit - low >= size_pages:
                break
            low = max(low, vma.end_vpn)
            at += 1
        return low if low + size_pages <= ceiling_vpn else -1

    def overlapping(self, start_vpn: int, end_vpn: int) -> list[VMA]:
        """Areas that share a page with [start_vpn, end_vpn), in order."""
        found = []
        at = int(self.first_ending_above(start_vpn))
        while at < self.nr and self.vmas[at].start_vpn < end_vpn:
            found.append(self.vmas[at])
            at += 1
        return found

    def verify(self) -> None:
        """Areas are ordered, do not overlap, and the search column says what they say."""
        end_vpn = 0
        for at, vma in enumerate(self.vmas):
            require(
                end_vpn <= vma.start_vpn < vma.end_vpn,
                "vma_tree.verify",
                f"area {at} is {vma.start_vpn:#x}..{vma.end_vpn:#x} after one ending {end_vpn:#x}",
            )
            require(
                self.starts[at] == vma.start_vpn,
                "vma_tree.verify",
                f"area {at}: starts says {self.starts[at]:#x}, the area {vma.start_vpn:#x}",
            )
            end_vpn = vma.end_vpn
        require(
            self.nr == len(self.vmas), "vma_tree.verify", f"nr {self.nr}, {len(self.vmas)} held"
        )

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all areas, for digests."""
        return [
            (f"{at}.{name}", value)
            for at, vma in enumerate(self.vmas)
            for name, value in vma.columns()
        ]
