"""Owns the trace schema: its events, its columns and the records of its metadata.

Imports msgspec only, so that a reader of traces costs nothing to import. Knows neither how a trace
is made nor what is done with it. docs/data/trace.md says the same for people.
"""

from __future__ import annotations

import enum

import msgspec

SCHEMA_VERSION = 1
METADATA_KEY = b"memtwin"
DEFAULT_WINDOW_REFS = 10_000
NO_FILE = -1

# name -> (NumPy dtype, meaning); the order is the order in the file
COLUMNS: dict[str, tuple[str, str]] = {
    "op": ("uint8", "what happened: a TraceOp"),
    "tid": ("int32", "which thread: its number in the metadata's list of threads, from 1"),
    "insns": ("uint64", "instructions this thread had executed when it happened"),
    "a": ("int64", "first argument; a page number for FETCH, LOAD, STORE, FAULT"),
    "b": ("int64", "second argument"),
    "c": ("int64", "third argument"),
    "d": ("int64", "fourth argument"),
    "e": ("int64", "fifth argument"),
}


class TraceOp(enum.IntEnum):
    """What an event is. Values are fixed: a new kind gets a new number."""

    FETCH = 0  # a=vpn: instructions of the page were executed
    LOAD = 1  # a=vpn
    STORE = 2  # a=vpn
    FAULT = 3  # a=vpn b=x86 error code c=instruction pointer; only from the `life` recorder
    MAP = 10  # a=addr b=length c=prot d=flags | file offset in pages << 32 e=file or -1
    UNMAP = 11  # a=addr b=length
    PROTECT = 12  # a=addr b=length c=prot
    REMAP = 13  # a=old addr b=old length c=new length d=new addr e=flags
    BRK = 14  # a=old break b=new break; equal: the break the process starts with
    MADVISE = 15  # a=addr b=length c=advice
    MLOCK = 16  # a=addr b=length (0, -1: everything) c=flags
    MUNLOCK = 17  # a=addr b=length (0, -1: everything)
    MSYNC = 18  # a=addr b=length c=flags
    OPEN = 30  # a=file b=fd c=flags e=1: was open already when the image started
    CLOSE = 31  # a=file b=fd
    DUP = 32  # a=file b=old fd c=new fd
    READ = 33  # a=file b=offset or -1 c=bytes d=buffer or 0: the kernel stored to it
    WRITE = 34  # a=file b=offset or -1 c=bytes d=buffer or 0: the kernel loaded from it
    FSYNC = 35  # a=file or -1 (all) b=1: data only
    FADVISE = 36  # a=file b=offset c=length d=advice
    TRUNCATE = 37  # a=file b=new length
    FALLOCATE = 38  # a=file b=offset c=length d=mode
    UNLINK = 39  # a=file b=names left
    CLONE = 50  # a=tid of the new thread b=flags; without CLONE_VM (0x100) a process
    EXEC = 51  # a=file of the program b=pid; the address space is empty, MAPs follow
    EXIT = 52  # a=status b=ExitKind


class ExitKind(enum.IntEnum):
    """Column b of EXIT."""

    THREAD = 0  # only this thread; a is the value given to exit()
    PROCESS = 1  # the whole process; a is the exit status
    SIGNAL = 2  # the whole process; a is the signal
    UNKNOWN = 3  # it was last seen here: killed, still running, or it left the recording


TOUCHES = (TraceOp.FETCH, TraceOp.LOAD, TraceOp.STORE)


class FileKind(enum.IntEnum):
    """What kind of file a file of the trace is, as the recorder's plugin numbers them."""

    REGULAR = 0
    PIPE = 1
    SOCKET = 2
    TTY = 3
    CHAR_DEVICE = 4
    BLOCK_DEVICE = 5
    DIRECTORY = 6
    ANON = 7
    MEMFD = 8
    LINK = 9


def map_flags(d: int) -> int:
    """mmap flags of a MAP event's column d.

    >>> map_flags(3 << 32 | 0x12)
    18
    """
    return d & 0xFFFFFFFF


def map_offset_pages(d: int) -> int:
    """File offset, in pages, of a MAP event's column d.

    >>> map_offset_pages(3 << 32 | 0x12)
    3
    """
    return d >> 32


class TracedFile(msgspec.Struct, frozen=True):
    """A file that the program touched; its place in the list is its number in the events."""

    path: str
    size_bytes: int  # when first met
    kind: str  # FileKind in lower case
    device: str  # "major:minor"
    inode: int


class TracedThread(msgspec.Struct):
    """A thread; `tid` is its number in the events, the `os_` numbers are the system's."""

    tid: int
    process: int  # tid of its process's first thread
    parent: int  # process that made this process; 0: outside the recording
    os_pid: int
    os_tid: int
    comm: str
    first_ns: int  # since the start of the recording
    last_ns: int
    insns: int
    refs: int
    images: int  # programs it executed, the first included
    ended: str  # "exit 0", "signal 9", "thread exit", "left by exec of PATH", "last seen"


class Machine(msgspec.Struct, frozen=True):
    """The machine a trace was recorded on."""

    host: str
    kernel: str
    arch: str
    cpu_model: str
    cpus: int
    page_size_bytes: int
    ram_bytes: int


class Recorder(msgspec.Struct, frozen=True):
    """What made a trace, and what that way of recording can't see."""

    method: str
    tool: str
    window_refs: int
    clock: str  # what column insns counts
    misses: tuple[str, ...] = ()


class Counts(msgspec.Struct):
    """What is in a trace and what is missing from it."""

    events: int = 0
    touches: int = 0
    insns: int = 0
    refs: int = 0
    processes: int = 0
    threads: int = 0
    children_missing: int = 0  # executed a program the recorder could not follow
    still_running: int = 0  # processes without an end when the recording stopped
    lost_events: int = 0  # dropped by the kernel: only the `life` recorder can lose some
    lost_blocks: int = 0
    damaged_blocks: int = 0


class TraceMetadata(msgspec.Struct):
    """The JSON under the Parquet key `memtwin`."""

    schema_version: int
    memtwin_version: str
    command: list[str]
    cwd: str
    machine: Machine
    recorder: Recorder
    started_at: str
    complete: bool  # False: the recording was cut short; what is here is sound
    counts: Counts
    files: list[TracedFile] = msgspec.field(default_factory=list)
    threads: list[TracedThread] = msgspec.field(default_factory=list)
    wall_ns: int = 0  # of the recorded run, slowed down by the recording
    cpu_ns: int = 0
    native_cpu_ns: int = 0  # of a run without recording; 0: not measured
    exit_status: int | None = None  # as a shell gives it; None: not known
    notes: list[str] = msgspec.field(default_factory=list)


def encode_metadata(metadata: TraceMetadata) -> bytes:
    """JSON text of `metadata`."""
    return msgspec.json.encode(metadata)


def decode_metadata(text: bytes) -> TraceMetadata:
    """The metadata that `text` holds; msgspec.MsgspecError when it isn't one."""
    return msgspec.json.decode(text, type=TraceMetadata)
