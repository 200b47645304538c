"""Owns objects that named code of the kernel allocates: kmalloc, its own caches, vmalloc.

Imports slab, reclaim/slowpath, file_io/objects. Has never heard of leaks: it says where an object
lies and what stands in it, and takes it back. Slab objects count in the caches that all the kernel
uses, pages of vmalloc in VmallocUsed.

An object's life: allocated by a task, for a module's or the kernel's own code -> freed by its
address. Addresses are those of x86-64 without KASLR (Documentation/x86/x86_64/mm.rst, v6.1).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from dataclasses import dataclass, field

from memtwin.errors import UserError, require
from memtwin.file_io.objects import SHORT_OF_MEMORY, take_object
from memtwin.hardware.clock import Clock
from memtwin.page.gfp import GFP_COMP, GFP_HIGHMEM, GFP_KERNEL
from memtwin.page.vmstat_items import NR_NODE_ITEMS, NR_SLAB_UNRECLAIMABLE
from memtwin.process.task import Task, Tasks
from memtwin.reclaim.slowpath import Slowpath
from memtwin.slab.slub import Slub
from memtwin.units import NIL, PAGE_SHIFT, PAGE_SIZE

PAGE_OFFSET = 0xFFFF_8880_0000_0000
VMALLOC_START = 0xFFFF_C900_0000_0000
WORD_BYTES = 8
HZ = 250  # MODEL: CONFIG_HZ of Debian's kernels
_INITIAL_JIFFIES = (1 << 32) - 300 * HZ  # include/linux/jiffies.h INITIAL_JIFFIES, v6.1
_KMALLOC_BYTES = (8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192)
_NS_A_S = 1_000_000_000
SLAB, LARGE, VMALLOC = "slab", "large", "vmalloc"
KERNEL, STACK = "kernel", "stack"  # owners of variables: its own data, the running task


@dataclass
class KernelObject:
    """One allocated object; `words` are pointers, `texts` bytes that were written, by offset."""

    pointer: int
    size_bytes: int
    kind: str
    comm: str
    pid: int
    jiffies: int
    trace: tuple[str, ...]  # functions, the innermost first, "line_3 [module]"
    cache_id: int = NIL
    pfn: int = NIL  # of its slab, or of its block
    frames: list[int] = field(default_factory=list)  # of vmalloc
    words: dict[int, int] = field(default_factory=dict)
    texts: dict[int, bytes] = field(default_factory=dict)

    def content(self, length: int) -> bytes:
        """Its first `length` bytes."""
        # MODEL: memory is zeroed when it is allocated, as with init_on_alloc=1
        found = bytearray(length)
        for offset, word in self.words.items():
            found[offset : offset + WORD_BYTES] = word.to_bytes(WORD_BYTES, "little")
        for offset, text in self.texts.items():
            found[offset : offset + len(text)] = text
        return bytes(found[:length])


class KernelObjects:
    """All such objects of a machine, and the variables that keep them."""

    def __init__(self, slub: Slub, slowpath: Slowpath, clock: Clock, tasks: Tasks) -> None:
        self.slub = slub
        self.slowpath = slowpath
        self.clock = clock
        self.tasks = tasks
        self.objects: dict[int, KernelObject] = {}  # by address, in the order of allocation
        self._starts: list[int] = []
        self.variables: dict[str, dict[str, int]] = {}  # module or "kernel" -> name -> value
        self.stacks: dict[int, dict[str, int]] = {}  # pid -> name -> value
        self.object_bytes: dict[str, int] = {}  # of caches that modules made
        self.vmalloc_pages = 0
        self._places: dict[int, set[int]] = {}  # slab -> places in it that are taken by these
        self.is_used = False

    def begin(self) -> None:
        """Kernel code of a script exists from now on."""
        if not self.is_used:
            self.is_used = True
            self.variables[KERNEL] = {}

    def jiffies(self) -> int:
        """The kernel's own time."""
        return _INITIAL_JIFFIES + int(self.clock.now_ns) * HZ // _NS_A_S

    # allocating

    def create_cache(self, name: str, object_bytes: int) -> None:
        """kmem_cache_create(): a cache of a module's own."""
        # DIFFERS: it is never merged with one of the same size (as with slab_nomerge); whose
        # objects grow is what a script asks; rows of slabinfo
        if self.slub.find(name) != NIL:
            raise UserError(f"found cache {name!r} twice, allowed is a new name")
        size_bytes = -(-object_bytes // WORD_BYTES) * WORD_BYTES
        order = calculate_order(size_bytes, int(self.slub.nr_cpus))
        self.slub.create(name, size_bytes, order, (PAGE_SIZE << order) // size_bytes)
        self.object_bytes[name] = object_bytes

    def kmalloc(self, size_bytes: int, task: Task, trace: tuple[str, ...]) -> int:
        """An address, or 0 when there is no memory."""
        if size_bytes > _KMALLOC_BYTES[-1]:  # include/linux/slab.h KMALLOC_MAX_CACHE_SIZE, v6.1
            return self._large(size_bytes, task, trace)
        object_bytes = next(size for size in _KMALLOC_BYTES if size >= size_bytes)
        named = f"{object_bytes >> 10}k" if object_bytes >= 1024 else str(object_bytes)
        return self.cache_alloc(f"kmalloc-{named}", task, trace)

    def cache_alloc(self, name: str, task: Task, trace: tuple[str, ...]) -> int:
        """kmem_cache_alloc(): an address, or 0 when there is no memory."""
        cache_id = int(self.slub.find(name))
        if cache_id == NIL:
            raise UserError(f"found cache {name!r}, which this machine does not have")
        pfn = take_object(self.slub, self.slowpath, cache_id)
        if pfn == SHORT_OF_MEMORY:
            return 0
        size_bytes = int(self.slub.cache(cache_id).size_bytes)
        taken = self._places.setdefault(pfn, set())
        # MODEL: a slab's places are given out from its start; which objects of the rest of the
        # kernel lie in it, slabs do not say
        place = next(i for i in range(len(taken) + 1) if i not in taken)
        taken.add(place)
        pointer = PAGE_OFFSET + (pfn << PAGE_SHIFT) + place * size_bytes
        made = self._add(pointer, self.object_bytes.get(name, size_bytes), SLAB, task, trace)
        made.cache_id, made.pfn = cache_id, pfn
        return pointer

    def _large(self, size_bytes: int, task: Task, trace: tuple[str, ...]) -> int:
        # mm/slab_common.c __kmalloc_large_node(), v6.1
        order = (-(-size_bytes // PAGE_SIZE) - 1).bit_length()
        pfn = int(self.slowpath.alloc_page(GFP_KERNEL | GFP_COMP, order))
        if pfn < 0:
            return 0
        self._count_large(pfn, 1 << order)
        pointer = PAGE_OFFSET + (pfn << PAGE_SHIFT)
        self._add(pointer, size_bytes, LARGE, task, trace).pfn = pfn
        return pointer

    def _count_large(self, pfn: int, pages: int) -> None:
        page_alloc = self.slowpath.page_alloc
        node = page_alloc.zones.zone_of(pfn) // page_alloc.zones.nr_types
        page_alloc.vmstat.node_stat[node * NR_NODE_ITEMS + NR_SLAB_UNRECLAIMABLE] += pages

    def vmalloc(self, size_bytes: int, task: Task, trace: tuple[str, ...]) -> int:
        """An address, or 0 when there is no memory."""
        # DIFFERS: its vm_struct, vmap_area and page tables take no memory; they are some hundred
        # bytes an area; slab figures of scripts with very many areas
        pages = -(-max(size_bytes, 1) // PAGE_SIZE)
        frames: list[int] = []
        while len(frames) < pages:
            pfn = int(self.slowpath.alloc_page(GFP_KERNEL | GFP_HIGHMEM, 0))
            if pfn < 0:
                for taken in frames:
                    self.slowpath.page_alloc.put_page(taken)
                return 0
            frames.append(pfn)
        pointer = self._hole(pages)
        self._add(pointer, pages * PAGE_SIZE, VMALLOC, task, trace).frames = frames
        self.vmalloc_pages += pages
        return pointer

    def _hole(self, pages: int) -> int:
        """The lowest free addresses with a guard page behind them (mm/vmalloc.c, v6.1)."""
        at = VMALLOC_START
        for start in self._starts[bisect_right(self._starts, at - 1) :]:
            if start - at >= (pages + 1) * PAGE_SIZE:
                break
            at = start + self.objects[start].size_bytes + PAGE_SIZE
        return at

    def _add(
        self, pointer: int, size_bytes: int, kind: str, task: Task, trace: tuple[str, ...]
    ) -> KernelObject:
        require(pointer not in self.objects, "kernel_objects", f"{pointer:#x} is given out twice")
        made = KernelObject(pointer, size_bytes, kind, task.comm, task.pid, self.jiffies(), trace)
        self.objects[pointer] = made
        insort(self._starts, pointer)
        return made

    # freeing

    def free(self, pointer: int, kinds: tuple[str, ...]) -> None:
        """kfree() or vfree(); UserError where no object of these kinds begins. NULL is nothing."""
        if pointer == 0:
            return
        found = self.objects.get(pointer)
        if found is None or found.kind not in kinds:
            what = "nothing begins there" if found is None else f"an object of {found.kind}"
            raise UserError(
                f"found {pointer:#x} ({what}), allowed is the start of an object of"
                f" {' or '.join(kinds)}"
            )
        del self.objects[pointer]
        del self._starts[bisect_right(self._starts, pointer) - 1]
        if found.kind == VMALLOC:
            self.vmalloc_pages -= len(found.frames)
            for pfn in found.frames:
                self.slowpath.page_alloc.put_page(pfn)
        elif found.kind == LARGE:
            self._count_large(found.pfn, -(1 << int(self.slub.mem_map.order[found.pfn])))
            self.slowpath.page_alloc.put_page(found.pfn)
        else:
            self._free_slab(found)

    def _free_slab(self, found: KernelObject) -> None:
        size_bytes = int(self.slub.cache(found.cache_id).size_bytes)
        slab_start = PAGE_OFFSET + (found.pfn << PAGE_SHIFT)
        taken = self._places[found.pfn]
        taken.remove((found.pointer - slab_start) // size_bytes)
        if not taken:
            del self._places[found.pfn]
        self.slub.free_object(found.cache_id, found.pfn)

    # contents

    def object_at(self, address: int) -> KernelObject | None:
        """The object that `address` points to or into."""
        at = bisect_right(self._starts, address) - 1
        found = self.objects[self._starts[at]] if at >= 0 else None
        if found is None or address >= found.pointer + found.size_bytes:
            return None
        return found

    def roots(self, *, with_stacks: bool) -> list[int]:
        """Values of all variables of the kernel and its modules, and of living tasks' stacks."""
        found = [value for owner in self.variables.values() for value in owner.values()]
        if with_stacks:
            for task in self.tasks.alive():
                found += self.stacks.get(task.pid, {}).values()
        return found

    # accounts

    def verify(self) -> None:
        """Objects lie apart, in slabs that are there; InternalError names what does not hold."""
        end, pages = 0, 0
        for start in self._starts:
            found = self.objects[start]
            require(start >= end, "kernel_objects.verify", f"{start:#x} begins below {end:#x}")
            end = start + found.size_bytes
            pages += len(found.frames)
            if found.kind == SLAB:
                cache = int(self.slub.mem_map.private[found.pfn]) >> 16
                require(
                    cache == found.cache_id,
                    "kernel_objects.verify",
                    f"{start:#x} lies in a slab of cache {cache}, it is of {found.cache_id}",
                )
        require(
            pages == self.vmalloc_pages,
            "kernel_objects.verify",
            f"vmalloc_pages is {self.vmalloc_pages}, areas hold {pages}",
        )

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests; nothing where no script has used it."""
        if not self.is_used:
            return []
        found: list[tuple[str, object]] = [("vmalloc_pages", self.vmalloc_pages)]
        for one in self.objects.values():
            words = [number for pair in sorted(one.words.items()) for number in pair]
            found.append((f"{one.pointer:#x}", [one.size_bytes, one.pid, one.jiffies, *words]))
        for owner, variables in [*self.variables.items(), *self.stacks.items()]:
            found += [(f"{owner}.{name}", value) for name, value in variables.items()]
        return found


def calculate_order(size_bytes: int, nr_cpus: int) -> int:
    """Order of the slabs of a new cache: mm/slub.c calculate_order(), v6.1.

    >>> [calculate_order(size, 2) for size in (192, 1192, 2304, 6144)]
    [0, 2, 3, 3]
    """
    most_order = 3  # mm/slub.c slub_max_order: PAGE_ALLOC_COSTLY_ORDER, v6.1
    least = min(4 * (nr_cpus.bit_length() + 1), (PAGE_SIZE << most_order) // size_bytes)
    while least > 1:
        for fraction in (16, 8, 4):
            order = _calc_slab_order(size_bytes, least, fraction)
            if order <= most_order:
                return order
        least -= 1
    return _calc_slab_order(size_bytes, 1, 1)


def _calc_slab_order(size_bytes: int, least: int, fraction: int) -> int:
    """mm/slub.c calc_slab_order(), v6.1."""
    order = (-(-least * size_bytes // PAGE_SIZE) - 1).bit_length()
    while order <= 3:
        slab_bytes = PAGE_SIZE << order
        if slab_bytes % size_bytes <= slab_bytes // fraction:
            break
        order += 1
    return order
