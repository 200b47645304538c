"""Owns traces of allocations: the columns, the Parquet file, the segments that recording leaves.

Imports NumPy, PyArrow, errors. Knows nothing of the allocator that will replay them. A directory of
segments is read like a finished trace, so a recording that was killed is not lost.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from numpy.typing import NDArray

from memtwin.errors import UserError

METADATA_KEY = b"memtwin-heap"
VERSION = 1
ROW_GROUP_EVENTS = 1 << 17
# name -> (dtype, meaning)
COLUMNS: dict[str, tuple[str, str]] = {
    "time_ns": ("int64", "since the first event; order of events, across threads"),
    "op": ("uint8", "1 malloc 2 free 3 realloc 4 calloc 5 memalign 20 mallopt 21 malloc_trim"),
    "image": ("int32", "which program image: a process, a new one after each exec"),
    "pid": ("int32", "process"),
    "tid": ("int32", "thread that called"),
    "pointer": ("int64", "answer, or what is freed; 0 NULL"),
    "size": ("int64", "bytes asked for; of mallopt the parameter, of malloc_trim the pad"),
    "argument": ("int64", "alignment, the old pointer of realloc, or the value of mallopt"),
    "stack": ("uint32", "number of the call stack in the metadata; 0 none was taken"),
}
MALLOC, FREE, REALLOC, CALLOC, MEMALIGN, MALLOPT, TRIM, STACK = 1, 2, 3, 4, 5, 20, 21, 30
_SEGMENT = np.dtype(
    [("magic", "<u8"), ("rows", "<u8"), ("pid", "<u4"), ("tid", "<u4"), ("ticks", "<u8"),
     ("time_ns", "<u8"), ("first_ticks", "<u8"), ("pad", "<u8", (2,))]
)  # fmt: skip
_ROW = np.dtype([("what", "<u8"), ("rest", "<u8")])  # malloc_recorder.c says which bits are what
_ONE, _TWO, _SECOND = 1, 2, 3
# an event of the first form of segments, which has no rows of two kinds
_EVENT = np.dtype(
    [("ticks", "<u8"), ("pointer", "<i8"), ("size", "<i8"), ("argument", "<i8"), ("op", "<u4"),
     ("stack", "<u4")]
)  # fmt: skip
_MAGIC_EVENTS, _MAGIC = 0x31504145484D544D, 0x32504145484D544D
Table = dict[str, NDArray[Any]]


@dataclass
class HeapTraceInfo:
    """What a trace says of itself. `stacks` are frames by number, innermost first."""

    command: list[str] = field(default_factory=list)
    method: str = "preload"
    glibc: str = ""
    cores: int = 0
    wall_ns: int = 0
    cpu_ns: int = 0
    exit_status: int = 0
    missing: list[str] = field(default_factory=list)
    stacks: dict[str, list[str]] = field(default_factory=dict)
    leaks: dict[str, Any] | None = None  # a LeakReport of what was in use at the end, if asked for
    version: int = VERSION


@dataclass
class HeapTrace:
    """All events, sorted by time, as columns of COLUMNS."""

    info: HeapTraceInfo
    table: Table

    @property
    def events(self) -> int:
        """How many there are."""
        return len(self.table["op"])

    def images(self) -> list[tuple[int, int, int]]:
        """(image, pid, events) of each program image, most events first."""
        found, first, counts = np.unique(self.table["image"], return_index=True, return_counts=True)
        pids = self.table["pid"][first]
        rows = [(int(a), int(b), int(c)) for a, b, c in zip(found, pids, counts, strict=True)]
        return sorted(rows, key=lambda row: -row[2])


def write_heap_trace(path: Path, trace: HeapTrace) -> None:
    """Write `trace` as Parquet with zstd; raises UserError when it can't be written."""
    schema = pa.schema(
        [(name, pa.from_numpy_dtype(np.dtype(d))) for name, (d, _) in COLUMNS.items()]
    )
    schema = schema.with_metadata({METADATA_KEY: json.dumps(asdict(trace.info)).encode()})
    table = pa.table([pa.array(trace.table[name]) for name in COLUMNS], schema=schema)
    try:
        pq.write_table(table, path, compression="zstd", row_group_size=ROW_GROUP_EVENTS)
    except OSError as error:
        raise UserError(f"{path}: can't be written ({error.strerror})") from None


def read_heap_trace(path: Path) -> HeapTrace:
    """A trace file, or a directory of segments of a recording that was cut short."""
    if path.is_dir():
        return from_segments(path, HeapTraceInfo(missing=["the end: recording was cut short"]))
    if not path.exists():
        raise UserError(f"{path}: no such file")
    try:
        file = pq.ParquetFile(path)
        text = (file.metadata.metadata or {}).get(METADATA_KEY)
        names = file.schema_arrow.names
        if text is None or names != list(COLUMNS):
            raise UserError(f"{path}: found a Parquet file that is no recording of a heap")
        table = file.read()
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [""])[0][:100]
        raise UserError(f"{path}: found no recording of a heap ({reason})") from None
    info = HeapTraceInfo(**json.loads(text))
    return HeapTrace(info, {name: table.column(name).to_numpy() for name in COLUMNS})


def segments_of(directory: Path) -> list[Path]:
    """The segments in a directory, oldest first by process."""
    return sorted(
        directory.glob("*.segment"), key=lambda p: tuple(int(x) for x in p.stem.split("."))
    )


def from_segments(directory: Path, info: HeapTraceInfo, ns_a_tick: float = 0.0) -> HeapTrace:
    """The trace of all whole events in the segments of `directory`."""
    parts: list[Table] = []
    heads: list[tuple[int, int]] = []
    image, last = -1, (-1, -1)
    for path in segments_of(directory):
        raw = path.read_bytes()
        if len(raw) < _SEGMENT.itemsize:
            continue
        head = np.frombuffer(raw, _SEGMENT, count=1)[0]
        pid, serial = int(head["pid"]), int(path.stem.split(".")[2])
        if head["magic"] not in (_MAGIC, _MAGIC_EVENTS):
            continue
        # an image numbers its segments from 0; a forked child goes on from its parent's number
        if pid != last[0] or serial <= last[1]:
            image += 1
        last = (pid, serial)
        heads.append((int(head["ticks"]), int(head["time_ns"])))
        parts.append(_part(_events(raw, head), head, image))
    if not parts:
        raise UserError(f"{directory}: found no segments of a recording")
    table = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(table["time_ns"], kind="stable")
    table = {name: column[order] for name, column in table.items()}
    _take_stacks(table, info, directory)
    keep = table["op"] != STACK
    table = {name: column[keep] for name, column in table.items()}
    scale = ns_a_tick or _scale(heads)
    since = table["time_ns"] - (table["time_ns"][0] if len(table["time_ns"]) else 0)
    table["time_ns"] = (since.astype("float64") * scale).astype("int64")
    return HeapTrace(info, table)


def _events(raw: bytes, head: np.void) -> Table:
    """The whole events of a segment, `time_ns` still in ticks."""
    record = _ROW if head["magic"] == _MAGIC else _EVENT
    count = min(int(head["rows"]), (len(raw) - _SEGMENT.itemsize) // record.itemsize)
    rows = np.frombuffer(raw, record, count=count, offset=_SEGMENT.itemsize)
    if head["magic"] == _MAGIC:
        return _unpacked(rows, int(head["first_ticks"]))
    names = ("pointer", "size", "argument", "op", "stack")
    return {"time_ns": rows["ticks"], **{name: rows[name] for name in names}}


def _unpacked(rows: np.ndarray, first_ticks: int) -> Table:
    kinds = rows["what"] >> np.uint64(62)
    at = np.flatnonzero((kinds == _ONE) | ((kinds == _TWO) & (np.append(kinds[1:], 0) == _SECOND)))
    what, rest = rows["what"][at], rows["rest"][at]
    ticks, size = _bits(rest, 0, 32), _bits(rest, 32, 32)
    argument, stack = np.zeros(len(at), "i8"), np.zeros(len(at), "i8")
    two = np.flatnonzero(kinds[at] == _TWO)
    ticks[two] = _bits(rest[two], 0, 48)
    second = rows[at[two] + 1]
    size[two] = second["rest"].view("i8")
    argument[two] = (second["what"] << np.uint64(16)).view("i8") >> 16  # with its sign
    stack[two] = (
        _bits(rest[two], 48, 16)
        | _bits(what[two], 48, 8) << 16
        | _bits(second["what"], 48, 8) << 24
    )
    return {
        "time_ns": first_ticks + np.cumsum(ticks),
        "pointer": _bits(what, 0, 48),
        "size": size,
        "argument": argument,
        "op": _bits(what, 56, 6),
        "stack": stack,
    }


def _bits(words: np.ndarray, first: int, count: int) -> np.ndarray:
    """`count` bits of each word from bit `first` on; int64."""
    mask = np.uint64((1 << count) - 1)
    return ((words >> np.uint64(first)) & mask).astype("i8")


def _part(events: Table, head: np.void, image: int) -> Table:
    count = len(events["op"])
    own = {
        "image": np.full(count, image),
        "pid": np.full(count, int(head["pid"])),
        "tid": np.full(count, int(head["tid"])),
    }
    columns = {**events, **own}
    return {name: columns[name].astype(dtype) for name, (dtype, _) in COLUMNS.items()}


def _scale(heads: list[tuple[int, int]]) -> float:
    """ns a tick from the two segments farthest apart; 1 when there is but one."""
    first, last = min(heads), max(heads)
    if last[0] == first[0]:
        return 1.0
    return (last[1] - first[1]) / (last[0] - first[0])


def _take_stacks(table: Table, info: HeapTraceInfo, directory: Path) -> None:
    rows = np.flatnonzero(table["op"] == STACK)
    frames: dict[int, dict[int, str]] = {}
    maps: dict[int, list[tuple[int, int, int, str]]] = {}
    for row in rows.tolist():
        number, pid = int(table["stack"][row]), int(table["pid"][row])
        if pid not in maps:
            maps[pid] = read_maps(directory / f"{pid}.maps")
        name = _frame_name(maps[pid], int(table["pointer"][row]))
        frames.setdefault(number, {})[int(table["size"][row])] = name
    for number, found in frames.items():
        info.stacks[str(number)] = [found[depth] for depth in sorted(found)]


def read_maps(path: Path) -> list[tuple[int, int, int, str]]:
    """(start, end, offset, file) of the mapped files of a process; none where it told none."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text(errors="replace").splitlines():
        words = line.split(None, 5)
        if len(words) == 6 and words[5].startswith("/"):
            start, _, end = words[0].partition("-")
            found.append((int(start, 16), int(end, 16), int(words[2], 16), words[5]))
    return found


def _frame_name(maps: list[tuple[int, int, int, str]], address: int) -> str:
    """The file and the offset in it, as addr2line takes it for position independent code."""
    for start, end, offset, name in maps:
        if start <= address < end:
            return f"{Path(name).name}+{address - start + offset:#x}"
    return f"{address:#x}"
