"""Reports in systemd's journal: every form that journalctl prints, and journal files themselves."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from memtwin.cli.oom_explain_command import source
from memtwin.errors import UserError
from memtwin.observe.log_lines import log_lines
from memtwin.observe.oom.report import read_oom_log

LAB = Path(__file__).parents[2] / "data" / "oom" / "6.1-swap.txt"
REMOTE = "/lib/systemd/systemd-journal-remote"
FORMS = (
    "short", "short-full", "short-iso", "short-iso-precise", "short-precise", "short-monotonic",
    "short-unix", "short-delta", "with-unit", "verbose", "export", "json", "json-pretty",
    "json-sse", "cat",
)  # fmt: skip
BOOT, MACHINE = "0123456789abcdef" * 2, "fedcba9876543210" * 2


def kernel_lines() -> list[tuple[str, int, str]]:
    """(priority, microseconds since boot, message) of the recorded log."""
    found = [re.match(r"<(\d)>\[ *([\d.]+)\] (.*)", line) for line in LAB.read_text().splitlines()]
    return [(one[1], int(float(one[2]) * 1e6), one[3]) for one in found if one]


def export_text(binary_every: int) -> bytes:
    """The log as journalctl -o export has it; each so many messages as a binary field."""
    parts = []
    for number, (priority, since_us, message) in enumerate(kernel_lines()):
        head = (
            f"__CURSOR=s={BOOT};i={number + 1:x};b={BOOT}\n"
            f"__REALTIME_TIMESTAMP={1_700_000_000_000_000 + since_us}\n"
            f"__MONOTONIC_TIMESTAMP={since_us}\n_BOOT_ID={BOOT}\n_MACHINE_ID={MACHINE}\n"
            f"_TRANSPORT=kernel\nPRIORITY={priority}\nSYSLOG_IDENTIFIER=kernel\n_HOSTNAME=box\n"
            f"_SOURCE_MONOTONIC_TIMESTAMP={since_us}\n"
        ).encode()
        raw = message.encode()
        plain = b"MESSAGE=" + raw + b"\n"
        binary = b"MESSAGE\n" + len(raw).to_bytes(8, "little") + raw + b"\n"
        parts.append(head + (plain if number % binary_every else binary) + b"\n")
    return b"".join(parts)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal file with the log, made by systemd's own program."""
    if not Path(REMOTE).exists() or shutil.which("journalctl") is None:
        pytest.skip("needs systemd-journal-remote and journalctl")
    folder = tmp_path_factory.mktemp("journal")
    (folder / "export").write_bytes(export_text(3))
    made = folder / "box.journal"
    words = [REMOTE, f"--output={made}", str(folder / "export")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert made.exists(), done.stderr
    return made


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_journalctl_is_read_line_by_line(journal: Path, form: str) -> None:
    words = ["journalctl", "--file", str(journal), "-o", form, "--no-pager", "_TRANSPORT=kernel"]
    text = subprocess.run(words, capture_output=True, check=True).stdout.decode(errors="replace")
    said = [line.text for line in log_lines(text)]
    wanted = [line.text for line in log_lines(LAB.read_text())]
    assert said == wanted


def test_a_journal_file_is_explained_as_it_lies(journal: Path) -> None:
    log = source(str(journal), dmesg=False, journal=False)
    (report,) = read_oom_log(log.text).reports
    assert report.stamp == "2023-11-14 22:13:26 UTC"
    assert [kill.pid for kill in report.kills] == [79]
    assert not report.missing


def test_a_torn_journal_file_is_one_clear_line(tmp_path: Path) -> None:
    if shutil.which("journalctl") is None:
        pytest.skip("needs journalctl")
    torn = tmp_path / "torn.journal"
    torn.write_bytes(b"LPKSHHRH" + bytes(100))
    with pytest.raises(UserError, match=r"torn\.journal: journalctl failed: \S") as caught:
        source(str(torn), dmesg=False, journal=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("binary_every", [1, 2, 1000])
def test_an_export_is_read_whichever_of_its_messages_are_binary(binary_every: int) -> None:
    text = export_text(binary_every).decode(errors="replace")
    assert [line.text for line in log_lines(text)] == [line[2] for line in kernel_lines()]
    (report,) = read_oom_log(text).reports
    assert not report.missing
    assert len(report.tasks) == 3


def test_the_hosts_journal_is_asked_for_the_kernels_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "entries.json"
    text.write_text(
        "".join(
            f'{{"MESSAGE": {message!r}, "_TRANSPORT": "kernel"}}\n'.replace("'", '"')
            for message in ("a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, x",
                            "Out of memory: Killed process 7 (a) total-vm:1kB, anon-rss:1kB")
        )
    )  # fmt: skip
    stub = tmp_path / "journalctl"
    stub.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat {text}\n')
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    log = source(None, dmesg=False, journal=True)
    assert [one.kills[0].pid for one in read_oom_log(log.text).reports] == [7]
    assert (tmp_path / "asked").read_text().split() == ["-o", "json", "--no-pager", "-k"]
