"""Owns `memtwin leak PID`: two scans with samples between them, reports, and the one verdict.

Imports observe/live_heap, analysis and cli/leak_text. Judges nothing itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from memtwin.analysis.heap_growth import heap_growth
from memtwin.analysis.leak_verdict import (
    Answer,
    LeakVerdict,
    MemoryTrend,
    judge_process,
)
from memtwin.analysis.trend import GROWING, Shape, judge
from memtwin.cli.leak_scan_view import (
    checked_seconds,
    groups_since_text,
    head_text,
    method_named,
)
from memtwin.cli.leak_text import notes_and_absent, per_hour, say, say_json
from memtwin.errors import UserError
from memtwin.observe.leak_reports import LeakReport, read_reports
from memtwin.observe.live_heap import HeapScan, Method, scan_heap
from memtwin.observe.processes.files import parse_status
from memtwin.units import format_size

_SAMPLES = 40
_LEAST_STEP_S = 0.05
_LEAST_GROWTH_BYTES = 64 << 10
_LEAKING_STATUS = 1


def verdict(
    pid: int, seconds: float, report_files: Sequence[Path], method_name: str, *, as_json: bool
) -> int:
    """Print the verdict; the exit status."""
    method = method_named(method_name)
    checked_seconds(seconds, "--for")
    reports = [report for path in report_files for report in read_reports(path)]
    before, after, trend = _watch(pid, seconds, method)
    growth = heap_growth(before, after)
    found = judge_process(before, after, growth, trend, reports)
    if as_json:
        say_json({"schema": "memtwin.leak_verdict", "version": 1, "verdict": found})
    else:
        say(_text(found, after, reports))
    return _LEAKING_STATUS if found.answer is Answer.LEAKING else 0


def _watch(
    pid: int, seconds: float, method: Method | None
) -> tuple[HeapScan, HeapScan, MemoryTrend]:
    before = scan_heap(pid, method)
    times, values = [], []
    step_s = max(seconds / _SAMPLES, _LEAST_STEP_S)
    began_s = time.monotonic()
    while (passed_s := time.monotonic() - began_s) < seconds:
        times.append(passed_s)
        values.append(float(_own_bytes(pid)))
        time.sleep(min(step_s, max(seconds - passed_s, 0.0)))
    after = scan_heap(pid, method)
    seen = judge(np.array(times), np.array(values), float(_LEAST_GROWTH_BYTES))
    trend = MemoryTrend(
        seen.shape.value,
        seen.shape in GROWING,
        seen.slope_per_s,
        seen.low_per_s,
        seen.high_per_s,
        len(times),
    )
    return before, after, trend


def _own_bytes(pid: int) -> int:
    """Anonymous memory in RAM and in swap: what the process alone has, and cheap to read."""
    try:
        status = parse_status(Path(f"/proc/{pid}/status").read_text(errors="replace"))
    except OSError:
        raise UserError(f"PID {pid}: ended meanwhile") from None
    return ((status.rss_anon_kib or 0) + (status.vm_swap_kib or 0)) << 10


def _text(found: LeakVerdict, scan: HeapScan, reports: Sequence[LeakReport]) -> str:
    rate = f", {per_hour(found.bytes_per_s)}" if found.bytes_per_s else ""
    parts = [
        f"PID {found.pid} {found.name}: {found.answer.value}{rate} ({found.sureness.value})\n",
        *(f"  {line}\n" for line in found.why),
    ]
    trend = found.trend
    if trend is not None:
        told = f"  trend of its own memory: {trend.shape}"
        if trend.shape != Shape.TOO_SHORT.value:
            told += (
                f", {per_hour(trend.bytes_per_s)} (95 %: {per_hour(trend.low_per_s)} to"
                f" {per_hour(trend.high_per_s)})"
            )
        parts.append(f"{told}, {trend.samples} samples in {found.seconds:.1f} s\n")
    if found.culprits:
        parts += ["\n", groups_since_text(found.culprits)]
    parts += ["\nnot leaks:\n", *(f"  {line}\n" for line in found.not_leaks)]
    if found.look_at:
        parts += ["\nlook at:\n", *(f"  {line}\n" for line in found.look_at)]
    for report in reports:
        lost = report.lost
        parts.append(
            f"\n{report.tool}: {format_size(lost.bytes)} lost in {lost.blocks:,} blocks"
            " (of its own run)\n"
        )
    parts += ["\n", head_text(scan), notes_and_absent(scan.notes)]
    return "".join(parts)
