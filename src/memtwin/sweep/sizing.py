"""Owns replaying one trace under many limits, in processes of their own.

Imports workload, analysis. Does no arithmetic on results: `analysis/sizing.py` judges them. Each
worker is forked after the recording is opened, so what they read is shared.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed

import msgspec

from memtwin.analysis.results import ReplayResult, SizingCurve
from memtwin.analysis.sizing import middle
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
    replays: int = 1,
) -> SizingCurve:
    """Replay `trace` under each of `limits` (bytes): the curve, ascending by limit.

    Each limit is replayed `replays` times, with the description's seed and those after it; the
    replay with the median of major faults is the point. `jobs` is the number of processes at a
    time, 0 for one a CPU. `step(done, total, text)` is told of progress.
    """
    seeds = [msgspec.structs.replace(config, seed=config.seed + more) for more in range(replays)]
    found: dict[int, dict[int, ReplayResult]] = {limit_bytes: {} for limit_bytes in limits}
    # the smallest limits take longest: start them first
    jobs_to_do = [
        (limit_bytes, number) for limit_bytes in sorted(limits) for number in range(replays)
    ]
    workers = min(jobs or os.cpu_count() or 1, len(jobs_to_do)) or 1
    done = 0
    if step is not None:
        step(done, len(jobs_to_do), "limits")
    if workers == 1:
        for limit_bytes, number in jobs_to_do:
            found[limit_bytes][number] = replay(trace, seeds[number], limit_bytes)
            done += 1
            if step is not None:
                step(done, len(jobs_to_do), "limits")
    else:
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            waiting = {
                pool.submit(_one, str(trace.path), seeds[number], limit_bytes): (
                    limit_bytes, number,
                )
                for limit_bytes, number in jobs_to_do
            }  # fmt: skip
            try:
                for future in as_completed(waiting):
                    limit_bytes, number = waiting[future]
                    found[limit_bytes][number] = future.result()
                    done += 1
                    if step is not None:
                        step(done, len(jobs_to_do), "limits")
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    points = [
        middle([of_seed[number] for number in range(replays)])
        for _, of_seed in sorted(found.items())
    ]
    return SizingCurve(points=points)
