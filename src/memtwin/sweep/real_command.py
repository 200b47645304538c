"""Owns how a trace names the command to run for real: its words, its place, its files.

Imports record and sweep.measure. Knows nothing of limits or groups.
"""

from __future__ import annotations

import os

import numpy as np

from memtwin.record import Trace, TraceOp
from memtwin.sweep.measure import Accesses, HugePages, Layout, RealCommand, Statistics

CHANGES = (TraceOp.WRITE, TraceOp.TRUNCATE, TraceOp.FALLOCATE, TraceOp.UNLINK)
PROT_EXEC = 4  # include/uapi/asm-generic/mman-common.h, v6.12
SIGNAL_STATUS = 128  # a shell's exit status of a command that a signal ended, without the signal


def command_of(
    trace: Trace,
    layout: Layout = Layout.RANDOM,
    huge_pages: HugePages = HugePages.OFF,
    statistics: Statistics = Statistics.FRESH,
    accesses: Accesses = Accesses.SEEN,
) -> RealCommand:
    """The command that `trace` recorded, with the files it read and those it changed.

    A command of one thread is kept on one CPU, which makes real runs repeat themselves better.
    """
    meta = trace.metadata
    changed: set[int] = set()
    executed: set[int] = set()
    for batch in trace.iter_batches():
        op, a, c = batch["op"], batch["a"], batch["c"]
        changed.update(np.unique(a[np.isin(op, CHANGES)]).tolist())
        opened = (op == TraceOp.OPEN) & ((c & (os.O_ACCMODE | os.O_CREAT | os.O_TRUNC)) != 0)
        changed.update(np.unique(a[opened]).tolist())
        mapped = (op == TraceOp.MAP) & (batch["e"] >= 0) & ((c & PROT_EXEC) != 0)
        executed.update(np.unique(batch["e"][mapped]).tolist())
    regular = [(i, file.path) for i, file in enumerate(meta.files) if file.kind == "regular"]
    status = meta.exit_status or 0
    alone = meta.counts.threads <= 1 and meta.counts.processes <= 1
    return RealCommand(
        argv=meta.command,
        cwd=meta.cwd,
        read_files=sorted({path for number, path in regular if number not in changed}),
        warm_files=sorted({path for number, path in regular if number in executed}),
        written_files=sorted({path for number, path in regular if number in changed}),
        layout=layout,
        huge_pages=huge_pages,
        statistics=statistics,
        accesses=accesses,
        cpu=max(os.sched_getaffinity(0)) if alone else None,
        expected_status=SIGNAL_STATUS - status if status > SIGNAL_STATUS else status,
    )
