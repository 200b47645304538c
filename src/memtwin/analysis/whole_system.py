"""Owns where a machine's memory is, as `smem -w` divides it.

Imports observe/meminfo. Pure.
"""

from __future__ import annotations

import msgspec

from memtwin.observe.meminfo import MemInfo


class AreaOfSystem(msgspec.Struct):
    """One of the parts of a machine's memory. `cache_kib`: of `used_kib`, what can be reclaimed."""

    order: int
    area: str
    used_kib: float  # whole, unless the RAM that was said is no whole number of KiB
    cache_kib: int

    @property
    def noncache_kib(self) -> float:
        """What can't be reclaimed."""
        return self.used_kib - self.cache_kib


def whole_system(info: MemInfo, ram_kib: float | None) -> list[AreaOfSystem]:
    """The parts of the memory of a machine that has `ram_kib` installed; None: what it manages.

    As smem 1.5 showsystem(); the kernel's image is not looked for (-K), so its size is 0.
    """
    total, free = info.mem_total_kib or 0, info.mem_free_kib or 0
    mapped = info.mapped_kib or 0
    firmware = 0 if ram_kib is None else max(ram_kib - total, 0)
    user = (info.anon_pages_kib or 0) + mapped
    caches = (info.buffers_kib or 0) + (info.sreclaimable_kib or 0)
    caches += (info.cached_kib or 0) - mapped
    parts = (
        ("firmware/hardware", firmware, 0),
        ("kernel image", 0, 0),
        ("kernel dynamic memory", total - free - user, caches),
        ("userspace memory", user, mapped),
        ("free memory", free, free),
    )
    return [AreaOfSystem(order, *part) for order, part in enumerate(parts)]
