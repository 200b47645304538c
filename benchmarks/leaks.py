"""Owns the experiment on leaks: how often `memtwin leaks` is wrong where the truth is known.

Imports leak_workloads and the search itself; writes benchmarks/leaks.md. Seeds are those that no
threshold was chosen on.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from leak_workloads import INTERVAL_NS, SAMPLES, WORKLOADS, run_into

from memtwin.analysis.leak import Finding, Kind, Verdict
from memtwin.cli.leaks_view import findings_of
from memtwin.observe.samples.reader import StoreReader

PAGE = Path(__file__).resolve().parent / "leaks.md"
FIRST_SEED = 1000


class Outcome(NamedTuple):
    """What was said of one run. `false`: series called a leak that are none."""

    workload: str
    seed: int
    found: bool  # the leak that there is
    false: tuple[str, ...]
    series: int


def outcome(name: str, seed: int) -> Outcome:
    """Run one workload and hold what is said against the truth."""
    with tempfile.TemporaryDirectory(prefix="memtwin-leaks-") as folder:
        store = Path(folder) / "store"
        run_into(name, seed, store)
        reader = StoreReader(store)
        findings = findings_of(reader, reader.span_ns())
    return judged(name, seed, findings)


def judged(name: str, seed: int, findings: list[Finding]) -> Outcome:
    """Hold findings against the truth of workload `name`.

    Where something leaks, MemAvailable falls; and what leaks pages of a process also grows its
    cgroup, and its page tables with it: these follow from the leak and are no mistake.
    """
    truth = WORKLOADS[name].truth
    called = [one for one in findings if one.verdict is Verdict.LEAK]
    found = any(one.kind.value == truth.kind for one in called)
    follows = {Kind.AVAILABLE.value, truth.kind} if truth.kind else set()
    if truth.kind in (Kind.USS.value, Kind.PAGE_TABLES.value):
        follows |= {Kind.PROCESS_TABLES.value, Kind.PAGE_TABLES.value, Kind.CGROUP.value}
    if truth.kind == Kind.PAGE_TABLES.value:  # vm_area_struct: one for each mapping
        follows.add(Kind.SLAB.value)
    wrong = [f"{one.kind.value} of {one.name}" for one in called if one.kind.value not in follows]
    if truth.kind == Kind.USS.value:
        wrong += [
            f"uss of {one.name}"
            for one in called
            if one.kind is Kind.USS and not one.name.endswith(" worker")
        ]
    return Outcome(name, seed, found, tuple(wrong), len(findings))


def wilson(hits: int, runs: int) -> str:
    """`hits` of `runs` as percent, with its 95 % interval (Wilson 1927)."""
    z, share = 1.96, hits / runs
    centre = (share + z * z / (2 * runs)) / (1 + z * z / runs)
    half = z / (1 + z * z / runs) * math.sqrt(share * (1 - share) / runs + (z / (2 * runs)) ** 2)
    return f"{share:.1%} ({max(centre - half, 0):.1%} .. {min(centre + half, 1):.1%})"


def page(outcomes: list[Outcome], seeds: int, elapsed_s: float) -> str:
    """The page of results."""
    rows = []
    for name, workload in WORKLOADS.items():
        mine = [one for one in outcomes if one.workload == name]
        alarms = sum(bool(one.false) for one in mine)
        caught = f"{sum(one.found for one in mine)} of {len(mine)}" if workload.truth.kind else "-"
        rows.append(f"| {name} | {workload.truth.kind or 'nothing'} | {caught} | {alarms} |")
    leaking = [one for one in outcomes if WORKLOADS[one.workload].truth.kind]
    clean = [one for one in outcomes if not WORKLOADS[one.workload].truth.kind]
    wrong = Counter(text.split(" of ")[0] for one in outcomes for text in one.false)
    series = sum(one.series for one in outcomes)
    minutes = SAMPLES * INTERVAL_NS / 60e9
    return f"""# Leaks found by sampling, where the truth is known

{seeds} seeded runs of each workload on a twin of 128 MiB with zram, {SAMPLES} samples in
{minutes:.0f} minutes of its time, through the store and the search as `memtwin leaks STORE` does.
Made by `python benchmarks/leaks.py --seeds {seeds}` in {elapsed_s:.0f} s.

| workload | what leaks | found | runs with a false alarm |
| --- | --- | --- | --- |
{chr(10).join(rows)}

* Leaks found: {wilson(sum(one.found for one in leaking), len(leaking))} of {len(leaking)} runs.
* Runs without any leak in which something was called one:
  {wilson(sum(bool(one.false) for one in clean), len(clean))} of {len(clean)}.
* Series wrongly called a leak: {sum(wrong.values())} of {series:,}
  ({", ".join(f"{kind} {count}" for kind, count in wrong.most_common()) or "none"}).

A leak counts as found when the series that leaks is called a leak. Falling MemAvailable, and page
tables and kernel objects that a leak brings with it, are no false alarms beside it.
"""


def main() -> None:
    """Run all and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", help="one workload, printed and not written")
    arguments = parser.parse_args()
    names = [arguments.only] if arguments.only else list(WORKLOADS)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    began = time.monotonic()
    with ProcessPoolExecutor(arguments.jobs) as pool:
        runs = [pool.submit(outcome, name, seed) for name in names for seed in seeds]
        outcomes = [run.result() for run in runs]
    if arguments.only:
        for one in outcomes:
            print(one)
        return
    text = page(outcomes, arguments.seeds, time.monotonic() - began)
    PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
