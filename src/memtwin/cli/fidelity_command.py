"""Owns the command `fidelity`: every oracle case on the twin, scored against what real kernels did.

Imports errors and output. The cases, the truth and the scorer are the oracle's, a directory beside
the project; each case runs in a process of its own, so that one that fails costs only itself.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from memtwin.cli.output import note, note_mode, progress, write_whole
from memtwin.errors import UserError

ORACLE_VARIABLE = "MEMTWIN_ORACLE"
ORACLE_BESIDE = Path("..", "shared", "oracle")
TABLE = Path("docs", "FIDELITY.md")
BEGIN, END = "<!-- oracle:begin -->", "<!-- oracle:end -->"
PATIENCE_S = 300
SCORE_LINE = re.compile(r"(\S+): score ([\d.]+) \| (.*)")


@dataclass(frozen=True)
class Outcome:
    """One case: how long the twin took, or why it has no result."""

    name: str
    seconds: float
    failure: str = ""


def find_oracle(given: Path | None) -> Path:
    """The oracle's directory: as given, from the environment, or beside the project."""
    oracle = given or Path(os.environ.get(ORACLE_VARIABLE, ORACLE_BESIDE))
    if not (oracle / "score.py").is_file() or not (oracle / "cases").is_dir():
        raise UserError(
            f"fidelity: found no oracle in {oracle}, allowed is a directory with cases, truth and"
            f" score.py (--oracle or {ORACLE_VARIABLE})"
        )
    return oracle


def fidelity(given: Path | None, keep: Path | None, table: Path | None) -> None:
    """The command `fidelity`."""
    oracle = find_oracle(given)
    page = table or (TABLE if TABLE.is_file() else None)
    note_mode()
    with ExitStack() as stack:
        if keep is None:
            results = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="memtwin-")))
        else:
            results = keep
            results.mkdir(parents=True, exist_ok=True)
        cases = sorted((oracle / "cases").glob("*.json"))
        outcomes = []
        with progress("cases") as step:
            for number, case in enumerate(cases):
                step(number, len(cases), case.stem)
                outcomes.append(run_case_apart(case, results / case.name))
        scores = score(oracle, results)
    text = to_table(outcomes, scores)
    print(text)
    if page is not None:
        write_whole(page, replaced(page.read_text(encoding="utf-8"), text, page))
        note(f"{page}: written")


def run_case_apart(case: Path, result: Path) -> Outcome:
    """Run one case in a process of its own; its last line on stderr is the reason of a failure."""
    result.unlink(missing_ok=True)
    words = [sys.executable, "-m", "memtwin.cli.main", "run", str(case), "--out", str(result)]
    start_s = time.monotonic()
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Outcome(case.stem, PATIENCE_S, f"took over {PATIENCE_S} s")
    seconds = time.monotonic() - start_s
    if done.returncode == 0:
        return Outcome(case.stem, seconds)
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return Outcome(case.stem, seconds, lines[-1].removeprefix("memtwin: "))


def score(oracle: Path, results: Path) -> dict[str, tuple[str, str]]:
    """name (and "ALL") -> (score, rates by family), as the oracle's scorer prints them."""
    words = [sys.executable, "score.py", "--all", "truth", str(results.absolute()), "--quiet"]
    done = subprocess.run(words, cwd=oracle, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise UserError(f"fidelity: the scorer failed: {' '.join(done.stderr.split())[-200:]}")
    found = {}
    for line in done.stdout.splitlines():
        match = SCORE_LINE.fullmatch(line.strip())
        if match:
            found[match.group(1)] = (match.group(2), match.group(3))
    return found


def to_table(outcomes: Sequence[Outcome], scores: dict[str, tuple[str, str]]) -> str:
    """Markdown: the score of all cases, then one row a case."""
    done = sum(not outcome.failure for outcome in outcomes)
    overall, families = scores.get("ALL", ("-", "no rates"))
    lines = [
        f"{done} of {len(outcomes)} cases have a result; all cases together score **{overall}**"
        " (a machine at rest 0, a further run of the real kernel 87; a missing result counts as"
        " failed).",
        "",
        f"By family: {families}",
        "",
        "| case | score | seconds | by family, or why there is no result |",
        "| --- | ---: | ---: | --- |",
    ]
    for outcome in outcomes:
        points, rates = scores.get(outcome.name, ("-", ""))
        said = outcome.failure.replace("|", "/") or rates
        lines.append(f"| `{outcome.name}` | {points} | {outcome.seconds:.1f} | {said} |")
    return "\n".join(lines)


def replaced(page: str, text: str, where: Path) -> str:
    """`page` with `text` between the two markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{where}: found no {BEGIN} and {END} to write between")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"
