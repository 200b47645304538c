"""Made-up results of the shape a replay gives, for tests of the faces."""

from __future__ import annotations

import math

from memtwin.analysis.results import (
    MeasuredRun,
    Provenance,
    Refaults,
    ReplayResult,
    SizingCurve,
    Timeline,
    Verdict,
    VerifyReport,
)
from memtwin.analysis.sizing import compare, make_curve, slowdown_percent, summarize
from memtwin.units import MIB

PEAK_BYTES = 112 * MIB
BASE_NS = 21_000_000_000
PROVENANCE = Provenance(
    memtwin_version="0.1.0",
    machine="laptop-8g",
    kernel="6.1",
    config_digest="5f1c9b40aa12",
    seed=1,
    trace="sort.trace",
    trace_digest="c0ffee12d00d",
    state_digest="9a8b7c6d5e4f",
    command=["sort", "-S", "300M", "<big & wide>.txt"],
    recorder="qemu-x86_64 7.2",
    window_refs=10_000,
    swap="disk of 1G",
)


def timeline(limit_bytes: int | None, run_ns: int, maj_flt: int) -> Timeline:
    line = Timeline()
    samples = 60
    for i in range(samples + 1):
        at = i / samples
        wanted = PEAK_BYTES * min(1.0, 2.2 * at) * (0.55 + 0.45 * math.cos(2.4 * at) ** 2)
        held = min(wanted, limit_bytes * 0.98) if limit_bytes else wanted
        line.time_ns.append(int(run_ns * at))
        line.rss_bytes.append(int(held))
        line.swapped_bytes.append(int(wanted - held))
        line.file_bytes.append(int(MIB * (4 + 20 * at * (1 - at))))
        line.free_bytes.append(int(6000 * MIB - held))
        line.wmark_low_bytes.append(84 * MIB)
        line.wmark_high_bytes.append(101 * MIB)
        line.maj_flt.append(int(maj_flt * at**1.7))
        line.min_flt.append(int(29000 * min(1.0, 2.2 * at)))
    return line


def result(limit_mib: int | None) -> ReplayResult:
    limit_bytes = None if limit_mib is None else limit_mib * MIB
    short = 0.0 if limit_bytes is None else max(0.0, 1 - limit_bytes / PEAK_BYTES)
    dead = limit_mib is not None and limit_mib < 18
    maj_flt = 9 + int(190_000 * short**3.3)
    stall_ns = {
        "swap_in": maj_flt * 210_000,
        "reclaim": maj_flt * 24_000,
        "file_read": 180_000_000,
        "dirty": 0,
    }
    run_ns = BASE_NS + sum(stall_ns.values())
    if dead:
        run_ns //= 9
    return ReplayResult(
        limit_bytes=limit_bytes,
        verdict=Verdict.OOM_KILLED if dead else Verdict.FINISHED,
        oom_victims=["sort (312)"] if dead else [],
        peak_rss_bytes=min(PEAK_BYTES, limit_bytes or PEAK_BYTES),
        min_flt=29_000 + maj_flt // 50,
        maj_flt=maj_flt,
        refaults=Refaults(anon=maj_flt, file=maj_flt // 40),
        activations=maj_flt // 3,
        bytes_read=46_000_000 + maj_flt * 4096,
        bytes_written=int(maj_flt * 1.3) * 4096,
        swap_in_pages=maj_flt,
        swap_out_pages=int(maj_flt * 1.3),
        pgscan=maj_flt * 2,
        pgsteal=int(maj_flt * 1.4),
        stall_ns=stall_ns,
        run_ns=run_ns,
        base_ns=BASE_NS + 180_000_000,
        slowdown_percent=None if dead else slowdown_percent(run_ns, BASE_NS + 180_000_000),
        timeline=timeline(limit_bytes, run_ns, maj_flt),
        provenance=PROVENANCE,
    )


def curve() -> SizingCurve:
    return make_curve([result(mib) for mib in range(14, 130, 10)], result(None))


def measured(point: ReplayResult, factor: float) -> MeasuredRun:
    return MeasuredRun(
        limit_bytes=point.limit_bytes,
        verdict=point.verdict,
        exit_status=0,
        maj_flt=int(point.maj_flt * factor),
        min_flt=point.min_flt,
        wall_ns=int(point.run_ns * factor / 15),
    )


def verified() -> VerifyReport:
    drawn = curve()
    report = VerifyReport(
        command=PROVENANCE.command,
        points=[
            compare(p, [measured(p, 1 + 0.03 * math.sin(i + k)) for k in range(3)])
            for i, p in enumerate(drawn.points)
        ],
        curve=drawn,
        unlimited=measured(result(None), 1.0),
        conditions={"kernel": "6.18.44", "cgroup": "version 1", "swap": "zram of 1G"},
        notes=["24M: real runs differ by 12 %"],
    )
    summarize(report)
    return report
