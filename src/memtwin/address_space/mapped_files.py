"""Owns which areas map each file (the kernel's i_mmap). Imports vma and its flags.

Has never heard of pages: `rmap` walks the areas, page_cache only asks whether there are any.
"""

from __future__ import annotations

import cython

from memtwin.address_space.vm_flags import VM_SHARED
from memtwin.address_space.vma import VMA


@cython.final
@cython.cclass
class MappedFiles:
    """The areas that map each file (the kernel's i_mmap), by mapping id."""

    def __init__(self) -> None:
        self.areas: dict[int, list[VMA]] = {}

    def add(self, vma: VMA) -> None:
        """`vma` begins to map its file."""
        if vma.mapping_id:
            self.areas.setdefault(vma.mapping_id, []).append(vma)

    def remove(self, vma: VMA) -> None:
        """`vma` ends."""
        if vma.mapping_id:
            held = self.areas[vma.mapping_id]
            held.remove(vma)
            if not held:
                del self.areas[vma.mapping_id]

    @cython.ccall
    def of(self, mapping_id: cython.int) -> list:  # type: ignore[type-arg]
        """The areas of a mapping, in the order they were added."""
        found: list = self.areas.get(mapping_id, [])  # type: ignore[type-arg]
        return found

    @cython.ccall
    def is_mapped(self, mapping_id: cython.int) -> cython.int:
        """1 when some area maps the file."""
        return 1 if mapping_id in self.areas else 0

    @cython.ccall
    def is_writably_mapped(self, mapping_id: cython.int) -> cython.int:
        """1 when a shared area maps the file (mapping_writably_mapped())."""
        for vma in self.areas.get(mapping_id, []):
            if vma.vm_flags & VM_SHARED:
                return 1
        return 0
