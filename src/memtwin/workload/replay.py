"""Owns replaying a recorded program on a machine: batches of events in, one result out.

Imports machine, record, analysis/results. Touches cross into compiled code a run at a time; every
other event is done by `replay_image.py`.

Time: the trace's clock counts instructions, so between two events of a thread the twin computes
for as long as those instructions take (measured natively where the recording has it, else
hardware/cost.py instruction_ps); what the kernel does is priced by the cost table.

# DIFFERS: threads compute one after the other, whatever the number of CPUs; a recording has one
# order; the run time of programs that compute in parallel, not their faults.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from memtwin import __version__
from memtwin.analysis.results import Provenance, Refaults, ReplayResult, Verdict
from memtwin.machine.cgroups import LIMIT_GROUP
from memtwin.machine.description import LimitConfig, MachineConfig
from memtwin.machine.machine import Machine
from memtwin.process.task import SIGSEGV
from memtwin.record.schema import ExitKind, TraceOp
from memtwin.record.trace import Trace
from memtwin.units import PAGE_SIZE, format_size
from memtwin.workload.replay_image import Image
from memtwin.workload.timeline import Sampler

Progress = Callable[[int, int], None]
PROT_EXEC = 4
SAMPLES = 200  # of the timeline, over the whole recording
MOST_TOUCHES_A_RUN = 4096  # between two looks at the clock
# op FETCH, LOAD, STORE -> kind of touch EXEC, READ, WRITE (fault/verdicts.py)
_KIND_OF_OP = np.array([2, 0, 1], dtype=np.int8)


class Replay:
    """One recording on one machine. `run()` gives the result; the machine stays for a look."""

    def __init__(self, trace: Trace, config: MachineConfig, limit_bytes: int | None) -> None:
        self.trace = trace
        self.limit_bytes = limit_bytes
        if limit_bytes is not None:
            usual = config.limit or LimitConfig(limit_bytes)
            limit = msgspec.structs.replace(usual, max_bytes=limit_bytes, high_bytes=None)
            config = msgspec.structs.replace(config, limit=limit)
        self.config = config
        self.machine = Machine(config)
        group = LIMIT_GROUP if config.limit is not None else ""
        self.image = Image(self.machine, trace.metadata, group)
        self.sampler = Sampler(self.machine, self.image)
        self._insns: dict[int, int] = {}  # thread -> instructions done
        counts = trace.metadata.counts
        self._ps = self.machine.kernel.cost.instruction_ps
        if trace.metadata.native_cpu_ns and counts.insns:
            self._ps = trace.metadata.native_cpu_ns * 1000 // counts.insns
        self._sample_every = max(counts.insns // SAMPLES, 1)
        self._since_sample = 0
        self.peak_rss_pages = 0

    def run(self, progress: Progress | None = None) -> ReplayResult:
        """Replay everything, or up to the death of the last recorded process."""
        self._warm_libraries()
        before = dict(self.machine.figures())
        self._begin_ns = self.machine.clock.now_ns
        stalls = list(self.machine.clock.stall_ns)
        self.sampler.sample()
        total, done = self.trace.metadata.counts.events, 0
        for batch in self.trace.iter_batches():
            if progress is not None:
                progress(done, max(total, done))
            self._batch(batch)
            done += len(batch["op"])
            if not self.image.alive():
                break
        if progress is not None:
            progress(max(total, done), max(total, done))
        self.sampler.sample()
        return self._result(before, stalls)

    def run_to(self, share: float, progress: Progress | None = None) -> None:
        """Replay `share` (0 to 1) of the events, but not the end of the recorded program.

        Its first process stays as it was just before it ended, for a look at it.
        """
        self._warm_libraries()
        total, done = self.trace.metadata.counts.events, 0
        most = int(total * share)
        for batch in self.trace.iter_batches():
            if progress is not None:
                progress(done, max(most, done))
            room = min(most - done, _events_before_end(batch, self.image.first_tid))
            self._batch({name: column[:room] for name, column in batch.items()})
            done += len(batch["op"])
            if room < len(batch["op"]) or not self.image.alive():
                break
        self.machine.settle()

    def _warm_libraries(self) -> None:
        """Files that the program executes are in memory before it starts, charged to nobody.

        MODEL: a shell, a service manager or an earlier run has used the same libraries. What the
        program reads with read() is cold: `size --verify` evicts it before each real run.
        """
        executed: set[int] = set()
        for batch in self.trace.iter_batches():
            maps = (batch["op"] == TraceOp.MAP) & (batch["e"] >= 0)
            maps &= (batch["c"] & PROT_EXEC) != 0
            executed.update(batch["e"][maps].tolist())
        for number in sorted(executed):
            self.image.warm(number)

    def _batch(self, batch: dict[str, npt.NDArray[Any]]) -> None:
        op, tid, insns = batch["op"], batch["tid"], batch["insns"]
        if not len(op):
            return
        vpns = np.array(batch["a"], dtype=np.int64)  # a copy: compiled rooms want it writable
        is_touch = op <= TraceOp.STORE
        kinds = np.zeros(len(op), dtype=np.int8)
        kinds[is_touch] = _KIND_OF_OP[op[is_touch]]
        # a run ends where the thread changes, and each other event is a run of its own
        edges = np.flatnonzero((tid[1:] != tid[:-1]) | ~is_touch[1:] | ~is_touch[:-1]) + 1
        starts = np.concatenate(([0], edges))
        ends = np.concatenate((edges, [len(op)]))
        views = vpns.data, kinds.data
        # one look into each column for all runs: Python numbers are what the loop needs
        heads = [batch[name][starts].tolist() for name in ("op", "tid", "insns", *"abcde")]
        touches = is_touch[starts].tolist()
        last = insns[ends - 1].tolist()
        for run, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            code, thread, at_insns, a, b, c, d, e = (column[run] for column in heads)
            if not touches[run]:
                self._compute(thread, at_insns)
                self.image.do(code, thread, a, b, c, d, e)
            elif end - start <= MOST_TOUCHES_A_RUN:
                self._compute(thread, last[run])
                self._touch(thread, views, start, end)
            else:
                for at in range(start, end, MOST_TOUCHES_A_RUN):
                    stop = min(at + MOST_TOUCHES_A_RUN, end)
                    self._compute(thread, int(insns[stop - 1]))
                    self._touch(thread, views, at, stop)
            if not self.image.alive():
                return

    def _compute(self, thread: int, insns: int) -> None:
        """Let the thread compute up to `insns`, and timers run."""
        step = insns - self._insns.get(thread, 0)
        if step <= 0:
            return
        self._insns[thread] = insns
        clock = self.machine.clock
        running = self.image.of_thread.get(thread)
        if running is not None:
            self.machine.enter(running)
        self.machine.compute(step * self._ps // 1000)
        self.machine.timers.run_until(clock.now_ns)
        self._since_sample += step
        if self._since_sample >= self._sample_every:
            self._since_sample = 0
            self.sampler.sample()

    def _touch(self, thread: int, views: tuple[Any, Any], at: int, end: int) -> None:
        process = self.image.process_of(thread)
        access, task = self.machine.kernel.access, process.task
        self.machine.enter(process)
        while at < end and task.alive:
            at = int(access.touch_many(task.space(), views[0], views[1], at, end))
            verdict = int(access.verdict)
            if verdict and not process.syscalls.answer(task, verdict):
                return

    def _result(self, before: dict[str, int], stalls: list[int]) -> ReplayResult:
        machine, image = self.machine, self.image
        after = machine.figures()
        grew = {name: after[name] - before.get(name, 0) for name in after}
        stall_ns = {
            name: int(now) - int(was)
            for name, now, was in zip(
                machine.clock.stall_names(), machine.clock.stall_ns, stalls, strict=True
            )
        }
        run_ns = machine.clock.now_ns - self._begin_ns
        base_ns = max(run_ns - sum(stall_ns.values()), 1)
        faults = [process.task.faults() for process in image.all]
        verdict, victims = self._verdict()
        finished = verdict is Verdict.FINISHED
        return ReplayResult(
            limit_bytes=self.limit_bytes,
            verdict=verdict,
            oom_victims=victims,
            peak_rss_bytes=self.sampler.peak_rss_pages * PAGE_SIZE,
            peak_usage_bytes=machine.cgroups.peak_bytes(LIMIT_GROUP) if self.config.limit else None,
            min_flt=sum(pair[0] for pair in faults),
            maj_flt=sum(pair[1] for pair in faults),
            refaults=Refaults(
                anon=grew["workingset_refault_anon"], file=grew["workingset_refault_file"]
            ),
            activations=grew["pgactivate"],
            bytes_read=grew["pgpgin"] * 1024,
            bytes_written=grew["pgpgout"] * 1024,
            swap_in_pages=grew["pswpin"],
            swap_out_pages=grew["pswpout"],
            pgscan=grew["pgscan_anon"] + grew["pgscan_file"],
            pgsteal=grew["pgsteal_anon"] + grew["pgsteal_file"],
            stall_ns={name: ns for name, ns in stall_ns.items() if ns},
            run_ns=run_ns,
            base_ns=base_ns,
            slowdown_percent=100.0 * (run_ns - base_ns) / base_ns if finished else None,
            timeline=self.sampler.timeline,
            provenance=self._provenance(),
        )

    def _verdict(self) -> tuple[Verdict, list[str]]:
        dead = [process for process in self.image.all if process.task.oom_victim]
        victims = [f"{process.name} ({process.pid})" for process in dead]
        if dead:
            return Verdict.OOM_KILLED, victims
        if any(process.task.exit_signal == SIGSEGV for process in self.image.all):
            return Verdict.SEGFAULT, []
        return Verdict.FINISHED, []

    def _provenance(self) -> Provenance:
        metadata = self.trace.metadata
        swap = ", ".join(f"{s.kind}:{format_size(s.size_bytes)}" for s in self.config.swap)
        return Provenance(
            memtwin_version=__version__,
            machine=self.config.name,
            kernel="6.12" if self.config.kernel >= 612 else "6.1",
            config_digest=self.config.digest(),
            seed=self.config.seed,
            trace=str(self.trace.path),
            trace_digest=_digest_of(self.trace),
            state_digest=self.machine.digest(),
            command=list(metadata.command),
            recorder=metadata.recorder.method,
            window_refs=metadata.recorder.window_refs or None,
            swap=swap or "none",
        )


def _events_before_end(batch: dict[str, npt.NDArray[Any]], tid: int) -> int:
    """How many of the batch's events come before the end of the process that `tid` began."""
    ends = (batch["op"] == TraceOp.EXIT) & (batch["tid"] == tid) & (batch["b"] != ExitKind.THREAD)
    return int(np.argmax(ends)) if ends.any() else len(ends)


def _digest_of(trace: Trace) -> str:
    """BLAKE2b of the trace's file."""
    digest = hashlib.blake2b(digest_size=16)
    with trace.path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def replay(
    trace: Trace,
    config: MachineConfig,
    limit_bytes: int | None = None,
    progress: Progress | None = None,
) -> ReplayResult:
    """Replay `trace` on the machine `config`, in a memory cgroup of `limit_bytes` if given."""
    return Replay(trace, config, limit_bytes).run(progress)
