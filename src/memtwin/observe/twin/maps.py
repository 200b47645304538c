"""Owns /proc/PID/maps and smaps of a twin's process: a line, and a record, for each of its areas.

Imports address_space and the smaps walk. Knows of a file only what `Backing` names. Figures of an
area come from the same walk as smaps_rollup, so their sums are that file's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from memtwin.address_space.mm import Mm
from memtwin.address_space.vm_flags import (
    VM_ACCOUNT,
    VM_DONTCOPY,
    VM_DONTDUMP,
    VM_DONTEXPAND,
    VM_EXEC,
    VM_GROWSDOWN,
    VM_HUGEPAGE,
    VM_IO,
    VM_LOCKED,
    VM_LOCKONFAULT,
    VM_NOHUGEPAGE,
    VM_NORESERVE,
    VM_PFNMAP,
    VM_RAND_READ,
    VM_READ,
    VM_SEQ_READ,
    VM_SHARED,
    VM_WIPEONFORK,
    VM_WRITE,
    VMA_ANON,
    VMA_FILE,
    VMA_PFNMAP,
    VMA_SHMEM,
    VMA_SPECIAL,
)
from memtwin.address_space.vma import VMA
from memtwin.hardware.pte import HPAGE_PAGES
from memtwin.observe.layout import Layout
from memtwin.observe.twin.smaps import SmapsWalk
from memtwin.units import PAGE_SHIFT, PAGE_SIZE

ANON_SHARED_NAME = "/dev/zero (deleted)"  # mm/shmem.c shmem_zero_setup(), v6.12
_ONLY_IN_ROLLUP = ("Pss_Anon", "Pss_File", "Pss_Shmem")  # task_mmu.c __show_smap(), v6.12
_HEAP_WITHOUT_NEIGHBOURS = 606
_NUMBER_WIDTH = 8  # SEQ_PUT_DEC, fs/proc/task_mmu.c, v6.12
# two letters of each flag in the order of the kernel's bits (fs/proc/task_mmu.c
# show_smap_vma_flags(), include/linux/mm.h, v6.12); "may" flags and "sd" are in `_flag_letters`
_BEFORE_MAY = ((VM_READ, "rd"), (VM_WRITE, "wr"), (VM_EXEC, "ex"))
_AFTER_MAY = (
    (VM_GROWSDOWN, "gd"), (VM_PFNMAP, "pf"), (VM_LOCKED, "lo"), (VM_IO, "io"), (VM_SEQ_READ, "sr"),
    (VM_RAND_READ, "rr"), (VM_DONTCOPY, "dc"), (VM_DONTEXPAND, "de"), (VM_LOCKONFAULT, "lf"),
    (VM_ACCOUNT, "ac"), (VM_NORESERVE, "nr"), (VM_WIPEONFORK, "wf"), (VM_DONTDUMP, "dd"),
)  # fmt: skip
_AFTER_SOFT_DIRTY = ((VM_HUGEPAGE, "hg"), (VM_NOHUGEPAGE, "nh"))


class Backing(NamedTuple):
    """What maps shows of the file behind an area."""

    path: str
    major: int
    minor: int
    inode: int
    writable: bool  # whether it was opened for writing, so that a shared area may become writable


NO_FILE = Backing("", 0, 0, 0, True)


class MapsTexts:
    """Answers for maps and smaps; `backing_of` tells the file of an area that has one."""

    def __init__(
        self,
        walk: SmapsWalk,
        layout: Layout,
        backing_of: Callable[[VMA], Backing],
        huge_pages_for: Callable[[VMA], bool],
    ) -> None:
        self.walk = walk
        self.layout = layout
        self.backing_of = backing_of
        self.huge_pages_for = huge_pages_for  # whether the machine gives such an area huge pages

    def maps(self, mm: Mm, areas: list[VMA]) -> str:
        """/proc/PID/maps of a process with `areas`, in order."""
        return "".join(self._line(mm, vma) for vma in areas)

    def smaps(self, mm: Mm, areas: list[VMA]) -> str:
        """/proc/PID/smaps of a process with `areas`, in order."""
        return "".join(self._line(mm, vma) + self._record(mm, vma) for vma in areas)

    def _line(self, mm: Mm, vma: VMA) -> str:
        """One line of maps (fs/proc/task_mmu.c show_map_vma(), v6.12)."""
        backing = self._backing(vma)
        flags = vma.vm_flags
        letters = "".join(
            letter if flags & bit else "-"
            for bit, letter in ((VM_READ, "r"), (VM_WRITE, "w"), (VM_EXEC, "x"))
        )
        letters += "s" if flags & VM_SHARED else "p"
        offset = vma.pgoff << PAGE_SHIFT if vma.kind in (VMA_FILE, VMA_SHMEM) else 0
        start, end = vma.start_vpn << PAGE_SHIFT, vma.end_vpn << PAGE_SHIFT
        head = f"{start:08x}-{end:08x} {letters} {offset:08x}"
        head += f" {backing.major:02x}:{backing.minor:02x} {backing.inode} "
        name = backing.path or _name_without_file(mm, vma)
        if not name:
            return head + "\n"
        escaped = name.replace("\n", "\\012")  # seq_file_path(m, file, "\n")
        return f"{head.ljust(self.layout.rollup_name_column - 1)} {escaped}\n"

    def _backing(self, vma: VMA) -> Backing:
        if vma.kind == VMA_SHMEM:
            # MODEL: the shmem mount is device 0:1 and its inodes are numbered by mapping
            return Backing(ANON_SHARED_NAME, 0, 1, int(vma.mapping_id), True)
        return self.backing_of(vma) if vma.kind == VMA_FILE else NO_FILE

    def _record(self, mm: Mm, vma: VMA) -> str:
        """The lines below one line of maps (fs/proc/task_mmu.c show_smap(), v6.12)."""
        figures = self.walk.figures(mm, vma)
        page_kib = PAGE_SIZE >> 10
        rows = {
            "Size": (vma.end_vpn - vma.start_vpn) * page_kib,
            "KernelPageSize": page_kib,
            "MMUPageSize": page_kib,
        }
        shown = (name for name in self.layout.smaps_rollup if name not in _ONLY_IN_ROLLUP)
        rows.update({name: figures.get(name, 0) >> 10 for name in shown})
        out = [f"{name + ':':<16}{kib:>{_NUMBER_WIDTH}} kB\n" for name, kib in rows.items()]
        out.append(f"{'THPeligible:':<16}{int(self._thp_eligible(vma)):>{_NUMBER_WIDTH}}\n")
        out.append("VmFlags: " + "".join(f"{letters} " for letters in self._letters(vma)) + "\n")
        return "".join(out)

    def _thp_eligible(self, vma: VMA) -> bool:
        """mm/huge_memory.c hugepage_vma_check(), v6.1: whether a whole huge page fits and may."""
        first = -(-vma.start_vpn // HPAGE_PAGES) * HPAGE_PAGES
        fits = first + HPAGE_PAGES <= vma.end_vpn
        return fits and vma.kind == VMA_ANON and self.huge_pages_for(vma)

    def _letters(self, vma: VMA) -> list[str]:
        flags, shared = vma.vm_flags, bool(vma.vm_flags & VM_SHARED)
        found = [letters for bit, letters in _BEFORE_MAY if flags & bit]
        # mm/mmap.c do_mmap(), v6.12: what a file opened for reading shares can never be written
        may_write = not shared or self._backing(vma).writable
        is_image = vma.kind == VMA_PFNMAP  # [vvar]: include/asm vdso, only ever read
        found += ["sh"] * (shared and may_write)
        # MODEL: no file system of the twin forbids reading or executing what it maps
        found += ["mr"] + ["mw"] * (may_write and not is_image) + ["me"] * (not is_image)
        found += ["ms"] * shared
        found += [letters for bit, letters in _AFTER_MAY if flags & bit]
        # MODEL: built with CONFIG_MEM_SOFT_DIRTY, as Debian's kernels are; nobody clears it
        found += ["sd"] * (vma.kind != VMA_SPECIAL)
        return found + [letters for bit, letters in _AFTER_SOFT_DIRTY if flags & bit]


def _name_without_file(mm: Mm, vma: VMA) -> str:
    """[heap], [stack], [vdso], [vvar] or nothing: fs/proc/task_mmu.c get_vma_name(), v6.12."""
    if vma.kind == VMA_SPECIAL:
        return "[vdso]"
    if vma.kind == VMA_PFNMAP:
        return "[vvar]"
    start, end = vma.start_vpn << PAGE_SHIFT, vma.end_vpn << PAGE_SHIFT
    # include/linux/mm.h vma_is_initial_heap(), v6.12; in 6.1 show_map_vma() took its neighbours too
    beside = int(mm.tunables.kernel < _HEAP_WITHOUT_NEIGHBOURS)
    if start < mm.brk + beside and end > mm.start_brk - beside:
        return "[heap]"
    if start <= mm.start_stack <= end and mm.start_stack:
        return "[stack]"
    # MODEL: a recording tells the stack by MAP_GROWSDOWN, not by where it began
    return "[stack]" if vma.vm_flags & VM_GROWSDOWN and not mm.start_stack else ""
