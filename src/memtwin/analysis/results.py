"""Owns the records of results: one replay, one sizing curve, one verification, and their JSON.

Imports errors. Knows nothing of machines, traces or how a result is shown. Sizes are integer bytes,
times integer ns, counts integers; `None` means "not known", never 0.
"""

from __future__ import annotations

import enum
from typing import Literal

import msgspec

from memtwin.errors import UserError

SCHEMA_VERSION = 1


class Verdict(enum.StrEnum):
    """How a run under a limit ended."""

    FINISHED = "finished"
    OOM_KILLED = "oom-killed"
    SEGFAULT = "segfault"
    TIMED_OUT = "timed-out"  # only a measured run
    FAILED = "failed"  # only a measured run: it ended with an exit status of its own


class Refaults(msgspec.Struct, frozen=True):
    """Pages that came back after reclaim took them, by kind."""

    anon: int = 0
    file: int = 0


class Provenance(msgspec.Struct, frozen=True):
    """What made a result: enough to make it again."""

    memtwin_version: str = ""
    machine: str = ""  # name or path of the machine description
    kernel: str = ""  # the modelled kernel version, 6.1 or 6.12
    config_digest: str = ""
    seed: int = 0
    trace: str = ""  # path as given
    trace_digest: str = ""
    state_digest: str = ""  # of all columns at the end of the run
    command: list[str] = msgspec.field(default_factory=list)  # the recorded program
    recorder: str = ""
    window_refs: int | None = None  # the recorder kept one record a page and this many references
    swap: str = ""  # the swap device as text, "none" without one


class Timeline(msgspec.Struct):
    """Samples in virtual time, one column each, all of one length. Counters are cumulative."""

    time_ns: list[int] = msgspec.field(default_factory=list)
    rss_bytes: list[int] = msgspec.field(default_factory=list)  # anon + file + shmem mapped
    swapped_bytes: list[int] = msgspec.field(default_factory=list)
    file_bytes: list[int] = msgspec.field(default_factory=list)  # page cache
    free_bytes: list[int] = msgspec.field(default_factory=list)  # free memory of the machine
    wmark_low_bytes: list[int] = msgspec.field(default_factory=list)  # sum over zones
    wmark_high_bytes: list[int] = msgspec.field(default_factory=list)
    maj_flt: list[int] = msgspec.field(default_factory=list)
    min_flt: list[int] = msgspec.field(default_factory=list)


class ReplayResult(msgspec.Struct, kw_only=True):
    """What one replay of a trace under one limit cost."""

    limit_bytes: int | None = None  # None: no limit of its own, the whole machine
    verdict: Verdict = Verdict.FINISHED
    oom_victims: list[str] = msgspec.field(default_factory=list)  # "comm (pid)", in order of death
    peak_rss_bytes: int = 0
    peak_usage_bytes: int | None = None  # peak charge of the group: page cache included
    min_flt: int = 0
    maj_flt: int = 0
    refaults: Refaults = Refaults()
    activations: int = 0  # pages moved to the active list
    bytes_read: int = 0  # from block devices, swap included
    bytes_written: int = 0
    swap_in_pages: int = 0
    swap_out_pages: int = 0
    pgscan: int = 0
    pgsteal: int = 0
    stall_ns: dict[str, int] = msgspec.field(default_factory=dict)  # cause -> waited and lost
    run_ns: int = 0  # virtual, start to end
    base_ns: int = 0  # the same run without its stalls; on a curve: the run without a limit
    slowdown_percent: float | None = None  # against base_ns; None when it did not finish
    timeline: Timeline = msgspec.field(default_factory=Timeline)
    # of every replay under this limit that differs by its seed alone, this median one included;
    # empty: there was one replay
    chance_maj_flt: list[int] = msgspec.field(default_factory=list)
    provenance: Provenance = Provenance()

    @property
    def survived(self) -> bool:
        """Whether the program ran to its end."""
        return self.verdict is Verdict.FINISHED


class SizingCurve(msgspec.Struct, kw_only=True):
    """One trace replayed under falling limits; `points` ascend by limit."""

    kind: Literal["sizing"] = "sizing"
    schema_version: int = SCHEMA_VERSION
    points: list[ReplayResult]
    unlimited: ReplayResult | None = None  # the run without a limit
    slowdown_target_percent: float = 5.0
    knee_bytes: int | None = None
    smallest_under_target_bytes: int | None = None
    smallest_surviving_bytes: int | None = None
    notes: list[str] = msgspec.field(default_factory=list)  # what looks odd, in words


class MeasuredRun(msgspec.Struct, kw_only=True):
    """One run of the real command in a memory cgroup of its own."""

    limit_bytes: int | None
    verdict: Verdict
    exit_status: int | None = None  # negative: the signal's number
    maj_flt: int = 0  # getrusage of the process and its waited-for children
    min_flt: int = 0
    group_maj_flt: int | None = None  # memory.stat of the group: children left behind as well
    group_min_flt: int | None = None
    peak_usage_bytes: int | None = None
    max_rss_bytes: int = 0
    wall_ns: int = 0
    cpu_ns: int = 0
    swap_in_pages: int = 0  # of the whole host while it ran
    swap_out_pages: int = 0
    cached_elsewhere_bytes: int = 0  # of the trace's files: in memory, charged to nobody here


class VerifiedPoint(msgspec.Struct, kw_only=True):
    """One limit: the prediction beside the measured runs."""

    limit_bytes: int
    predicted: ReplayResult
    runs: list[MeasuredRun]
    measured_maj_flt: int | None = None  # median of the runs that finished
    spread_percent: float | None = None  # (max - min) / median of those runs
    error_percent: float | None = None  # of predicted major faults; None where nothing to compare


class VerifyReport(msgspec.Struct, kw_only=True):
    """Predicted against measured, and under which conditions it was measured."""

    kind: Literal["verify"] = "verify"
    schema_version: int = SCHEMA_VERSION
    command: list[str]
    points: list[VerifiedPoint]
    curve: SizingCurve | None = None
    unlimited: MeasuredRun | None = None
    median_error_percent: float | None = None
    worst_error_percent: float | None = None
    conditions: dict[str, str] = msgspec.field(default_factory=dict)  # kernel, cgroup, swap ...
    notes: list[str] = msgspec.field(default_factory=list)


class ReplayReport(msgspec.Struct, kw_only=True):
    """One replay on its own, as `memtwin replay --json` writes it."""

    kind: Literal["replay"] = "replay"
    schema_version: int = SCHEMA_VERSION
    result: ReplayResult


Report = ReplayReport | SizingCurve | VerifyReport


def to_json(report: Report) -> str:
    """`report` as indented JSON text; `kind` and `schema_version` say how to read it."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1).decode() + "\n"


class _Envelope(msgspec.Struct):
    kind: str = ""
    schema_version: int = 0


_KINDS: dict[str, type[ReplayReport] | type[SizingCurve] | type[VerifyReport]] = {
    "replay": ReplayReport,
    "sizing": SizingCurve,
    "verify": VerifyReport,
}


def from_json(text: str, where: str = "report") -> Report:
    """The report that `text` holds; raises UserError for foreign text or another schema version."""
    try:
        envelope = msgspec.json.decode(text, type=_Envelope)
        if envelope.kind not in _KINDS:
            raise UserError(
                f"{where}: found kind {envelope.kind!r}, allowed is {', '.join(_KINDS)}"
            )
        if envelope.schema_version != SCHEMA_VERSION:
            raise UserError(
                f"{where}: found schema_version {envelope.schema_version},"
                f" allowed is {SCHEMA_VERSION}"
            )
        return msgspec.json.decode(text, type=_KINDS[envelope.kind])
    except (msgspec.DecodeError, UnicodeError) as fault:
        raise UserError(f"{where}: not a memtwin report ({fault})") from None
