"""One look at all processes: live, hostile, churning; what is missing is counted, nothing fails."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.observe.starts import all_texts

from memtwin.errors import UserError
from memtwin.observe.map_files import parse_maps, parse_numa_maps
from memtwin.observe.processes.record import (
    Origin,
    path_of_cgroup,
    process_of_statm,
    process_of_status,
    status_words,
    uid_of_status,
)
from memtwin.observe.processes.scan import MALFORMED, Part, ProcessScan, look
from memtwin.observe.processes.text import figures_of_smaps, process_of_stat
from memtwin.observe.source import TextSource, TreeSource
from memtwin.observe.texts import shape_of

ALL_PARTS = Part.USER | Part.COMMAND | Part.CGROUP | Part.OOM | Part.STAT
ROLLUP = (
    "00400000-7ffff000 ---p 00000000 00:00 0      [rollup]\n"
    "Rss:                 100 kB\nPss:                  60 kB\nPss_New_One:           5 kB\n"
    "Private_Clean:        10 kB\nPrivate_Dirty:        20 kB\nSwap:          3 kB\n"
    "SwapPss:               2 kB\n"
)
SMAPS = (
    "00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/a b\n"
    "Size:                328 kB\nRss:                  60 kB\nPss:                  40 kB\n"
    "Private_Clean:         4 kB\nPrivate_Dirty:         8 kB\nTHPeligible:    1\n"
    "ProtectionKey:         0\nVmFlags: rd ex mr mw me\n"
    "7f00000000-7f00001000 rw-p 00000000 00:00 0\n"
    "Rss:                  40 kB\nPss:                  20 kB\n"
    "Private_Clean:         6 kB\nPrivate_Dirty:        12 kB\nSwap:                3 kB\n"
    "SwapPss:               2 kB\n"
)
STAT = "7 (a) b) S 1 7 7 0 -1 4194304 5 0 6 0 1 2 0 0 20 0 3 0 99 8192000 25 " + "0 " * 28 + "\n"
STATUS = (
    "Name:\ta\nState:\tS (sleeping)\nPid:\t7\nPPid:\t1\nUid:\t0\t33\t0\t0\nThreads:\t3\n"
    "VmSize:\t    8000 kB\nVmRSS:\t     100 kB\nVmSwap:\t       3 kB\n"
)


def tree_of(root: Path, texts: dict[str, str | bytes]) -> Path:
    """Files below `root`, by path."""
    for path, text in texts.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def seven(**changed: str | bytes) -> dict[str, str | bytes]:
    """The files of process 7, some changed."""
    files: dict[str, str | bytes] = {
        "stat": STAT,
        "status": STATUS,
        "smaps_rollup": ROLLUP,
        "cmdline": b"a\0-v\xff\0",
        "cgroup": "0::/x:y\n",
        "oom_score": "5\n",
        "oom_score_adj": "-7\n",
    }
    return {f"proc/7/{name}": text for name, text in {**files, **changed}.items()}


def test_a_captured_process_has_every_figure_and_its_own_names(tmp_path: Path) -> None:
    root = tree_of(tmp_path, {**seven(), "etc/passwd": "www-data:x:33:33::/:/bin/sh\n"})
    (process,) = look(ProcessScan(TreeSource(root), ALL_PARTS))
    assert (process.pid, process.ppid, process.comm, process.state) == (7, 1, "a) b", "S")
    assert (process.uid, process.user) == (33, "www-data")
    assert process.command == "a -v\udcff"
    assert (process.cgroup, process.oom_score, process.oom_score_adj) == ("/x:y", 5, -7)
    assert (process.threads, process.start_ticks, process.min_flt, process.maj_flt) == (3, 99, 5, 6)
    sizes = process.vss_bytes, process.rss_bytes, process.pss_bytes, process.uss_bytes
    assert sizes == (8_192_000, 100 << 10, 60 << 10, 30 << 10)
    assert (process.swap_bytes, process.swap_pss_bytes) == (3 << 10, 2 << 10)
    assert process.hugetlb_bytes is None  # this kernel has no such line
    assert process.origin is Origin.FRESH


def test_a_kernel_without_rollup_is_summed_from_its_smaps(tmp_path: Path) -> None:
    texts = seven(smaps=SMAPS)
    del texts["proc/7/smaps_rollup"]
    (process,) = look(ProcessScan(TreeSource(tree_of(tmp_path, texts)), ALL_PARTS))
    assert (process.rss_bytes, process.pss_bytes) == (100 << 10, 60 << 10)
    assert (process.uss_bytes, process.swap_bytes) == (30 << 10, 3 << 10)


def test_a_text_source_is_looked_at_like_a_tree() -> None:
    texts = {f"/{path}": text for path, text in seven().items() if isinstance(text, str)}
    (process,) = look(ProcessScan(TextSource(texts), Part.USER))
    assert (process.pss_bytes, process.user) == (60 << 10, "33")


@pytest.mark.parametrize(
    "rollup",
    [
        b"\xff\xfe garbage",
        ROLLUP.replace("Pss:                  60 kB", "Pss:                  sixty kB"),
        ROLLUP.replace("Pss:                  60 kB", "Pss:                  -60 kB"),
        ROLLUP.replace("60 kB", "9" * 30 + " kB"),
        ROLLUP.replace("Rss:                 100 kB\n", ""),
        ROLLUP.replace("60 kB", "60 MB"),
    ],
    ids=["garbage", "words", "negative", "huge", "no Rss", "other unit"],
)
def test_a_malformed_rollup_is_counted_and_status_still_tells(
    tmp_path: Path, rollup: str | bytes
) -> None:
    scan = ProcessScan(TreeSource(tree_of(tmp_path, seven(smaps_rollup=rollup))), ALL_PARTS)
    (process,) = look(scan)
    assert (process.pss_bytes, process.why, scan.counts) == (None, MALFORMED, {MALFORMED: 1})
    assert (process.rss_bytes, process.swap_bytes) == (100 << 10, 3 << 10)


@pytest.mark.parametrize("stat", ["", "7 (a", "7 (a) S", STAT.replace("8192000", "-1"), "8" + STAT])
def test_without_a_good_stat_status_alone_tells_of_the_process(tmp_path: Path, stat: str) -> None:
    scan = ProcessScan(TreeSource(tree_of(tmp_path, seven(stat=stat))), ALL_PARTS)
    found = look(scan)
    if stat.startswith("87"):  # it tells of another process than its directory's
        assert (found, scan.counts) == ([], {MALFORMED: 1})
    else:
        assert [(one.pid, one.comm, one.start_ticks) for one in found] == [(7, "a", None)]
        assert found[0].rss_bytes == 100 << 10


def test_names_that_are_no_process_are_passed_over(tmp_path: Path) -> None:
    texts = {**seven(), "proc/٧/stat": STAT, "proc/07x/stat": STAT, "proc/meminfo": "x\n"}
    assert [one.pid for one in look(ProcessScan(TreeSource(tree_of(tmp_path, texts))))] == [7]


def test_a_kernel_thread_and_a_zombie_have_no_memory() -> None:
    thread = STAT.replace(" 4194304 ", " 2097152 ")
    zombie = STAT.replace(") S ", ") Z ").replace("8192000 25", "0 0")
    for text in (thread, zombie):
        process = process_of_stat(text.encode(), 4096)
        assert (process.origin, process.vss_bytes, process.rss_bytes) == (Origin.NO_MEMORY, 0, None)
    assert process_of_statm(7, b"0 0 0 0 0 0 0\n", 4096).origin is Origin.NO_MEMORY


def test_mappings_keep_their_path_flags_and_unknown_lines() -> None:
    found = parse_maps(SMAPS + "VmFlags: zz\nnonsense\n00-zz r-xp 0 0 0\nRss: 5 kB\n")
    first, second = found.areas
    assert (first.path, first.size_kib, first.vm_flags[:2]) == ("/usr/bin/a b", 328, ("rd", "ex"))
    assert (first.kib["Rss"], first.words["ProtectionKey"]) == (60, "0")
    assert (second.path, second.sum_kib("Private_Clean", "Private_Dirty")) == ("", 18)
    assert second.sum_kib("Locked") is None
    assert found.malformed == 3  # the nonsense, the address, and the figure that belongs to it


READERS = {
    "stat": lambda data: process_of_stat(data, 4096),
    "statm": lambda data: process_of_statm(7, data, 4096),
    "smaps_rollup": figures_of_smaps,
    "status": lambda data: (process_of_status(status_words(data)), uid_of_status({b"Uid": data})),
    "cgroup": path_of_cgroup,
}
SEEDS = {
    "stat": STAT, "statm": "2000 25 10 5 0 7 0\n", "smaps_rollup": ROLLUP, "status": STATUS,
    "cgroup": "3:memory:/a\n0::/b\n",
}  # fmt: skip


def mutated(data: bytes, seed: int) -> bytes:
    """`data` with a few bytes changed, left out, doubled, or cut, as `seed` says."""
    chance, out = random.Random(seed), bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(out) + 1)
        kind = chance.randrange(5)
        if kind == 0 and at < len(out):
            out[at] = chance.randrange(256)
        elif kind == 1:
            del out[at : at + chance.randrange(1, 20)]
        elif kind == 2:
            out[at:at] = out[at : at + 30]
        elif kind == 3:
            out[at:at] = chance.choice(
                [b"\0", b"\n", b"9" * 40, b"-", b" kB\n", b":", b")", b"\xff"]
            )
        else:
            del out[at:]
    return bytes(out)


@pytest.mark.parametrize("name", READERS)
def test_a_mutated_text_reads_or_is_malformed_and_nothing_else(name: str) -> None:
    read = refused = 0
    for seed in range(1500):
        try:
            READERS[name](mutated(SEEDS[name].encode(), seed))
        except (ValueError, IndexError, KeyError):
            refused += 1
        else:
            read += 1
    assert min(read, refused) > 0  # the mutations reach both


@given(data=st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_bytes_at_all_read_or_are_malformed(data: bytes) -> None:
    for reader in READERS.values():
        try:
            reader(data)
        except (ValueError, IndexError, KeyError):
            continue
    text = data.decode(errors="surrogateescape")
    assert parse_maps(text).malformed + len(parse_maps(text).areas) <= text.count("\n") + 1
    assert len(parse_numa_maps(text)[0]) <= text.count("\n") + 1


def test_mutated_records_of_recorded_kernels_end_as_a_user_s_mistake_at_most() -> None:
    names = {"status", "stat", "statm", "io", "smaps_rollup", "oom_score"}
    texts = [(path, text) for _, path, text in all_texts() if path.rpartition("/")[2] in names]
    assert texts
    refused = 0
    for number, (path, text) in enumerate(texts[:60]):
        shape = shape_of(path)
        assert shape is not None
        for seed in range(20):
            data = mutated(text.encode(), number * 100 + seed)
            try:
                shape.parse(data.decode(errors="surrogateescape"))
            except UserError:
                refused += 1
    assert refused


@pytest.mark.parametrize("name", ["stat", "smaps_rollup", "status"])
def test_the_quick_readers_agree_with_the_whole_records_of_recorded_kernels(name: str) -> None:
    compared = 0
    for _, path, text in all_texts():
        if path.rpartition("/")[2] != name or not path.startswith("/proc/") or path.count("/") != 3:
            continue
        shape = shape_of(path)
        assert shape is not None
        whole = shape.parse(text)
        if name == "stat":
            quick = process_of_stat(text.encode(), 4096)
            assert (quick.pid, quick.comm, quick.min_flt) == (whole.pid, whole.comm, whole.min_flt)
            assert quick.vss_bytes in (0, whole.vsize_bytes)
        elif name == "smaps_rollup" and whole is not None:
            figures = figures_of_smaps(text.encode())
            assert figures is not None
            assert (figures.rss_bytes, figures.pss_bytes) == (
                whole.rss_kib << 10,
                whole.pss_kib << 10,
            )
            uss_kib = whole.private_clean_kib + whole.private_dirty_kib
            assert figures.uss_bytes == uss_kib << 10
        elif name == "status":
            quick = process_of_status(status_words(text.encode()))
            assert (quick.pid, quick.comm) == (whole.pid, whole.name)
        compared += 1
    assert compared


def test_processes_born_and_killed_while_we_look_give_no_error() -> None:
    seconds = float(os.environ.get("MEMTWIN_CHURN_S", "2"))
    churn = subprocess.Popen(
        [sys.executable, "-c", CHURN, str(seconds)], stdout=subprocess.PIPE, text=True
    )
    scan = ProcessScan(TreeSource("/"), ALL_PARTS)
    looks = 0
    while churn.poll() is None:
        found = look(scan)
        assert os.getpid() in [process.pid for process in found]
        assert all(one.why != "gone" for one in found)
        looks += 1
    assert churn.stdout is not None
    born = int(churn.stdout.read())
    assert looks > 2
    assert born > 20
    assert MALFORMED not in scan.counts


CHURN = """
import os, random, signal, sys, time
chance, end, alive, born = random.Random(7), time.monotonic() + float(sys.argv[1]), [], 0
while time.monotonic() < end:
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    born += 1
    alive.append(pid)
    while len(alive) > 30:
        pid = alive.pop(chance.randrange(len(alive)))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
for pid in alive:
    os.kill(pid, signal.SIGKILL)
print(born)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_normal_user_sees_all_that_may_be_seen_and_why_the_rest_is_missing() -> None:
    child = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(os.getpid())],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    own, mine, counts = child.stdout.splitlines()
    assert own == "fresh True True"
    assert mine == "absent not permitted True True"
    assert "not permitted" in counts


AS_NOBODY = """
import ctypes, os, sys
from memtwin.observe.processes.scan import Part, ProcessScan, look
from memtwin.observe.source import TreeSource
os.setgroups([]); os.setgid(65534); os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # dumpable again, as after an exec
scan = ProcessScan(TreeSource("/"), Part.STAT | Part.USER)
found = {one.pid: one for one in look(scan)}
own, other = found[os.getpid()], found[int(sys.argv[1])]
print(own.origin.value, own.pss_bytes > 0, own.user == "nobody")
print(other.origin.value, other.why, other.rss_bytes > 0, other.swap_bytes is not None)
print(dict(scan.counts))
"""


def test_a_stopped_process_is_read_the_same_again_and_again() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        os.kill(child.pid, signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        scan = ProcessScan(TreeSource("/"), Part.STAT)
        first, second = (next(p for p in look(scan) if p.pid == child.pid) for _ in range(2))
        assert first.state == "T"
        assert first.rss_bytes == second.rss_bytes
        assert first.uss_bytes == second.uss_bytes
    finally:
        child.kill()
        child.communicate()


def test_a_look_for_the_usual_columns_opens_three_files_of_a_process_and_no_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scan = ProcessScan(TreeSource("/"), Part.USER | Part.COMMAND)
    opened: list[str] = []
    real = os.open

    def counted(path: str, flags: int, *more: int, dir_fd: int | None = None) -> int:
        opened.append(path)
        return real(path, flags, *more, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", counted)
    process = scan.cheap(os.getpid())
    assert process is not None
    assert scan.costly(process)
    assert process.pss_bytes
    pid = os.getpid()
    assert opened == [f"{pid}/statm", f"{pid}/cmdline", f"{pid}/smaps_rollup"]
