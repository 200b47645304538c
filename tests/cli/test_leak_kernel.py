"""The notes' way to a leak of the kernel, on the twin: slabtop, growth, then kmemleak."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from memtwin.cli.main import outcome
from memtwin.observe.slabinfo import parse_slabinfo

SCRIPT = """\
insmod leaky
start modprobe
@modprobe kmem_cache_create leaky_packet 200
@modprobe vmalloc leaky.ring 1M
checkpoint loaded
start ping
repeat 300
@ping kmem_cache_alloc leaky.packet leaky_packet
@ping kwrite leaky.packet[16] lost packet
@ping vmalloc leaky.area 8K
sleep 100
end
checkpoint later
echo scan /sys/kernel/debug/kmemleak
sleep 6000
echo scan /sys/kernel/debug/kmemleak
"""
# mm/kmemleak.c print_unreferenced(): v6.1, and v6.12 with its checksum
ONE_LEAK = """\
unreferenced object 0x([0-9a-f]{16}) \\(size 200\\):
  comm "ping", pid 2, jiffies 429489\\d{4}
  hex dump \\(first 32 bytes\\):
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  \\.{16}
    6c 6f 73 74 20 70 61 63 6b 65 74 00 00 00 00 00  lost packet\\.{5}
  backtrace%s:
    \\[<00000000[0-9a-f]{8}>\\] %s\\+0x0/0x10
    \\[<00000000[0-9a-f]{8}>\\] line_8\\+0x0/0x10 \\[leaky\\]
"""


def trees(folder: Path, *changes: str) -> dict[str, Path]:
    """The checkpoints of the script's run, written as trees."""
    script, result = folder / "s.wl", folder / "r.json"
    script.write_text(SCRIPT)
    words = [word for change in changes for word in ("--set", change)]
    run = ["run", str(script), "--machine", "board-128m", *words, "--out", str(result)]
    assert outcome(run) == 0
    found = {}
    for name in ("loaded", "later", "final"):
        found[name] = folder / name
        assert outcome(["mount", str(result), str(found[name]), "--at", name, "--write"]) == 0
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return trees(tmp_path_factory.mktemp("leaky"))


def shown(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert outcome(words) == 0
    return capsys.readouterr().out


def test_the_cache_that_grows_is_the_first_of_slabtop(
    tree: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, objects in (("loaded", 0), ("later", 300)):
        text = (tree[name] / "proc/slabinfo").read_text()
        [row] = [row for row in parse_slabinfo(text) if row.name == "leaky_packet"]
        assert 0 <= row.active_objs - objects < row.objs_per_slab
    text = shown(["slabtop", "--root", str(tree["later"]), "-o", "-s", "c"], capsys)
    first = text.partition("NAME")[2].split("\n")[1]
    assert first.split()[-1] == "leaky_packet"


def test_growth_between_two_trees_is_that_of_their_texts(
    tree: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["leak", "kernel", "--since", str(tree["loaded"]), "--root", str(tree["later"])]
    found = json.loads(shown([*words, "--json"], capsys))
    assert found["seconds"] == pytest.approx(30.0)
    rows = {row["name"]: row for row in found["rows"]}
    stack_bytes = 16 << 10  # a task's own is an area too
    assert rows["vmalloc"]["bytes_since"] == 300 * 8192 + stack_bytes
    assert rows["vmalloc"]["bytes"] >= (1 << 20) + 300 * 8192 + 2 * stack_bytes
    sizes = {}
    for name in ("loaded", "later"):
        text = (tree[name] / "proc/slabinfo").read_text()
        sizes[name] = {r.name: r.num_slabs * r.pages_per_slab * 4096 for r in parse_slabinfo(text)}
    for name, size in sizes["later"].items():
        assert rows[name]["bytes_since"] == size - sizes["loaded"][name]
    assert "leaky_packet" in shown(words, capsys)
    same = ["leak", "kernel", "--since", str(tree["later"]), "--root", str(tree["later"])]
    assert "no slab cache, vmalloc or page tables grew" in shown(same, capsys)


def test_kmemleak_of_the_twin_is_read_as_that_of_a_kernel(
    tree: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tree["final"] / "sys/kernel/debug/kmemleak"
    said = "definitely lost     598  2,509,208"  # all but the last packet and the last area
    assert said in shown(["leak", "read", str(file)], capsys)
    text = shown(["leak", "kernel", "--root", str(tree["final"]), "--for", "0.05"], capsys)
    assert said in text
    assert "2.3M in 299 blocks definitely lost\n    vmalloc\n    line_10 (leaky)" in text
    assert "58.4K in 299 blocks definitely lost\n    kmem_cache_alloc\n    line_8 (leaky)" in text
    assert (tree["later"] / "sys/kernel/debug/kmemleak").read_text() == ""


@pytest.mark.parametrize(
    ("kernel", "checksum", "allocator"),
    [("6.1", "", "kmem_cache_alloc"), ("6.12", " \\(crc [0-9a-f]+\\)", "kmem_cache_alloc_noprof")],
)
def test_the_report_has_the_format_of_its_kernel(
    kernel: str, checksum: str, allocator: str, tmp_path: Path
) -> None:
    file = trees(tmp_path, f"kernel={kernel}")["final"] / "sys/kernel/debug/kmemleak"
    assert len(re.findall(ONE_LEAK % (checksum, allocator), file.read_text())) == 299


@pytest.mark.parametrize(
    ("since", "root", "said"),
    [
        ("later", "loaded", "allowed is an earlier moment"),
        ("nowhere", "loaded", "--since: found"),
        ("empty", "loaded", "/proc/uptime"),
    ],
)
def test_an_earlier_tree_that_is_none_is_named(
    since: str, root: str, said: str, tree: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = tree.get(since, tree["loaded"].parent / since)
    if since == "empty":
        earlier.mkdir(exist_ok=True)
    capsys.readouterr()
    assert outcome(["leak", "kernel", "--since", str(earlier), "--root", str(tree[root])]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
