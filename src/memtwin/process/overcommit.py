"""Owns the promise of memory: how much is committed, and whether more may be.

Imports mm, tunables, zone, swap. Has never heard of areas. mm/util.c __vm_enough_memory(), v6.1
and v6.12.
"""

from __future__ import annotations

from memtwin.address_space.mm import Mm
from memtwin.page.tunables import Tunables
from memtwin.page.zone import Zones
from memtwin.swap.swap import Swap

OVERCOMMIT_GUESS, OVERCOMMIT_ALWAYS, OVERCOMMIT_NEVER = range(3)


class Overcommit:
    """vm_committed_as and the rule of vm.overcommit_memory."""

    def __init__(self, zones: Zones, tunables: Tunables, swap: Swap) -> None:
        self.zones = zones
        self.tunables = tunables
        self.swap = swap
        self.committed_pages = 0

    def totalram_pages(self) -> int:
        """Pages that all zones manage."""
        return sum(int(zone.managed_pages) for zone in self.zones.zones)

    def commit_limit(self) -> int:
        """CommitLimit in pages (mm/util.c vm_commit_limit(), v6.1)."""
        if self.tunables.overcommit_kbytes:
            allowed = self.tunables.overcommit_kbytes >> 2
        else:
            allowed = self.totalram_pages() * self.tunables.overcommit_ratio // 100
        return int(allowed + self.swap.total_swap_pages)

    def enough(self, mm: Mm | None, pages: int, cap_sys_admin: int) -> bool:
        """Commit `pages` more if the rule allows it; whether it did."""
        self.committed_pages += pages
        mode = self.tunables.overcommit_memory
        if mode == OVERCOMMIT_ALWAYS:
            return True
        if mode == OVERCOMMIT_GUESS:
            if pages <= self.totalram_pages() + self.swap.total_swap_pages:
                return True
        else:
            allowed = self.commit_limit()
            if not cap_sys_admin:
                allowed -= max(self.tunables.admin_reserve_kbytes, 0) >> 2
            if mm is not None:
                allowed -= min(mm.total_vm // 32, max(self.tunables.user_reserve_kbytes, 0) >> 2)
            if self.committed_pages < allowed:
                return True
        self.committed_pages -= pages
        return False

    def give_back(self, pages: int) -> None:
        """Commit less (vm_unacct_memory())."""
        self.committed_pages -= pages

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        return [("committed_pages", self.committed_pages)]
