"""Owns the commands of a script by which a process has code of the kernel run: a module's, mostly.

Imports places, process/kernel_objects and units. Knows nothing of how commands are read or in which
order they run. Variables are `MODULE.NAME`, `kernel.NAME`, or `stack.NAME`: of the process's kernel
stack, which is gone when it ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memtwin.errors import UserError
from memtwin.fault.verdicts import VM_FAULT_OOM
from memtwin.process.kernel_objects import (
    KERNEL,
    LARGE,
    SLAB,
    STACK,
    VMALLOC,
    WORD_BYTES,
    KernelObject,
    KernelObjects,
)
from memtwin.units import parse_size
from memtwin.workload.language import Command
from memtwin.workload.places import Place, parse_place, parse_value

if TYPE_CHECKING:
    from memtwin.workload.runner import Runner, Worker

_ENOMEM = -12
# kernel -> the first frame of an object's backtrace: mm/slub.c and mm/vmalloc.c, v6.1 and v6.12
# MODEL: between it and the line of the script no other function stands
_FRAMES = {
    601: {
        "kmalloc": "kmalloc_trace",
        "large": "__kmalloc_large_node",
        "cache": "kmem_cache_alloc",
        "vmalloc": "vmalloc",
    },
    612: {
        "kmalloc": "__kmalloc_cache_noprof",
        "large": "__kmalloc_large_noprof",
        "cache": "kmem_cache_alloc_noprof",
        "vmalloc": "vmalloc_noprof",
    },
}


def run(runner: Runner, worker: Worker, command: Command) -> int:
    """Do one of `VERBS`: 0 or -errno."""
    runner.machine.kernel.kernel_objects.begin()
    return VERBS[command.verb](_Call(runner, worker, command), *command.words)


def insmod(runner: Runner, module: str) -> None:
    """Load a module: its variables exist from now on."""
    objects = runner.machine.kernel.kernel_objects
    objects.begin()
    if module in objects.variables or module == STACK:
        raise UserError(f"found module {module!r}, allowed is the name of one that is not loaded")
    if not module.isidentifier():
        raise UserError(f"found module {module!r}, allowed are letters, digits and _")
    objects.variables[module] = {}


def rmmod(runner: Runner, module: str) -> None:
    """Unload a module: its variables are gone, and what only they pointed to is not."""
    objects = runner.machine.kernel.kernel_objects
    if module not in objects.variables or module == KERNEL:
        loaded = ", ".join(name for name in objects.variables if name != KERNEL) or "none"
        raise UserError(f"found module {module!r}, loaded are {loaded}")
    del objects.variables[module]


@dataclass(frozen=True)
class _Call:
    runner: Runner
    worker: Worker
    command: Command

    @property
    def objects(self) -> KernelObjects:
        return self.runner.machine.kernel.kernel_objects

    def variables(self, place: Place) -> tuple[dict[str, int], str]:
        """The variables that a place begins in, and its name there."""
        owner, dot, name = place.name.partition(".")
        if owner == STACK and dot:
            return self.objects.stacks.setdefault(self.worker.process.pid, {}), name
        if owner not in self.objects.variables or not name:
            known = ", ".join([STACK, *self.objects.variables])
            raise UserError(
                f"found {place.name!r}, allowed is OWNER.NAME, where owners are {known}"
            )
        return self.objects.variables[owner], name

    def value(self, place: Place) -> int:
        """The pointer that a script wrote."""
        if not place.name:
            return 0
        variables, name = self.variables(place)
        if name not in variables:
            raise UserError(f"found variable {place.name!r}, which nothing was stored in yet")
        found = variables[name]
        for step in place.steps:
            found = self.word_at(found + step)[0]
        return found + place.plus

    def word_at(self, address: int) -> tuple[int, KernelObject, int]:
        """What stands at an address, in which object, and how far inside."""
        found = self.objects.object_at(address)
        inside = address - found.pointer if found is not None else 0
        if found is None or inside + WORD_BYTES > found.size_bytes or inside % WORD_BYTES:
            raise UserError(
                f"found an access of 8 bytes at {address:#x}, allowed is a whole, aligned word of"
                " an allocated object"
            )
        return found.words.get(inside, 0), found, inside

    def put(self, text: str, value: int) -> None:
        """Store `value` where a script says."""
        place = parse_place(text)
        if not place.steps:
            variables, name = self.variables(place)
            variables[name] = value
            return
        address = self.value(Place(place.name, place.steps[:-1])) + place.steps[-1]
        _, found, inside = self.word_at(address)
        found.words[inside] = value

    def trace(self, how: str, place: str) -> tuple[str, ...]:
        """The backtrace of an object that this line allocates."""
        frames = _FRAMES[612 if self.runner.machine.config.kernel >= 612 else 601]
        owner = parse_place(place).name.partition(".")[0]
        module = f" [{owner}]" if owner not in (KERNEL, STACK) else ""
        return frames[how], f"line_{self.command.line}{module}"

    def keep(self, place: str, allocate: Callable[[], int]) -> int:
        """Keep what an allocator gives; when there is no memory, the OOM killer is asked first."""
        self.variables(parse_place(place))
        task = self.worker.process.task
        pointer = allocate()
        while pointer == 0 and task.alive:
            if not self.runner.machine.syscalls.answer(task, VM_FAULT_OOM):
                break
            pointer = allocate()
        if pointer:
            self.runner.machine.kernel.kmemleak.register(pointer)
        self.put(place, pointer)
        return 0 if pointer else _ENOMEM


def _kmalloc(call: _Call, place: str, size: str) -> int:
    size_bytes, task = parse_size(size, "kmalloc"), call.worker.process.task
    if size_bytes <= 0:
        raise UserError(f"kmalloc: found {size}, allowed is at least 1 byte")
    trace = call.trace("kmalloc" if size_bytes <= 8192 else "large", place)
    return call.keep(place, lambda: call.objects.kmalloc(size_bytes, task, trace))


def _kmem_cache_alloc(call: _Call, place: str, cache: str) -> int:
    task, trace = call.worker.process.task, call.trace("cache", place)
    return call.keep(place, lambda: call.objects.cache_alloc(cache, task, trace))


def _kmem_cache_create(call: _Call, name: str, size: str) -> int:
    size_bytes = parse_size(size, "kmem_cache_create")
    if not WORD_BYTES <= size_bytes <= 32 << 10:
        raise UserError(f"kmem_cache_create: found {size}, allowed is 8 to 32K")
    call.objects.create_cache(name, size_bytes)
    return 0


def _vmalloc(call: _Call, place: str, size: str) -> int:
    size_bytes, task = parse_size(size, "vmalloc"), call.worker.process.task
    if size_bytes <= 0:
        raise UserError(f"vmalloc: found {size}, allowed is at least 1 byte")
    trace = call.trace("vmalloc", place)
    return call.keep(place, lambda: call.objects.vmalloc(size_bytes, task, trace))


def _kfree(call: _Call, value: str) -> int:
    return _free(call, value, (SLAB, LARGE))


def _vfree(call: _Call, value: str) -> int:
    return _free(call, value, (VMALLOC,))


def _free(call: _Call, value: str, kinds: tuple[str, ...]) -> int:
    pointer = call.value(parse_value(value))
    call.objects.free(pointer, kinds)
    call.runner.machine.kernel.kmemleak.forget(pointer)
    return 0


def _kstore(call: _Call, place: str, value: str) -> int:
    call.put(place, call.value(parse_value(value)))
    return 0


def _kwrite(call: _Call, place: str, *words: str) -> int:
    """Text into an object, from the word that `place` names."""
    where = parse_place(place)
    if not where.steps:
        raise UserError(f"found {place!r}, allowed is a word of an object: OWNER.NAME[N]")
    start = call.value(Place(where.name, where.steps[:-1])) + where.steps[-1]
    _, found, inside = call.word_at(start)
    text = " ".join(words).encode()
    if inside + len(text) > found.size_bytes:
        raise UserError(f"found {len(text)} bytes of text, allowed are {found.size_bytes - inside}")
    found.texts[inside] = text
    return 0


def _kmemleak(call: _Call, how: str, value: str) -> int:
    call.runner.machine.kernel.kmemleak.paint(call.value(parse_value(value)), how)
    return 0


VERBS: dict[str, Callable[..., int]] = {
    "kmalloc": _kmalloc,
    "kmem_cache_create": _kmem_cache_create,
    "kmem_cache_alloc": _kmem_cache_alloc,
    "vmalloc": _vmalloc,
    "kfree": _kfree,
    "vfree": _vfree,
    "kstore": _kstore,
    "kwrite": _kwrite,
    "kmemleak": _kmemleak,
}
