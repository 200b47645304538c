"""Owns the tables of a store: how samples become Arrow tables, one schema for each.

Imports observe's journal and records, and pyarrow. Has never heard of files or directories. What
each column means stands in docs/data/store.md. A text that has not its kernel's shape gives no row
of figures; the text itself is kept.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]

from memtwin.errors import UserError
from memtwin.observe import meminfo, slabinfo
from memtwin.observe.meminfo import FIELDS, parse_meminfo
from memtwin.observe.processes.files import parse_process_stat, parse_smaps_rollup
from memtwin.observe.samples.journal import Sample
from memtwin.observe.scan import parse_flat
from memtwin.observe.slabinfo import parse_slabinfo
from memtwin.observe.system import PRESSURE_PATHS, parse_pressure
from memtwin.observe.vmstat import PATH as VMSTAT_PATH

AREAS_PATH = "/memtwin/processes/{pid}/areas"  # not the kernel's: what its maps add up to
TABLES = ("samples", "texts", "system", "processes", "slabs", "cgroups")

SCHEMAS = {
    "samples": pa.schema(
        [("taken_ns", pa.int64()), ("monotonic_ns", pa.int64()), ("cpu_ns", pa.int64())]
    ),
    # text is null from the moment on at which the path could not be read any more
    "texts": pa.schema([("taken_ns", pa.int64()), ("path", pa.string()), ("text", pa.binary())]),
    "processes": pa.schema(
        [
            ("taken_ns", pa.int64()),
            ("pid", pa.int32()),
            ("start_ticks", pa.int64()),
            ("comm", pa.string()),
            ("vss_bytes", pa.int64()),
            ("rss_bytes", pa.int64()),
            ("shared_bytes", pa.int64()),
            ("pss_bytes", pa.int64()),
            ("uss_bytes", pa.int64()),
            ("anonymous_bytes", pa.int64()),
            ("swap_bytes", pa.int64()),
            ("page_tables_bytes", pa.int64()),
            ("heap_bytes", pa.int64()),
            ("anonymous_maps_bytes", pa.int64()),
            ("rollup_ns", pa.int64()),
        ]
    ),
    "slabs": pa.schema(
        [
            ("taken_ns", pa.int64()),
            ("cache", pa.string()),
            ("size_bytes", pa.int64()),
            ("active_objs", pa.int64()),
            ("num_objs", pa.int64()),
            ("objsize_bytes", pa.int64()),
        ]
    ),
    "cgroups": pa.schema(
        [
            ("taken_ns", pa.int64()),
            ("path", pa.string()),
            ("current_bytes", pa.int64()),
            ("anon_bytes", pa.int64()),
            ("file_bytes", pa.int64()),
            ("kernel_bytes", pa.int64()),
            ("max_bytes", pa.int64()),
        ]
    ),
}
_CGROUP_FILES = ("memory.current", "memory.usage_in_bytes", "memory.stat", "memory.max")
_PROCESS_FILES = ("statm", "stat", "status", "smaps_rollup", "areas")


class TextOrder(enum.Enum):
    """The order of the rows of the table `texts`; those of all others are in the order of time."""

    BY_TIME = "by time"
    BY_PATH = "by path, then by time"


def tables_of(
    samples: Iterable[Sample], page_bytes: int, order: TextOrder = TextOrder.BY_TIME
) -> dict[str, pa.Table]:
    """All tables of `samples`, which begin with a whole one."""
    rows = _Rows(page_bytes)
    for sample in samples:
        rows.add(sample)
    if order is TextOrder.BY_PATH:
        rows.sort_texts()
    return rows.tables()


def empty_tables() -> dict[str, pa.Table]:
    """The tables of no samples at all."""
    return tables_of([], 4096)


class _Rows:
    """Columns being filled."""

    def __init__(self, page_bytes: int) -> None:
        self.page_bytes = page_bytes
        self.columns: dict[str, dict[str, list[Any]]] = {
            name: {field.name: [] for field in schema} for name, schema in SCHEMAS.items()
        }
        self.system: list[dict[str, int]] = []
        self.processes: dict[str, _Process] = {}
        self.cgroups: dict[str, dict[str, int | None]] = {}

    def add(self, sample: Sample) -> None:
        at = sample.taken_ns
        self._row("samples", at, sample.monotonic_ns, sample.cpu_ns)
        for path in sample.gone:  # first: a pid that ended may be there again
            self._row("texts", at, path, None)
        for path, text in sample.texts.items():
            self._row("texts", at, path, text)
        shown = {path: text.decode(errors="replace") for path, text in sample.texts.items()}
        figures = {"taken_ns": at} | _system_figures(shown)
        if len(figures) > 1:
            self.system.append(figures)
        if slabinfo.PATH in shown:
            self._add_slabs(at, shown[slabinfo.PATH])
        self._add_processes(at, shown, sample.gone)
        self._add_cgroups(at, shown, sample.gone)

    def _row(self, table: str, *values: object) -> None:
        for column, value in zip(self.columns[table].values(), values, strict=True):
            column.append(value)

    def _add_slabs(self, at: int, text: str) -> None:
        for row in _parsed(parse_slabinfo, text) or ():
            size_bytes = row.num_slabs * row.pages_per_slab * self.page_bytes
            self._row(
                "slabs", at, row.name, size_bytes, row.active_objs, row.num_objs, row.objsize_bytes
            )

    def _add_processes(self, at: int, texts: dict[str, str], gone: list[str]) -> None:
        for path in gone:
            if path.endswith("/statm"):
                self.processes.pop(path.split("/")[2], None)
        changed: dict[str, None] = {}
        for path, text in texts.items():
            parts = path.split("/")
            if len(parts) >= 4 and parts[-1] in _PROCESS_FILES and parts[-2].isdigit():
                process = self.processes.setdefault(parts[-2], _Process())
                if process.take(parts[-1], text, at, self.page_bytes):
                    changed[parts[-2]] = None
        for pid in changed:
            self._row("processes", at, int(pid), *self.processes[pid].values())

    def _add_cgroups(self, at: int, texts: dict[str, str], gone: list[str]) -> None:
        for path in gone:
            self.cgroups.pop(path.rpartition("/")[0], None)
        changed: dict[str, None] = {}
        for path, text in texts.items():
            folder, _, name = path.rpartition("/")
            if name in _CGROUP_FILES:
                group = self.cgroups.setdefault(folder, {})
                group.update(_cgroup_figures(name, text))
                changed[folder] = None
        for folder in changed:
            group = self.cgroups[folder]
            names = ("current", "anon", "file", "kernel", "max")
            self._row("cgroups", at, folder, *(group.get(name) for name in names))

    def sort_texts(self) -> None:
        """Put texts of one path side by side; here, since Arrow's sorting takes long to load."""
        columns = self.columns["texts"]
        paths = columns["path"]
        by_path = sorted(range(len(paths)), key=paths.__getitem__)  # stable: time stays in order
        self.columns["texts"] = {
            name: [column[row] for row in by_path] for name, column in columns.items()
        }

    def tables(self) -> dict[str, pa.Table]:
        found = {
            name: pa.table(columns, schema=SCHEMAS[name]) for name, columns in self.columns.items()
        }
        names = dict.fromkeys(name for figures in self.system for name in figures)
        found["system"] = pa.table(
            {
                name: pa.array([figures.get(name) for figures in self.system], pa.int64())
                for name in names or ("taken_ns",)
            }
        )
        return found


class _Process:
    """What is known of one process so far."""

    def __init__(self) -> None:
        self.start_ticks = -1
        self.comm = ""
        self.figures: dict[str, int | None] = {}
        self.rollup_ns: int | None = None

    def take(self, name: str, text: str, at: int, page_bytes: int) -> bool:
        """Take a text in; whether a figure of memory is new."""
        if name == "stat":
            stat = _parsed(parse_process_stat, text)
            if stat is not None and len(stat.fields) > 18:
                # fs/proc/array.c do_task_stat(), v6.12: field 22 is the start in ticks
                self.start_ticks, self.comm = stat.fields[18], stat.comm
            return False
        if name == "statm":
            words = text.split()
            if len(words) < 3 or not all(word.isdigit() for word in words[:3]):
                return False
            sizes = [int(word) * page_bytes for word in words[:3]]
            self.figures |= dict(zip(("vss", "rss", "shared"), sizes, strict=True))
            return sizes[0] > 0  # a kernel thread has no address space
        if name == "smaps_rollup":
            return self._take_rollup(text, at)
        if name == "areas":
            areas = _parsed(lambda t: parse_flat(t, "areas"), text) or {}
            self.figures |= areas
            return bool(areas)
        _, _, behind = text.partition("\nVmPTE:")  # of hundreds of processes, the one line needed
        words = behind.split(maxsplit=2)
        if len(words) > 1 and words[0].isdigit() and words[1] == "kB":
            self.figures["page_tables"] = int(words[0]) * 1024
        return False

    def _take_rollup(self, text: str, at: int) -> bool:
        rollup = _parsed(parse_smaps_rollup, text)
        if rollup is None:
            return False
        private = (rollup.private_clean_kib, rollup.private_dirty_kib, rollup.private_hugetlb_kib)
        self.figures["uss"] = sum(kib or 0 for kib in private) * 1024
        for name in ("pss", "anonymous", "swap"):
            kib = getattr(rollup, f"{name}_kib")
            self.figures[name] = None if kib is None else kib * 1024
        self.rollup_ns = at
        return True

    def values(self) -> list[object]:
        """The row of now, behind the moment and the pid."""
        names = (
            "vss", "rss", "shared", "pss", "uss", "anonymous", "swap", "page_tables", "heap",
            "anonymous_maps",
        )  # fmt: skip
        figures = [self.figures.get(name) for name in names]
        return [self.start_ticks, self.comm, *figures, self.rollup_ns]


def _system_figures(texts: dict[str, str]) -> dict[str, int]:
    figures: dict[str, int] = {}
    if meminfo.PATH in texts:
        info = _parsed(parse_meminfo, texts[meminfo.PATH])
        for field in FIELDS.values() if info is not None else ():
            value = getattr(info, field)
            if value is not None and field.endswith("_kib"):
                figures[field.removesuffix("_kib") + "_bytes"] = value * 1024
            elif value is not None:
                figures[field] = value
    if VMSTAT_PATH in texts:
        counters = _parsed(lambda t: parse_flat(t, VMSTAT_PATH), texts[VMSTAT_PATH]) or {}
        figures |= {f"vmstat_{name}": value for name, value in counters.items()}
    for path in PRESSURE_PATHS:
        pressure = _parsed(parse_pressure, texts[path]) if path in texts else None
        if pressure is not None:
            name = path.rpartition("/")[2]
            figures[f"psi_{name}_some_us"] = pressure.some.total_us
            if pressure.full is not None:
                figures[f"psi_{name}_full_us"] = pressure.full.total_us
    return figures


def _cgroup_figures(name: str, text: str) -> dict[str, int | None]:
    if name == "memory.stat":
        stat = _parsed(lambda t: parse_flat(t, name), text) or {}
        # v1 says total_rss and total_cache (mm/memcontrol-v1.c memcg1_stat_format(), v6.12)
        return {
            "anon": stat.get("anon", stat.get("total_rss")),
            "file": stat.get("file", stat.get("total_cache")),
            "kernel": stat.get("kernel"),
        }
    word = text.strip()
    key = "max" if name == "memory.max" else "current"
    return {key: int(word) if word.isdigit() else None}


def _parsed(parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except (UserError, ValueError, IndexError):
        return None
