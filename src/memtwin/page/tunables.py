"""Owns what an administrator may set: vm.* sysctls, and the kernel version's number.

Imports errors. Knows names, ranges and defaults, not effects. `kernel` is 601 for 6.1, 612 for
6.12: a rule that changed between versions asks `tunables.kernel >= 612`.
"""

from __future__ import annotations

import cython

from memtwin.errors import UserError

# sysctl -> (field, default, least, most); Documentation/admin-guide/sysctl/vm.rst and mm/, v6.12.
# A default of -1 is worked out at boot from the machine's size.
SYSCTLS: dict[str, tuple[str, int, int, int]] = {
    "vm.swappiness": ("swappiness", 60, 0, 200),
    "vm.min_free_kbytes": ("min_free_kbytes", -1, 0, 1 << 40),
    "vm.watermark_scale_factor": ("watermark_scale_factor", 10, 1, 3000),
    "vm.watermark_boost_factor": ("watermark_boost_factor", 15000, 0, 1 << 30),
    "vm.page-cluster": ("page_cluster", 3, 0, 31),
    "vm.vfs_cache_pressure": ("vfs_cache_pressure", 100, 0, 1 << 30),
    "vm.dirty_ratio": ("dirty_ratio", 20, 0, 100),
    "vm.dirty_background_ratio": ("dirty_background_ratio", 10, 0, 100),
    "vm.dirty_bytes": ("dirty_bytes", 0, 0, 1 << 60),
    "vm.dirty_background_bytes": ("dirty_background_bytes", 0, 0, 1 << 60),
    "vm.dirty_expire_centisecs": ("dirty_expire_centisecs", 3000, 0, 1 << 30),
    "vm.dirty_writeback_centisecs": ("dirty_writeback_centisecs", 500, 0, 1 << 30),
    "vm.overcommit_memory": ("overcommit_memory", 0, 0, 2),
    "vm.overcommit_ratio": ("overcommit_ratio", 50, 0, 1 << 30),
    "vm.overcommit_kbytes": ("overcommit_kbytes", 0, 0, 1 << 50),
    "vm.admin_reserve_kbytes": ("admin_reserve_kbytes", -1, 0, 1 << 40),
    "vm.user_reserve_kbytes": ("user_reserve_kbytes", -1, 0, 1 << 40),
    "vm.oom_kill_allocating_task": ("oom_kill_allocating_task", 0, 0, 1),
    "vm.panic_on_oom": ("panic_on_oom", 0, 0, 2),
    "vm.oom_dump_tasks": ("oom_dump_tasks", 1, 0, 1),
    "vm.laptop_mode": ("laptop_mode", 0, 0, 1 << 30),
    "vm.extfrag_threshold": ("extfrag_threshold", 500, 0, 1000),
    "vm.compaction_proactiveness": ("compaction_proactiveness", 20, 0, 100),
    "vm.percpu_pagelist_high_fraction": ("percpu_pagelist_high_fraction", 0, 0, 1 << 30),
    "vm.zone_reclaim_mode": ("zone_reclaim_mode", 0, 0, 7),
    "vm.max_map_count": ("max_map_count", 65530, 1, 1 << 30),
    "vm.stat_interval": ("stat_interval", 1, 1, 1 << 30),
}
# DMA, DMA32, Normal, (HighMem), Movable: mm/page_alloc.c sysctl_lowmem_reserve_ratio[], v6.12
LOWMEM_RESERVE_RATIO = (256, 256, 32, 0, 0)
THP_NEVER, THP_MADVISE, THP_ALWAYS = 0, 1, 2


@cython.final
@cython.cclass
class Tunables:
    """The sysctls in force, as fields. Writing a field has no effect itself: `machine` reacts."""

    def __init__(self, kernel: int, nr_cpus: int) -> None:
        self.kernel = kernel
        self.nr_cpus = nr_cpus
        self.lru_gen_enabled = 0
        self.thp_enabled = THP_MADVISE
        self.thp_defrag = THP_MADVISE
        self.lowmem_reserve_ratio = list(LOWMEM_RESERVE_RATIO)
        for field, default, _, _ in SYSCTLS.values():
            setattr(self, field, default)

    def set(self, name: str, text: str) -> None:
        """Set sysctl `name` from what a user writes; UserError when unknown or out of range."""
        if name == "vm.lowmem_reserve_ratio":
            self.lowmem_reserve_ratio = [_whole(name, word, 0, 1 << 31) for word in text.split()]
            return
        if name not in SYSCTLS:
            known = ", ".join(sorted([*SYSCTLS, "vm.lowmem_reserve_ratio"]))
            raise UserError(f"sysctl: found {name!r}, known are {known}")
        field, _, least, most = SYSCTLS[name]
        setattr(self, field, _whole(name, text.strip(), least, most))

    def get(self, name: str) -> str:
        """The text that /proc/sys would show for sysctl `name`, without the newline."""
        if name == "vm.lowmem_reserve_ratio":
            return "\t".join(str(ratio) for ratio in self.lowmem_reserve_ratio)
        return str(getattr(self, SYSCTLS[name][0]))

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        fields = ["kernel", "nr_cpus", "lru_gen_enabled", "thp_enabled", "thp_defrag"]
        fields += [row[0] for row in SYSCTLS.values()]
        return [(field, getattr(self, field)) for field in [*fields, "lowmem_reserve_ratio"]]


def _whole(name: str, text: str, least: int, most: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise UserError(f"{name}: found {text!r}, allowed is a whole number {least} .. {most}")
    return value
