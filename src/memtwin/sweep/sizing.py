"""Owns replaying one trace under many limits, in processes of their own.

Imports workload, analysis. Does no arithmetic on results: `analysis/sizing.py` judges them. Each
worker is forked after the recording is opened, so what they read is shared.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed

from memtwin.analysis.results import ReplayResult, SizingCurve
from memtwin.machine.description import MachineConfig
from memtwin.record.trace import Trace, open_trace
from memtwin.workload.replay import replay

Step = Callable[[int, int, str], None]


def _one(path: str, config: MachineConfig, limit_bytes: int) -> ReplayResult:
    return replay(open_trace(path), config, limit_bytes)


def sweep(
    trace: Trace,
    config: MachineConfig,
    limits: list[int],
    step: Step | None = None,
    jobs: int = 0,
) -> SizingCurve:
    """Replay `trace` under each of `limits` (bytes): the curve, ascending by limit.

    `jobs` is the number of processes at a time, 0 for one a CPU. `step(done, total, text)` is told
    of progress.
    """
    workers = min(jobs or os.cpu_count() or 1, len(limits)) or 1
    points: list[ReplayResult] = []
    if step is not None:
        step(0, len(limits), "limits")
    if workers == 1:
        for limit_bytes in limits:
            points.append(replay(trace, config, limit_bytes))
            if step is not None:
                step(len(points), len(limits), "limits")
    else:
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            # the smallest limits take longest: start them first
            waiting = [
                pool.submit(_one, str(trace.path), config, limit_bytes)
                for limit_bytes in sorted(limits)
            ]
            try:
                for future in as_completed(waiting):
                    points.append(future.result())
                    if step is not None:
                        step(len(points), len(limits), "limits")
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return SizingCurve(points=sorted(points, key=lambda point: point.limit_bytes or 0))
