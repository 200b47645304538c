"""Every system-wide view on recorded, empty, hostile and captured trees."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.observe.recordings import every_tree, system_texts, written

from memtwin.cli.main import outcome

TREES = every_tree()
VIEWS = (
    "free", "free --old", "vmstat", "vmstat --reclaim", "vmstat -s", "vmstat -d", "vmstat -m",
    "slabtop -o", "meminfo", "buddyinfo", "zoneinfo", "vmallocinfo", "vmallocinfo --by kind",
    "cgroups", "zram", "dirty", "pressure", "pressure --cgroups",
)  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The recordings, written out as captured trees."""
    more = {"/sys/fs/cgroup/cgroup.controllers": "memory\n"}
    return {
        name: written(tmp_path_factory.mktemp("tree"), {**more, **texts})
        for name, texts in TREES.items()
    }


def shown(words: str, root: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """The JSON that a view prints."""
    assert outcome([*words.split(), "--json", "--root", str(root)]) == 0, capsys.readouterr().err
    document: dict[str, object] = json.loads(capsys.readouterr().out)
    return document


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_shows_every_recorded_kernel_in_every_form(
    view: str, folders: Mapping[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, root in folders.items():
        if "vmallocinfo" in view and "/proc/vmallocinfo" not in TREES[name]:
            continue
        document = shown(view, root, capsys)
        assert document["root"] == str(root)
        for form in ([], ["--csv"]):
            assert outcome([*view.split(), *form, "--root", str(root)]) == 0
            assert capsys.readouterr().out or view == "zram"


@pytest.mark.parametrize("view", VIEWS)
def test_an_empty_tree_gives_one_line_or_says_what_is_absent(
    view: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = outcome([*view.split(), "--root", str(tmp_path)])
    said = capsys.readouterr()
    if status:
        assert status == 2
        assert said.err.startswith("memtwin: ")
        assert said.err.count("\n") == 1
    else:
        assert "absent: " in said.out or "no zram device" in said.out


@pytest.mark.parametrize("seed", range(4))
def test_a_hostile_tree_never_makes_a_view_fail_otherwise(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(seed)
    hostile = {}
    for path, text in sorted({**TREES["start 6.12"], **system_texts("7.3")}.items()):
        lines = text.splitlines(keepends=True)
        for _ in range(rng.randrange(3)):
            wound = rng.choice(
                ["\x00\x1b[2J\n", "-5\n", "9" * 5000 + "\n", "\udcff \udcfe\n", "Node 0, zone\n"]
            )
            lines.insert(rng.randrange(len(lines) + 1), wound)
        hostile[path] = rng.choice(["", "".join(lines), "".join(lines), "".join(lines)])
    root = written(tmp_path, hostile)
    (root / "sys/fs/cgroup/cgroup.controllers").touch()
    group = os.fsencode(root / "sys/fs/cgroup") + b"/\xff\x1b[31m"
    os.mkdir(group)
    (root / "proc/meminfo.link").symlink_to("/etc/passwd")
    (root / "sys/block/zram1").symlink_to("/proc")
    os.mkfifo(root / "sys/fs/cgroup/memory.peak")
    for view in VIEWS:
        for form in ([], ["--json"], ["--csv"]):
            status = outcome([*view.split(), *form, "--root", str(root)])
            said = capsys.readouterr()
            assert status in (0, 2), view
            assert "\x1b" not in said.out + said.err, view
            assert said.err.count("\n") <= 1, said.err


def test_one_broken_line_is_a_note_and_the_rest_is_shown(
    folders: Mapping[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = dict(TREES["system 7.3"])
    texts["/proc/meminfo"] = texts["/proc/meminfo"].replace("Dirty:", "Dirty: 5 MB\nDirty2:")
    document = shown("meminfo", written(tmp_path, texts), capsys)
    whole = shown("meminfo", folders["system 7.3"], capsys)
    assert isinstance(document["rows"], list)
    assert isinstance(whole["rows"], list)
    assert len(document["rows"]) == len(whole["rows"])
    (absent,) = document["absent"]  # type: ignore[misc]
    assert absent["what"] == "1 malformed line of /proc/meminfo"


@pytest.mark.parametrize(
    ("name", "line"), [("stat", "cpu"), ("meminfo", "MemFree"), ("vmstat", "pgpgin")]
)
def test_vmstat_prints_no_zeros_for_a_text_without_its_figures(
    name: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = written(tmp_path, {**system_texts("7.3"), f"/proc/{name}": "garbage\x01\n"})
    assert outcome(["vmstat", "--root", str(root)]) == 2
    printed = capsys.readouterr()
    assert f"/proc/{name}: found no line {line}, which vmstat is made of" in printed.err
    assert printed.out == ""


def test_free_says_the_same_in_bytes_as_in_text_and_names_its_definition(
    folders: Mapping[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root = folders["system 7.3"]
    new = shown("free", root, capsys)
    old = shown("free --used procps-3", root, capsys)
    mem, mem_old = new["rows"][0], old["rows"][0]  # type: ignore[index]
    assert mem["used_bytes"] == mem["total_bytes"] - mem["available_bytes"]
    assert mem_old["used_bytes"] == (
        mem_old["total_bytes"] - mem_old["free_bytes"]
        - mem_old["buffers_bytes"] - mem_old["cache_bytes"]
    )  # fmt: skip
    assert (new["totals"], old["totals"]) == ({"used_as": "procps-4"}, {"used_as": "procps-3"})


def test_the_old_layout_keeps_its_identities(
    folders: Mapping[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for root in folders.values():
        mem, without, _ = shown("free --old", root, capsys)["rows"]  # type: ignore[misc]
        cache = mem["buffers_bytes"] + mem["cache_bytes"]
        assert mem["total_bytes"] == mem["used_bytes"] + mem["free_bytes"]
        assert without["used_bytes"] == mem["used_bytes"] - cache
        assert without["free_bytes"] == mem["free_bytes"] + cache
        assert without["used_bytes"] + without["free_bytes"] == mem["total_bytes"]


def test_a_kernel_without_memavailable_has_no_available_but_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = written(tmp_path, {"/proc/meminfo": "MemTotal: 100 kB\nMemFree: 40 kB\n"})
    document = shown("free", root, capsys)
    assert document["rows"][0]["available_bytes"] is None  # type: ignore[index]
    assert document["absent"][0]["what"] == "available"  # type: ignore[index]


def test_slab_caches_sort_as_asked_and_a_wrong_letter_is_refused(
    folders: Mapping[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = shown("slabtop -s c", folders["start 6.12"], capsys)["rows"]
    sizes = [row["cache_size_bytes"] for row in rows]  # type: ignore[attr-defined]
    assert sizes == sorted(sizes, reverse=True)
    assert outcome(["slabtop", "-s", "z", "--root", str(folders["start 6.12"])]) == 2
    assert "allowed is one letter" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    ["free --used procps-9", "vmstat -S q", "vmstat -m -d", "cgroups -s size", "free -b -k",
     "vmallocinfo --by size", "free --root /no/such/tree", "meminfo --explain Nothing",
     "vmstat -p sdz", "free -c 0", "capture --processes", "zram --json --csv"],
)  # fmt: skip
def test_a_word_that_makes_no_sense_is_one_line(
    words: str, folders: Mapping[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root = [] if "--root" in words else ["--root", str(folders["system 7.3"])]
    assert outcome([*words.split(), *root]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "found" in said
