"""The same sources interpreted and compiled, compared event for event."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.machine.scenarios import SCENARIOS

from memtwin.extensions import any_built

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "tests" / "machine" / "scenarios.py"


def run(name: str, interpreted: str) -> list[dict[str, Any]]:
    environment = dict(os.environ, PYTHONPATH=f"{ROOT / 'src'}", MEMTWIN_INTERPRETED=interpreted)
    done = subprocess.run(
        [sys.executable, str(PROGRAM), name],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(not any_built(), reason="nothing is built: there is one mode only")
@pytest.mark.parametrize("name", SCENARIOS)
def test_after_every_command_both_modes_are_in_the_same_state(name: str) -> None:
    interpreted, compiled = run(name, "1"), run(name, "")
    assert [interpreted[0]["compiled"], compiled[0]["compiled"]] == [False, True]
    for one, other in zip(interpreted[1:], compiled[1:], strict=True):
        rooms = one["digests"].keys() | other["digests"].keys()
        differ = [
            room for room in sorted(rooms) if one["digests"].get(room) != other["digests"].get(room)
        ]
        assert not differ, f"{one['command']}: {', '.join(differ)} differ"
