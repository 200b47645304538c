"""Owns the fallback recorder: the program under valgrind's lackey tool, for short runs.

Imports host, lackey_calls, lackey_text, part_writer, program, schema, supervise.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from memtwin.errors import UserError
from memtwin.record import schema
from memtwin.record.host import new_metadata
from memtwin.record.lackey_calls import LackeyCalls
from memtwin.record.lackey_text import LackeyText
from memtwin.record.part import SLOT_BYTES
from memtwin.record.part_writer import PartWriter, Stream
from memtwin.record.program import Program
from memtwin.record.schema import TraceOp
from memtwin.record.supervise import RunResult, run_supervised

_MISSES = (
    "memory the kernel touches for the program except buffers of read, write, pread and pwrite",
    "forked children: they run, unrecorded",
    "which thread did what: all are one; valgrind runs them one at a time",
    "files open before the start, sockets, and file positions after calls it doesn't print",
    "valgrind's own preloaded library is in the address space",
)
_SYSCALL = re.compile(rb"^SYSCALL\[[^\n]*\n", re.MULTILINE)
_CHUNK_BYTES = 1 << 22
_OP_FILE = 200
_STACK_END = 0x1FFF001000  # where valgrind ends the program's stack on 64-bit machines
_STACK_MOST_BYTES = 16 << 20  # the most valgrind gives it: --main-stacksize


def record_lackey(
    program: Program,
    command: list[str],
    part: Path,
    window_refs: int,
    progress: Callable[[int, int], None] | None,
) -> RunResult:
    """Run `program` under valgrind; events go to the block file `part`."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise UserError("valgrind is not installed; apt install valgrind")
    out = subprocess.run([valgrind, "--version"], capture_output=True, text=True, check=False)
    recorder = schema.Recorder(
        method="lackey",
        tool=out.stdout.strip(),
        window_refs=window_refs,
        clock="instructions of the process",
        misses=_MISSES,
    )
    metadata = new_metadata(command, recorder)
    writer = PartWriter(part, metadata)
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    reader = _Reader(read_end, writer, program, window_refs)
    reader.start()

    def tick(elapsed_ns: int) -> bool:
        if progress is not None:
            progress(elapsed_ns, writer.slots * SLOT_BYTES)
        return reader.failed is None

    argv = [
        valgrind, "--tool=lackey", "--trace-mem=yes", "--trace-syscalls=yes",
        "--child-silent-after-fork=yes", f"--log-fd={write_end}",
        str(program.binary), *program.argv[1:],
    ]  # fmt: skip
    try:
        result = run_supervised(argv, tick=tick)
    finally:
        os.close(write_end)
        reader.join()
        writer.close()
    if reader.failed is not None:
        raise reader.failed
    reader.note_children(result)
    return result


class _Reader(threading.Thread):
    """Reads the pipe to its end; the program waits when it is full."""

    def __init__(self, fd: int, writer: PartWriter, program: Program, window_refs: int) -> None:
        super().__init__(daemon=True)
        self._fd = fd
        self._program = program
        self._writer = writer
        self._text = LackeyText(window_refs)
        self._files: dict[str, int] = {}
        self._stream: Stream | None = None
        self._calls = LackeyCalls(os.getcwd(), self._emit, self._name_file)
        self.failed: OSError | None = None

    def run(self) -> None:
        """Read, reduce, write, until the program has ended."""
        left = b""
        try:
            with open(self._fd, "rb", buffering=0) as pipe:
                while data := pipe.read(_CHUNK_BYTES):
                    whole, newline, left = (left + data).rpartition(b"\n")
                    self._take(whole + newline)
            if self._stream is not None:
                self._stream.flush()
        except OSError as error:
            self.failed = error

    def note_children(self, result: RunResult) -> None:
        """Keep how many children are missing for the front door to say."""
        result.children_missing = self._calls.children

    def _take(self, text: bytes) -> None:
        if self._stream is None:
            head = re.search(rb"==(\d+)== Lackey", text)
            if head is None:
                return
            self._begin(int(head[1]))
        at = 0
        for call in _SYSCALL.finditer(text):
            self._put(text[at : call.start()])
            if self._calls.line(call[0].decode("utf-8", "replace").rstrip()):
                self._text.forget()
            at = call.end()
        self._put(text[at:])

    def _put(self, text: bytes) -> None:
        if not text or self._stream is None:
            return
        touches = self._text.reduce(text)
        self._stream.refs = self._text.refs
        if len(touches.vpn):
            self._stream.touches(touches.vpn, touches.kind, touches.insns, time.monotonic_ns())

    def _emit(self, op: TraceOp, arguments: tuple[int, ...]) -> None:
        if self._stream is not None:
            self._stream.event(op, time.monotonic_ns(), self._text.insns, arguments)

    def _name_file(self, path: str) -> int:
        number = self._files.get(path)
        if number is None:
            number = self._files[path] = len(self._files)
            size_bytes = device = inode = 0
            kind = schema.FileKind.REGULAR
            try:
                st = os.stat(path)
                size_bytes, device, inode = st.st_size, st.st_dev, st.st_ino
                kind = _kind(path)
            except OSError:
                pass  # gone already: only its name is known
            arguments = (number, size_bytes, device, inode, number)
            if self._stream is not None:
                now = time.monotonic_ns()
                self._stream.event(_OP_FILE, now, self._text.insns, arguments, path, kind)
        return number

    def _begin(self, pid: int) -> None:
        now = time.monotonic_ns()
        self._stream = self._writer.stream(pid=pid, tid=pid, ppid=os.getpid(), birth_ns=now)
        binary = str(self._program.binary.resolve())
        file = self._name_file(binary)
        self._stream.event(TraceOp.EXEC, now, 0, (file, pid), binary)
        try:
            lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        except OSError:
            lines = []  # it has ended already; its own mappings are all there is
        loader = re.compile(r"/ld(-linux|-musl|64)?[-.\w]*so")
        for line in lines:
            words = line.split(None, 5)
            path = words[5] if len(words) > 5 else ""
            if path != binary and not loader.search(path):
                continue
            start, end = (int(x, 16) for x in words[0].split("-"))
            prot = sum(bit for bit, c in ((1, "r"), (2, "w"), (4, "x")) if c in words[1])
            flags = 0x12 | int(words[2], 16) >> 12 << 32  # private, fixed
            self._emit(TraceOp.MAP, (start, end - start, prot, flags, self._name_file(path)))
        limit = resource.getrlimit(resource.RLIMIT_STACK)[0]
        size_bytes = limit if 0 < limit < _STACK_MOST_BYTES else _STACK_MOST_BYTES
        stack = (_STACK_END - size_bytes, size_bytes, 3, 0x20122, schema.NO_FILE)
        self._emit(TraceOp.MAP, stack)


def _kind(path: str) -> schema.FileKind:
    by_test = (
        (os.path.isdir, schema.FileKind.DIRECTORY),
        (os.path.isfile, schema.FileKind.REGULAR),
    )
    for test, kind in by_test:
        if test(path):
            return kind
    return schema.FileKind.CHAR_DEVICE

