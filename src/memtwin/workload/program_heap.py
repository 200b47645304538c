"""Owns the C library's heap of one process of a script: what its commands do to it, and its checks.

Imports heap, machine's Process, heap_process and observe/leak_reports. Knows nothing of the
language: values come in as numbers. Each call that the heap makes and each page that it touches is
made by the process of the twin's kernel at once, so that its texts follow.
"""

from __future__ import annotations

from memtwin import __version__
from memtwin.errors import UserError
from memtwin.heap.block_states import INDIRECT, POSSIBLE, REACHABLE, UNREACHED
from memtwin.heap.build import HeapTerms, new_heap
from memtwin.heap.census import verify
from memtwin.heap.constants import FAULTS, SEGV
from memtwin.heap.heap import Heap
from memtwin.heap.leak_check import Losses, check, grouped
from memtwin.heap.pointers import WORD_BYTES, Block, Pointers
from memtwin.machine.process import Process
from memtwin.observe.leak_reports.report import Frame, LeakReport, LossRecord, Tally, tallies_of
from memtwin.units import PAGE_SIZE
from memtwin.workload.heap_process import HeapProcess

MALLOC, CALLOC, REALLOC, MEMALIGN, FREE = "malloc", "calloc", "realloc", "memalign", "free"
_KINDS = {
    UNREACHED: "definite",
    INDIRECT: "indirect",
    POSSIBLE: "possible",
    REACHABLE: "reachable",
}
_SIGABRT, _SIGSEGV = 6, 11
_VARIABLES_A_PAGE = PAGE_SIZE // WORD_BYTES


class ProgramHeap:
    """malloc and free of one process. `pointers` knows its blocks, variables and what they hold."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.terms = HeapTerms(cores=process.machine.config.nr_cpus)
        self.heap: Heap = new_heap(self.terms)
        self.pointers = Pointers()
        self.calls: list[tuple[str, int, int]] = []  # what was asked of the heap, for a fork
        self._data_pages = 0
        self._drive()

    def _drive(self) -> None:
        brk_start = int(self.heap.system.map.layout.brk_start)
        mm = self.process.task.space()
        if mm.start_brk == 0:
            mm.start_brk = mm.brk = brk_start
        self.driven = HeapProcess(self.process, brk_start)

    def fork(self, child: Process) -> ProgramHeap:
        """The heap that a forked child has: the same blocks, in memory that the fork shares."""
        found = ProgramHeap.__new__(ProgramHeap)
        found.process, found.terms = child, self.terms
        found.heap = new_heap(self.terms)
        found.calls = []
        for call in self.calls:
            found._ask(*call)
        found.heap.memory.log.take()
        found.pointers = self.pointers.copy()
        found._data_pages = self._data_pages
        found.driven = self.driven.of_child(child)
        return found

    # calls

    def _ask(self, verb: str, first: int, second: int) -> int:
        self.calls.append((verb, first, second))
        if verb == MALLOC:
            return self.heap.malloc(first)
        if verb == CALLOC:
            return self.heap.calloc(1, first)
        if verb == MEMALIGN:
            return self.heap.memalign(first, second)
        if verb == REALLOC:
            return self.heap.realloc(first, second)
        self.heap.free(first)
        return 0

    def _call(self, verb: str, first: int, second: int = 0) -> int:
        """Ask the heap, and let the process do what the heap did."""
        address = self._ask(verb, first, second)
        # DIFFERS: a brk or mmap that the twin's kernel refuses is counted and the heap goes on as
        # if it had the memory; the heap has called and answered before the kernel hears of it;
        # leaks and RSS of scripts that allocate more than a machine will commit
        for row in self.heap.memory.log.take()[:, :5].tolist():
            self.driven.apply(*row)
        fault = int(self.heap.memory.fault)
        if fault and self.process.alive:
            signal = _SIGSEGV if fault == SEGV else _SIGABRT
            self.process.syscalls.kill(self.process.task, signal)
        return address

    @property
    def fault(self) -> str:
        """What glibc says before it ends the program; "" while all is well."""
        fault = int(self.heap.memory.fault)
        return FAULTS.get(fault, "SIGSEGV") if fault else ""

    def allocate(self, verb: str, size_bytes: int, line: int, alignment: int = 0) -> int:
        """The address of a new block that `line` asked for, or 0."""
        words = (alignment, size_bytes) if verb == MEMALIGN else (size_bytes, 0)
        address = self._call(verb, *words)
        if address:
            self.pointers.add(address, size_bytes, (verb, line))
        return address

    def reallocate(self, address: int, size_bytes: int, line: int) -> int:
        """The address of the block with a new size; 0 for none, or when it was freed (size 0)."""
        moved = self._call(REALLOC, address, size_bytes)
        if address == 0 and moved:
            self.pointers.add(moved, size_bytes, (REALLOC, line))
        elif moved and address in self.pointers.blocks:
            self.pointers.move(address, moved, size_bytes, (REALLOC, line))
        elif size_bytes == 0 and not self.fault and address in self.pointers.blocks:
            self.pointers.drop(address)
        return moved

    def free(self, address: int) -> None:
        """Free what is at `address`; glibc ends the program when nothing is."""
        self._call(FREE, address)
        if not self.fault and address in self.pointers.blocks:
            self.pointers.drop(address)

    # pointers

    def set_variable(self, name: str, value: int) -> None:
        """A variable of the program holds `value`; a new one is the next word of its data."""
        variables = self.pointers.variables
        if name not in variables and len(variables) == self._data_pages * _VARIABLES_A_PAGE:
            # MODEL: variables lie in pages of their own, as a program's .bss does
            address = self.process.mmap(PAGE_SIZE)
            if address > 0:
                self.process.touch(address)
            self._data_pages += 1
        variables[name] = value

    def word(self, address: int) -> int:
        """The pointer at `address`; UserError where no block in use has a word."""
        block = self._block(address, "read")
        return block.words.get(address - block.start, 0)

    def set_word(self, address: int, value: int) -> None:
        """Store a pointer into a block; UserError where no block in use has a word."""
        block = self._block(address, "store")
        block.words[address - block.start] = value

    def _block(self, address: int, how: str) -> Block:
        block = self.pointers.block_of(address)
        if block is None or address % WORD_BYTES:
            raise UserError(
                f"found a {how} of 8 bytes at {address:#x}, allowed is a whole, aligned word of a"
                " block in use"
            )
        return block

    # checks

    def leak_check(self, program: str, script: str) -> LeakReport:
        """The common report of what is in use now, as memcheck would sort and group it."""
        records = [_record(one, program, script) for one in grouped(check(self.pointers))]
        blocks = self.pointers.blocks.values()
        return LeakReport(
            tool="memtwin twin",
            tool_version=__version__,
            command=program,
            pid=self.process.pid,
            kinds=tallies_of(records),
            records=records,
            in_use=Tally(len(blocks), sum(block.size_bytes for block in blocks)),
            allocs=self.pointers.allocs,
            frees=self.pointers.frees,
            allocated_bytes=self.pointers.allocated_bytes,
        )

    def verify(self) -> None:
        """The heap's chunks add up; InternalError names what does not."""
        verify(self.heap)


def _record(one: Losses, program: str, script: str) -> LossRecord:
    function, line = one.place
    return LossRecord(
        _KINDS[one.state],
        one.blocks,
        one.size_bytes,
        one.indirect_blocks or None,
        one.indirect_bytes or None,
        [Frame(function), Frame(program, script, line)],
    )
