"""Runs the twin on every recorded case, scores it against real kernels, and writes the table.

Usage: fidelity.py [--oracle DIR] [--jobs N] [--only NAME ...] [--no-write]

DIR holds `cases/`, `truth/` and `score.py`; its default is shared/oracle beside the checkout.
Results go to build/fidelity; the table goes to docs/FIDELITY.md between its markers. A case
without a result counts as failed in every cell. Exit status 1 when a case could not be run.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "build" / "fidelity"
BEGIN, END = "<!-- oracle:begin -->", "<!-- oracle:end -->"
FAMILIES = (
    "faults", "process", "layout", "lru", "pages", "meminfo", "reclaim", "io", "buddy",
    "slab_objects", "slab_geometry", "huge", "oom",
)  # fmt: skip
TIMEOUT_S = 600


def load_score(oracle: Path) -> ModuleType:
    """The oracle's own judge."""
    spec = importlib.util.spec_from_file_location("score", oracle / "score.py")
    if spec is None or spec.loader is None or not (oracle / "score.py").is_file():
        sys.exit(f"fidelity: found no score.py in {oracle}, allowed is a directory with one")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_case(case: Path) -> tuple[str, float, str]:
    """(name, seconds, "" or the last line of what went wrong)."""
    out = RESULTS / case.name
    out.unlink(missing_ok=True)
    began = time.monotonic()
    command = [sys.executable, "-m", "memtwin", "run", str(case), "--out", str(out)]
    capture = {"capture_output": True, "text": True, "timeout": TIMEOUT_S}
    try:
        done = subprocess.run(command, check=False, **capture)
        lines = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()
        trouble = "" if done.returncode == 0 else lines[-1]
    except subprocess.TimeoutExpired:
        trouble = f"no result after {TIMEOUT_S} s"
    return case.stem, time.monotonic() - began, trouble


def percent(good: int, total: int) -> str:
    """A rate as people read it."""
    return f"{100 * good / total:.0f}" if total else "–"


def mean_rate(table: dict[str, tuple[int, int]]) -> float:
    """The score: the mean of the families' rates."""
    return sum(100 * good / total for good, total in table.values()) / max(len(table), 1)


def table_of(rows_of: dict[str, list], seconds: dict[str, float], score: ModuleType) -> str:
    """The Markdown table: a row a case, then all cases together."""
    head = ["case", "score", *(name.replace("_", " ") for name in FAMILIES), "s"]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    everything: list = []
    for name, rows in rows_of.items():
        rates = score.rates(rows)
        everything += rows
        cells = [percent(*rates.get(family, (0, 0))) for family in FAMILIES]
        taken = f"{seconds[name]:.1f}" if name in seconds else "–"
        row = [f"`{name}`", f"{mean_rate(rates):.1f}", *cells, taken]
        lines.append("| " + " | ".join(row) + " |")
    rates = score.rates(everything)
    cells = [percent(*rates.get(family, (0, 0))) for family in FAMILIES]
    lines.append("| " + " | ".join(["**all**", f"**{mean_rate(rates):.1f}**", *cells, ""]) + " |")
    return "\n".join(lines)


def write_table(text: str) -> None:
    """Put `text` between the markers of docs/FIDELITY.md, beside and renamed."""
    path = ROOT / "docs" / "FIDELITY.md"
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    beside = path.with_suffix(".md.part")
    beside.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
    os.replace(beside, path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--oracle", type=Path, default=ROOT.parent / "shared" / "oracle")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--no-write", action="store_true")
    parser.add_argument("--cells", action="store_true", help="print every cell that fails")
    options = parser.parse_args()
    score = load_score(options.oracle)
    truths = {path.name.split(".")[0]: path for path in (options.oracle / "truth").iterdir()}
    cases = [
        path
        for path in sorted((options.oracle / "cases").glob("*.json"))
        if not options.only or path.stem in options.only
    ]
    RESULTS.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
    failed: list[str] = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for name, taken, trouble in pool.map(run_case, cases):
            if trouble:
                failed.append(name)
                print(f"{name}: {trouble}", file=sys.stderr)
            else:
                seconds[name] = taken
    rows_of = {}
    for case in cases:
        truth = score.load(truths[case.stem])
        found = RESULTS / case.name
        result = score.load(found) if found.is_file() else {"checkpoints": []}
        rows = score.judge(truth, result)
        if not found.is_file():
            rows = [(*row[:-2], None, False) for row in rows]
        rows_of[case.stem] = rows
        if options.cells:
            for family, point, figure, mean, half, mine, holds in rows:
                if not holds:
                    real = f"{mean} +- {half}"
                    print(f"{case.stem} {family} {point} {figure} real {real} twin {mine}")
    text = table_of(rows_of, seconds, score)
    print(text)
    if not options.no_write and not options.only:
        write_table(
            "Rates in percent of the cells that count (what a machine at rest would get right "
            "does not); "
            "a further run of the real kernels scores 86.8. `s`: seconds the twin took. "
            f"{len(seconds)} of {len(cases)} cases have a result.\n\n" + text
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
