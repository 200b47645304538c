"""A tree is read as it stands and never beyond it: links, FIFOs, devices, names, sizes, churn."""

from __future__ import annotations

import errno
import io
import os
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pytest

from memtwin.errors import UserError
from memtwin.observe import archive, beneath
from memtwin.observe.source import TreeSource, printable

SECRET = "secret\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with every kind of link, beside a file that lies outside of it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text(SECRET)
    root = tmp_path / "tree"
    (root / "proc" / "1").mkdir(parents=True)
    (root / "proc" / "1" / "comm").write_text("init\n")
    (root / "proc" / "self").symlink_to("1")
    (root / "proc" / "up").symlink_to("../proc/1/comm")
    (root / "proc" / "absolute").symlink_to(tmp_path / "outside" / "file")
    (root / "proc" / "relative").symlink_to("../../outside/file")
    (root / "proc" / "directory").symlink_to("../../outside")
    (root / "proc" / "loop").symlink_to("loop")
    (root / "proc" / "chain").symlink_to("self/../directory/file")
    return root


OUTWARD = ("absolute", "relative", "directory/file", "chain", "../../outside/file")


def test_links_that_stay_in_the_tree_are_followed(tree: Path) -> None:
    source = TreeSource(tree)
    assert source.read("/proc/self/comm") == "init\n"
    assert source.read("/proc/up") == "init\n"
    assert source.read("/proc/1/../1/comm") == "init\n"


@pytest.mark.parametrize("name", OUTWARD)
def test_nothing_outside_the_tree_is_ever_read(tree: Path, name: str) -> None:
    source = TreeSource(tree)
    assert (tree / "proc" / name).read_text() == SECRET  # a plain reader would have it
    assert source.read(f"/proc/{name}") is None
    assert source.counts == {"a link out of the tree": 1}
    assert source.why_not(f"/proc/{name}").endswith("a link that leads out of the tree")
    assert source.names("/proc/directory") == []
    assert source.glob("/proc/directory/*") == []


def test_a_loop_of_links_is_a_reason_and_no_loop(tree: Path) -> None:
    source = TreeSource(tree)
    assert source.read("/proc/loop") is None
    assert source.counts == {"a loop of links": 1}


@pytest.mark.parametrize("name", [*OUTWARD, "loop", "missing", "1/comm/x"])
def test_the_walk_without_openat2_refuses_what_openat2_refuses(tree: Path, name: str) -> None:
    root = os.open(tree, os.O_PATH)
    try:
        codes = []
        for way in (beneath.locate, beneath.walk):
            with pytest.raises(OSError) as fault:
                way(root, f"proc/{name}")
            codes.append(fault.value.errno)
        assert codes[0] == codes[1]
        for inward in ("proc/self/comm", "proc/up", "proc/1/../1/comm", "proc", "."):
            places = [beneath.locate(root, inward), beneath.walk(root, inward)]
            assert os.path.sameopenfile(*places)
            for place in places:
                os.close(place)
    finally:
        os.close(root)


def test_the_walk_takes_over_where_openat2_is_missing(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(root: int, path: str) -> int:
        raise OSError(errno.ENOSYS, "no such call")

    monkeypatch.setattr(beneath, "_openat2", missing)
    source = TreeSource(tree)
    assert source.read("/proc/self/comm") == "init\n"
    assert source.read("/proc/relative") is None
    assert source.counts == {"a link out of the tree": 1}


def test_what_is_no_regular_file_is_never_opened_and_never_blocks(tree: Path) -> None:
    os.mkfifo(tree / "proc" / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(tree / "proc")  # a socket's path is short
        listener.bind("socket")
        os.chdir(here)
    names = ["fifo", "socket", "1"]
    if os.geteuid() == 0:
        os.mknod(tree / "proc" / "device", 0o20666, os.makedev(1, 5))  # /dev/zero: endless
        names.append("device")
    source = TreeSource(tree)
    assert [source.read(f"/proc/{name}") for name in names] == [None] * len(names)
    assert source.counts == {"not a file": len(names)}
    assert source.reasons["/proc/fifo"] == "a FIFO, not a file"


def test_a_text_that_is_too_long_ends_with_a_whole_line_and_says_so(tree: Path) -> None:
    (tree / "proc" / "long").write_bytes(b"line of ten\n" * 100)
    with (tree / "proc" / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    source = TreeSource(tree)
    assert source.read_bytes("/proc/long", 30) == b"line of ten\n" * 2
    assert source.reasons["/proc/long"] == "cut at 30 bytes"
    assert source.read_bytes("/proc/long", 1200) == b"line of ten\n" * 100
    assert source.read_bytes("/proc/sparse", 1 << 20) == b""
    assert source.counts == {"too long": 2}


def test_names_that_are_not_utf_8_open_and_print(tree: Path) -> None:
    name = b"caf\xe9\n\x1b[31m"
    (Path(os.fsdecode(os.fsencode(tree) + b"/proc/" + name))).write_bytes(b"\xff\xfe text\n")
    source = TreeSource(tree)
    (found,) = [one for one in source.names("/proc") if one.startswith("caf")]
    assert os.fsencode(found) == name
    text = source.read(f"/proc/{found}")
    assert text is not None
    assert text.encode(errors="surrogateescape") == b"\xff\xfe text\n"
    assert printable(found) == r"caf\xe9\x0a\x1b[31m"
    assert printable(text) == r"\xff\xfe text\x0a"


def test_a_path_that_cannot_be_one_is_a_reason(tree: Path) -> None:
    for source in (TreeSource(tree), TreeSource("/")):
        assert source.read("/proc/a\0b") is None
        assert source.read("/proc/\ud800") is None
        assert source.read("/proc/" + "x" * 5000) is None
        assert sum(source.counts.values()) == 3
    assert TreeSource(tree / "missing").read("/proc/meminfo") is None


def test_a_process_that_ended_is_gone_whether_at_open_or_at_read() -> None:
    source = TreeSource("/")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    path = f"/proc/{child.pid}/status"
    held = source.open(path)
    child.communicate()
    with pytest.raises(ProcessLookupError) as fault:
        os.read(held, 100)
    os.close(held)
    source.failed(path, fault.value)
    assert source.read(path) is None
    assert source.counts == {"gone": 2}


def test_reasons_do_not_grow_without_end(tree: Path) -> None:
    source = TreeSource(tree)
    for number in range(5000):
        source.read(f"/proc/{number + 2}/stat")
    assert source.counts == {"gone": 5000}
    assert len(source.reasons) == 4096
    assert "/proc/5001/stat" in source.reasons


def test_a_link_is_read_and_not_followed(tree: Path) -> None:
    source = TreeSource(tree)
    assert source.link("/proc/relative") == "../../outside/file"
    assert source.link("/proc/1/comm") is None
    assert TreeSource("/").link("/proc/self/exe") == os.path.realpath("/proc/self/exe")


@pytest.mark.parametrize("find", [beneath.locate, beneath.walk])
def test_as_many_links_are_followed_as_the_kernel_follows(
    find: Callable[[int, str], int], tmp_path: Path
) -> None:
    (tmp_path / "link0").write_text("end\n")
    for number in range(1, 42):
        (tmp_path / f"link{number}").symlink_to(f"link{number - 1}")
    root = os.open(tmp_path, os.O_PATH)
    try:
        os.close(find(root, "link40"))
        with pytest.raises(OSError, match="levels of symbolic links"):
            find(root, "link41")
    finally:
        os.close(root)


def archive_of(members: dict[str, bytes], path: Path) -> Path:
    with (
        pa.OSFile(str(path), "wb") as file,
        pa.CompressedOutputStream(file, "zstd") as packed,
        tarfile.open(fileobj=packed, mode="w|") as tar,
    ):
        for name, text in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
    return path


def test_of_an_archive_names_that_climb_and_texts_beyond_measure_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = {"proc/version": b"7 bytes", "proc/../up": b"x", "proc/large": b"8 bytes."}
    monkeypatch.setattr(archive, "MOST_BYTES", 7)
    found = archive.open_archive(archive_of(members, tmp_path / "a.tar.zst"))
    assert found.texts == {"/proc/version": "7 bytes"}


def test_an_archive_that_unpacks_beyond_measure_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive_of({f"proc/{n}": b"1234567890" for n in range(5)}, tmp_path / "a.tar.zst")
    monkeypatch.setattr(archive, "MOST_ARCHIVE_BYTES", 40)
    assert len(archive.open_archive(path).texts) == 5  # the first four reach the measure
    monkeypatch.setattr(archive, "MOST_ARCHIVE_BYTES", 39)
    with pytest.raises(UserError, match="more than memtwin reads"):
        archive.open_archive(path)
    monkeypatch.setattr(archive, "MOST_ARCHIVE_BYTES", 1 << 30)
    monkeypatch.setattr(archive, "MOST_MEMBERS", 4)
    with pytest.raises(UserError, match="more than memtwin reads"):
        archive.open_archive(path)
