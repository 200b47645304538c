"""Owns how a heap is put together: version, tunables, mallopt settings, where it lies.

Imports the room. Knows nothing of traces.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from memtwin.errors import UserError
from memtwin.heap.address_map import AddressMap, Layout
from memtwin.heap.arenas import Arenas
from memtwin.heap.call_log import CallLog
from memtwin.heap.constants import (
    M_ARENA_MAX,
    M_ARENA_TEST,
    M_MMAP_MAX,
    M_MMAP_THRESHOLD,
    M_MXFAST,
    M_PERTURB,
    M_TOP_PAD,
    M_TRIM_THRESHOLD,
    MAX_FAST_SIZE,
    MAX_TCACHE_COUNT,
    MAX_TCACHE_SIZE,
)
from memtwin.heap.heap import Heap
from memtwin.heap.heaps import Heaps
from memtwin.heap.memory import HeapMemory, Touching
from memtwin.heap.par import MallocPar
from memtwin.heap.system import HeapSystem
from memtwin.heap.tcache import Tcache
from memtwin.heap.versions import INSTALLED_TRUTH, Rules, rules_of
from memtwin.units import parse_size

_MALLOPT = {
    "M_MXFAST": M_MXFAST,
    "M_TRIM_THRESHOLD": M_TRIM_THRESHOLD,
    "M_TOP_PAD": M_TOP_PAD,
    "M_MMAP_THRESHOLD": M_MMAP_THRESHOLD,
    "M_MMAP_MAX": M_MMAP_MAX,
    "M_ARENA_TEST": M_ARENA_TEST,
    "M_ARENA_MAX": M_ARENA_MAX,
    "M_PERTURB": M_PERTURB,
}
# elf/dl-tunables.list, glibc 2.36: the names under glibc.malloc that mallopt sets as well
_TUNABLES_OF_MALLOPT = {
    "top_pad": M_TOP_PAD,
    "mmap_threshold": M_MMAP_THRESHOLD,
    "trim_threshold": M_TRIM_THRESHOLD,
    "mmap_max": M_MMAP_MAX,
    "arena_max": M_ARENA_MAX,
    "arena_test": M_ARENA_TEST,
    "mxfast": M_MXFAST,
    "perturb": M_PERTURB,
}
_REFUSED = {
    "M_CHECK_ACTION": "it does nothing since glibc 2.34",
}
_MOST = {"M_MXFAST": MAX_FAST_SIZE, "mxfast": MAX_FAST_SIZE}


@dataclass(frozen=True)
class HeapTerms:
    """What a heap is built from; `changes` are (name, value) of mallopt or of tunables."""

    glibc: str = INSTALLED_TRUTH
    cores: int = 2
    layout: Layout = field(default_factory=Layout)
    touching: Touching = Touching.REQUESTED
    changes: tuple[tuple[str, int], ...] = ()


def new_heap(terms: HeapTerms | None = None) -> Heap:
    """A heap before its first malloc.

    >>> heap = new_heap(); hex(heap.malloc(24))
    '0x5555555592a0'
    """
    terms = terms or HeapTerms()
    log = CallLog()
    rules = rules_of(terms.glibc)
    layout = terms.layout
    if rules.tunables_move_break:
        layout = replace(layout, brk_taken_bytes=_tunables_bytes(terms.changes))
    system = HeapSystem(AddressMap(layout), log)
    memory = HeapMemory(layout.brk_start, log, int(terms.touching))
    par = MallocPar(rules, terms.cores)
    for name, value in terms.changes:
        apply_change(par, rules, name, value)
    _use_huge_pages(par, rules, system, memory, terms.changes)
    arenas = Arenas(memory)
    heaps = Heaps(memory, arenas, system, par)
    return Heap(memory, arenas, heaps, system, par, Tcache(memory, par))


def _use_huge_pages(
    par: MallocPar, rules: Rules, system: HeapSystem, memory: HeapMemory,
    changes: tuple[tuple[str, int], ...],
) -> None:  # fmt: skip
    """What glibc.malloc.hugetlb changes besides the figures, once all tunables are read."""
    system.thp_bytes = par.thp_bytes
    if par.hp_bytes:
        system.break_is_off = 1
        memory.heap_shift = int(par.heap_max_bytes).bit_length() - 1
        if rules.hugetlb_sets_threshold and "glibc.malloc.mmap_threshold" not in dict(changes):
            par.mallopt(M_MMAP_THRESHOLD, par.hp_bytes)


def parse_change(text: str) -> tuple[str, int]:
    """(name, value) of "M_MMAP_THRESHOLD=1M" or "glibc.malloc.tcache_count=0".

    >>> parse_change("M_TOP_PAD=64K")
    ('M_TOP_PAD', 65536)
    """
    name, equals, value = text.partition("=")
    short = name.removeprefix("glibc.malloc.")
    known = [*_MALLOPT, *(f"glibc.malloc.{key}" for key in _tunables())]
    if short in _REFUSED:
        raise UserError(f"--set: found {name}, which has no effect here: {_REFUSED[short]}")
    if not equals or name not in known:
        raise UserError(f"--set: found {text!r}, allowed are {', '.join(known)}, each =VALUE")
    return name, parse_size(value, name)


def _tunables_bytes(changes: tuple[tuple[str, int], ...]) -> int:
    """What GLIBC_TUNABLES takes in an environment when it sets those changes; 0 without any."""
    pairs = [f"{name}={value}" for name, value in changes if name.startswith("glibc.")]
    return len("GLIBC_TUNABLES=" + ":".join(pairs)) + 1 if pairs else 0


def _tunables() -> list[str]:
    own = ["tcache_max", "tcache_count", "tcache_unsorted_limit", "hugetlb", "check"]
    return [*_TUNABLES_OF_MALLOPT, *own]


def mallopt_number(name: str) -> int:
    """The parameter of mallopt that a change sets; 0 when only a tunable does."""
    short = name.removeprefix("glibc.malloc.")
    return _MALLOPT.get(short, _TUNABLES_OF_MALLOPT.get(short, 0))


def apply_change(par: MallocPar, rules: Rules, name: str, value: int) -> None:
    """Set one figure before the first malloc; raises UserError for what glibc refuses."""
    short = name.removeprefix("glibc.malloc.")
    done, allowed = 1, ""
    if short == "tcache_max":
        done, allowed = int(par.set_tcache_max(value)), f"0 to {MAX_TCACHE_SIZE}"
    elif short == "tcache_count":
        done, allowed = int(par.set_tcache_count(value)), f"0 to {MAX_TCACHE_COUNT}"
    elif short == "check":
        done = rules.has_check_hooks
        allowed = "none since glibc 2.34: it is another allocator then, libc_malloc_debug"
        par.checks = int(value != 0)
        par.no_dyn_threshold = par.no_dyn_threshold or par.checks  # its free() moves no threshold
    elif short == "hugetlb":
        done = int(rules.knows_hugetlb and par.set_hugetlb(value))
        allowed = "0, 1, 2 or 2097152, since glibc 2.35"
    elif short == "tcache_unsorted_limit":
        par.tcache_unsorted_limit = value
    else:
        done = int(par.mallopt(mallopt_number(name), value))
        allowed = f"0 to {_MOST[short]}" if short in _MOST else "at most 32M before glibc 2.35"
    if not done:
        raise UserError(f"{name}: found {value}, allowed is {allowed}")
