"""Owns where the kernel puts a heap: the break, and the holes below mmap_base.

Imports units only. Knows nothing of chunks. Answers brk, mmap, munmap and mremap as the kernel
would, with addresses; negative answers are errno. What is protected how is not its concern.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

from memtwin.units import PAGE_SIZE

ENOMEM, EINVAL = 12, 22
PMD_SIZE = 2 << 20
_LOWEST = 0x10000  # vm.mmap_min_addr
_GUARD = PAGE_SIZE  # mm/mmap.c brk(), v6.12: a page stays free above the break


@dataclass(frozen=True)
class Layout:
    """What stands in an address space before the heap begins, in bytes.

    The default is that of a small position independent program without randomisation.
    """

    brk_start: int = 0x5555_5555_9000
    mmap_base: int = 0x7FFF_F7FF_F000
    occupied: tuple[tuple[int, int], ...] = ((0x7FFF_F7DB_F000, 0x7FFF_F7FF_F000),)
    # mm/util.c __vm_enough_memory(), v6.12: more than this at once is refused; 0: nothing is
    commit_limit_bytes: int = 0
    # mm/mmap.c __get_unmapped_area(), v6.12: whole huge pages are aligned to them (since v6.7)
    aligns_huge: int = 1
    data_limit_bytes: int = 0  # RLIMIT_DATA for the break; 0: none
    nr_huge_pages: int = -1  # free in the pool of huge pages; -1: as many as are asked for
    brk_taken_bytes: int = 0  # what others took from the break before the first malloc


@dataclass
class AddressMap:
    """The occupied ranges of one address space, sorted and merged."""

    layout: Layout = field(default_factory=Layout)

    def __post_init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.brk_now = self.layout.brk_start
        self.huge: list[tuple[int, int]] = []  # mapped from the pool of huge pages
        for start, end in sorted(self.layout.occupied):
            self.add(start, end)
        if self.layout.brk_taken_bytes:
            self.brk_now += self.layout.brk_taken_bytes
            self.add(self.layout.brk_start, _page_up(self.brk_now))

    # ranges

    def add(self, start: int, end: int) -> None:
        """Mark [start, end) as occupied."""
        first = bisect_left(self.ends, start)
        last = bisect_right(self.starts, end)
        if first < last:
            start = min(start, self.starts[first])
            end = max(end, self.ends[last - 1])
        self.starts[first:last] = [start]
        self.ends[first:last] = [end]

    def remove(self, start: int, end: int) -> None:
        """Mark [start, end) as free."""
        first = bisect_right(self.ends, start)
        last = bisect_left(self.starts, end)
        if first >= last:
            return
        left, right = self.starts[first], self.ends[last - 1]
        starts, ends = [], []
        if left < start:
            starts.append(left)
            ends.append(start)
        if right > end:
            starts.append(end)
            ends.append(right)
        self.starts[first:last] = starts
        self.ends[first:last] = ends

    def is_free(self, start: int, end: int) -> bool:
        """Whether nothing lies in [start, end)."""
        at = bisect_right(self.ends, start)
        return at == len(self.starts) or self.starts[at] >= end

    def occupied_bytes(self) -> int:
        """Everything that is mapped."""
        return sum(self.ends) - sum(self.starts)

    # calls

    def brk(self, new: int) -> int:
        """The break after brk(new); unchanged when refused (0 asks)."""
        if new < self.layout.brk_start:
            return self.brk_now
        old_page, new_page = _page_up(self.brk_now), _page_up(new)
        if new_page > old_page:
            limit = self.layout.data_limit_bytes
            if limit and new - self.layout.brk_start > limit:
                return self.brk_now
            if self._refused(new_page - old_page):
                return self.brk_now
            if not self.is_free(old_page, new_page + _GUARD):
                return self.brk_now
            self.add(old_page, new_page)
        elif new_page < old_page:
            self.remove(new_page, old_page)
        self.brk_now = new
        return new

    def mmap(self, length: int, hint: int = 0, committed: int = 1) -> int:
        """The address of a new private mapping, or -ENOMEM; `committed` 0 for PROT_NONE."""
        size = _page_up(length)
        if size <= 0 or (committed and self._refused(size)):
            return -ENOMEM
        if hint and hint + size <= self.layout.mmap_base and self.is_free(hint, hint + size):
            self.add(hint, hint + size)
            return hint
        start = self._place(size, hint)
        if start > 0:
            self.add(start, start + size)
        return start

    def mmap_huge(self, length: int, hint: int = 0) -> int:
        """The address of a new private mapping of huge pages (MAP_HUGETLB), or -ENOMEM.

        mm/mmap.c ksys_mmap_pgoff(), v6.12: of whole ones, which are reserved at once.
        """
        # DIFFERS: the pool is counted by what is mapped; the kernel keeps reservations for it;
        # bends which mapping is the first that an almost empty pool refuses
        size = (length + PMD_SIZE - 1) & -PMD_SIZE
        pool = self.layout.nr_huge_pages
        if size <= 0 or 0 <= pool * PMD_SIZE < sum(b - a for a, b in self.huge) + size:
            return -ENOMEM
        if hint and not hint % PMD_SIZE and self.is_free(hint, hint + size):
            start = hint
        else:
            start = self._topdown(size, PMD_SIZE)
        if start > 0:
            self.add(start, start + size)
            self.huge.append((start, start + size))
        return start

    def munmap(self, address: int, length: int) -> int:
        """0; what was not mapped stays so. -EINVAL for a part of a huge page."""
        end = address + _page_up(length)
        if self._cuts_huge(address) or self._cuts_huge(end):
            return -EINVAL
        self.remove(address, end)
        if self.huge:
            parts = [(a, min(b, address)) for a, b in self.huge]
            parts += [(max(a, end), b) for a, b in self.huge]
            self.huge = [(a, b) for a, b in parts if a < b]
        return 0

    def madvise(self, address: int, length: int) -> int:
        """0, or -EINVAL where it begins in the middle of a huge page of the pool.

        mm/madvise.c madvise_dontneed_free_valid_vma(), v6.12
        """
        return -EINVAL if self._cuts_huge(address) else 0

    def _cuts_huge(self, address: int) -> bool:
        # mm/hugetlb.c hugetlb_vm_op_split(), v6.12
        return address % PMD_SIZE != 0 and any(a < address < b for a, b in self.huge)

    def mremap(self, address: int, old_length: int, new_length: int) -> int:
        """The new address of a mapping that may move, or -ENOMEM."""
        old, new = _page_up(old_length), _page_up(new_length)
        if any(a <= address < b for a, b in self.huge):
            return self._mremap_huge(address, old, new)
        if new <= old:
            self.remove(address + new, address + old)
            return address
        if self._refused(new - old):
            return -ENOMEM
        if self.is_free(address + old, address + new):
            self.add(address + old, address + new)
            return address
        start = self._place(new, 0)
        if start > 0:
            self.add(start, start + new)
            self.remove(address, address + old)
        return start

    def _mremap_huge(self, address: int, old: int, new: int) -> int:
        # mm/mremap.c, v6.12: lengths go up to whole huge pages; such a mapping never grows
        old, new = (old + PMD_SIZE - 1) & -PMD_SIZE, (new + PMD_SIZE - 1) & -PMD_SIZE
        if new > old or address % PMD_SIZE:
            return -EINVAL
        if new < old:
            self.munmap(address + new, old - new)
        return address

    def commit(self, length: int) -> int:
        """0, or -ENOMEM when so many bytes more can't be made writable."""
        return -ENOMEM if self._refused(_page_up(length)) else 0

    def _refused(self, size: int) -> bool:
        limit = self.layout.commit_limit_bytes
        return limit > 0 and size > limit

    def _place(self, size: int, hint: int) -> int:
        if self.layout.aligns_huge and not hint and size % PMD_SIZE == 0:
            # mm/huge_memory.c __thp_get_unmapped_area(), v6.12
            found = self._topdown(size + PMD_SIZE)
            if found > 0:
                offset = -found % PMD_SIZE
                return found + (offset or PMD_SIZE)
        return self._topdown(size)

    def _topdown(self, size: int, alignment: int = PAGE_SIZE) -> int:
        # mm/mmap.c unmapped_area_topdown(), v6.12: the highest hole that is large enough however
        # it lies to the alignment
        end = self.layout.mmap_base
        wanted = size + alignment - PAGE_SIZE
        for at in range(bisect_left(self.starts, end) - 1, -1, -1):
            if self.ends[at] + wanted <= end:
                return (end - size) & -alignment
            end = min(end, self.starts[at])
        return (end - size) & -alignment if end - wanted >= _LOWEST else -ENOMEM


def _page_up(address: int) -> int:
    return (address + PAGE_SIZE - 1) & -PAGE_SIZE
