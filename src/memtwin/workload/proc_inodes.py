"""Owns the dentries and inodes of /proc that a recording's own reading and writing made.

Imports slab and reclaim through the kernel of a machine. Knows nothing of what the files say. A
path opened for the first time takes a dentry and an inode for every name on its way; a process that
ends takes those of its directory with it (fs/proc/base.c proc_flush_pid(), v6.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from memtwin.file_io.shrinkers import ObjectShrinker
from memtwin.reclaim.shrinker import DEFAULT_SEEKS
from memtwin.slab.slab_state import FREE_MASK, NEED_PAGE
from memtwin.units import NIL

if TYPE_CHECKING:
    from memtwin.machine.boot import Kernel

# what a new name takes an object of: its dentry, its inode, what the security module keeps with it
CACHES = ("dentry", "proc_inode_cache", "lsm_inode_cache")
SLABINFO, DENTRY_STATE, INODE_NR = (
    "/proc/slabinfo", "/proc/sys/fs/dentry-state", "/proc/sys/fs/inode-nr",
)  # fmt: skip


class ProcShrinker(ObjectShrinker):
    """Gives unused names back under pressure (fs/super.c super_cache_scan(), v6.12)."""

    def __init__(self, names: ProcInodes) -> None:
        super().__init__("sb-proc", names.kernel.file_rooms.objects, DEFAULT_SEEKS, 1024)
        self.names = names

    def count(self) -> int:
        """Unused names, weighed by vfs_cache_pressure."""
        pressure = int(self.names.kernel.tunables.vfs_cache_pressure)
        return len(self.names.unused) * pressure // 100

    def scan(self, nr_to_scan: int) -> int:
        """Names that went."""
        return self.names.prune(nr_to_scan)


class ProcInodes:
    """Names below /proc that have a dentry and an inode."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.slub = kernel.slub
        self.held: dict[str, list[int]] = {}  # path -> slabs of its objects, NIL without cache
        self.unused: dict[str, bool] = {}  # on the LRU, oldest first: whether used since it joined
        self.caches = [int(self.slub.find(name)) for name in CACHES]
        self.stat_buffer = int(self.slub.find("kmalloc-cg-2k"))

    def open(self, path: str) -> None:
        """Look `path` up: every name on the way that is new takes its objects."""
        if not path.startswith("/proc/"):
            return
        if path == "/proc/stat":
            # fs/proc/stat.c stat_open(), v6.1: the only file whose text needs two KiB from the
            # start
            slab = self._take(self.stat_buffer)
            if slab != NIL:
                self.slub.free_object(self.stat_buffer, slab)
        end = len("/proc/")
        while end > 0:
            end = path.find("/", end) + 1
            name = path[: end - 1] if end > 0 else path
            if name not in self.held:
                self.held[name] = [self._take(cache) for cache in self.caches]
            self.unused.pop(name if name != path else "", None)  # a directory with names is in use
        self._close(path)

    def _close(self, path: str) -> None:
        # fs/dcache.c retain_dentry(), v6.12: unused, it joins the LRU; there already, it is spared
        # once
        self.unused[path] = path in self.unused

    def _take(self, cache: int) -> int:
        if cache == NIL:
            return NIL
        slab = int(self.slub.alloc_object(cache))
        if slab == NEED_PAGE:
            slowpath = self.kernel.slowpath
            pfn = int(slowpath.alloc_page(self.slub.gfp_of(cache), self.slub.order_of(cache)))
            if pfn < 0:
                return NIL
            self.slub.add_slab(cache, pfn)
            slab = int(self.slub.alloc_object(cache))
        return slab

    def forget(self, start: str) -> None:
        """Names at and below `start` are gone, and their objects free."""
        gone = [path for path in self.held if path == start or path.startswith(start + "/")]
        for path in gone:
            self.unused.pop(path, None)
            for cache, slab in zip(self.caches, self.held.pop(path), strict=True):
                if slab != NIL:
                    self.slub.free_object(cache, slab)

    def prune(self, nr_to_scan: int) -> int:
        """Look at the oldest unused names: those not used again go; how many went."""
        # fs/dcache.c dentry_lru_isolate(), v6.12. An inode of /proc goes with its dentry.
        freed = 0
        for path in list(self.unused)[:nr_to_scan]:
            if self.unused.pop(path, False):
                self.unused[path] = False
                continue
            self.forget(path)
            freed += 1
            parent = path.rpartition("/")[0]
            if parent in self.held and not any(at.startswith(parent + "/") for at in self.held):
                self.unused[parent] = False
        return freed

    def finish_start(self, texts: Mapping[str, str]) -> None:
        """What a start's reader opened behind slabinfo, whose figures seeded the machine.

        MODEL: slabinfo counts a CPU's slab as full; how many of its objects are free follows from
        the counts of dentries and inodes that the start read a little later. The files of /proc
        read up to slabinfo have names already.
        """
        paths = [path for path in texts if path.startswith("/proc/")]
        if SLABINFO not in paths:
            return
        seen = paths.index(SLABINFO) + 1
        # MODEL: unused dentries of other file systems are names of no objects: freeing them leaves
        # their slabs
        state = texts.get(DENTRY_STATE, "0 0").split()
        for number in range(int(state[1]) - seen):
            self._name(f"/{number}")
            self.unused[f"/{number}"] = False
        for path in paths[:seen]:
            self._name(path)
            self._close(path)
        self._name("/proc/sys")
        self._name("/proc/sys/vm")  # the recorder folds per-CPU counters through it first
        self._name("/proc/sys/vm/stat_refresh")
        dentry, inode, security = self.caches
        self._leave_free(dentry, self._free_objects(texts, paths[seen:], "dentry", DENTRY_STATE))
        self._leave_free(
            security, self._free_objects(texts, paths[seen:], "lsm_inode_cache", INODE_NR)
        )
        if inode != NIL:
            # MODEL: vmstat, read first, lacks the pages of a slab of proc inodes that slabinfo
            # shows: it was begun in between, in the mean after half of the files read there
            self._leave_free(inode, int(self.slub.cache(inode).objs_per_slab) - seen // 2)
        for path in paths[seen:]:
            self.open(path)
        self.kernel.shrinkers.register(ProcShrinker(self))

    def _name(self, path: str) -> None:
        self.held.setdefault(path, [NIL] * len(CACHES))

    def _free_objects(
        self, texts: Mapping[str, str], later: list[str], name: str, counter: str
    ) -> int:
        in_slabs = next(
            (int(line.split()[1]) for line in texts[SLABINFO].splitlines()
             if line.split()[0] == name), 0,
        )  # fmt: skip
        if counter not in later:
            return 0
        names: set[str] = set()
        for path in later[: later.index(counter) + 1]:
            parts = path.split("/")[2:]
            names |= {"/proc/" + "/".join(parts[: at + 1]) for at in range(len(parts))}
        opened = len(names - set(self.held))
        return in_slabs - (int(texts[counter].split()[0]) - opened)

    def _leave_free(self, cache: int, free: int) -> None:
        """Let the slab that objects of `cache` come from have `free` free ones."""
        kernel = self.kernel
        if cache == NIL or not 0 <= free < self.slub.cache(cache).objs_per_slab:
            return
        slab = int(self.slub.cpu_slab[cache * self.slub.nr_cpus + kernel.page_alloc.cpu])
        now = int(kernel.mem.private[slab]) & FREE_MASK if slab >= 0 else 0
        for _ in range(now - free):
            self.slub.alloc_object(cache)
        for _ in range(free - now):
            if slab >= 0:
                self.slub.free_object(cache, slab)
