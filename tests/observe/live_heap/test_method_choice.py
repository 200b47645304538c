"""A target is read from a copy, unless the copy could take it over a limit or out of huge pages."""

from __future__ import annotations

import pytest
from tests.observe.live_heap.conftest import Build, Start

from memtwin.observe.live_heap import Method, heap_scan, scan_heap
from memtwin.observe.live_heap.method_choice import choose_method
from memtwin.observe.source import TextSource

MIB = 1 << 20
V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"
V1 = "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
HEAP = "55550000-55560000 rw-p 00000000 00:00 0 [heap]\n"
POOL = "7f0000000000-7f0000200000 rw-p 00000000 00:10 7 /anon_hugepage (deleted)\n"
STATUS = "Name:\tp\nRssAnon:\t  102400 kB\nVmPTE:\t    1024 kB\n"


def _machine(groups: dict[str, str], mounts: str = V2, maps: str = HEAP) -> TextSource:
    group = "0::/a/b\n" if mounts is V2 else "5:cpu:/\n4:memory:/a/b\n0::/\n"
    texts = {
        "/proc/mounts": mounts, "/proc/self/mounts": mounts, "/proc/9/cgroup": group,
        "/proc/9/maps": maps, "/proc/9/status": STATUS, "/sys/fs/cgroup/cgroup.controllers": "",
    }  # fmt: skip
    return TextSource(texts | groups)


def _v2(path: str, limit: str, usage_mib: int, cache_mib: int = 0) -> dict[str, str]:
    folder = f"/sys/fs/cgroup{path}"
    return {
        f"{folder}/memory.max": limit + "\n",
        f"{folder}/memory.current": f"{usage_mib * MIB}\n",
        f"{folder}/memory.stat": f"anon 5\ninactive_file {cache_mib * MIB}\n",
    }


@pytest.mark.parametrize(
    ("groups", "chosen"),
    [
        ({}, Method.FORK),
        (_v2("/a/b", "max", 400), Method.FORK),
        (_v2("/a/b", str(512 * MIB), 400), Method.FORK),  # room for 112M, a copy costs 101M
        (_v2("/a/b", str(500 * MIB), 400), Method.COPY),
        (_v2("/a/b", str(500 * MIB), 400, cache_mib=50), Method.FORK),
        (_v2("/a/b", "max", 400) | _v2("/a", str(500 * MIB), 450), Method.COPY),
        (_v2("/a/b", str(500 * MIB), 600), Method.COPY),  # over it, while it is lowered
    ],
)
def test_the_nearest_limit_decides_and_cold_page_cache_counts_as_room(
    groups: dict[str, str], chosen: Method
) -> None:
    method, notes = choose_method(9, _machine(groups))
    assert method is chosen
    assert len(notes) == (method is Method.COPY)


def test_a_note_names_the_group_its_room_and_what_a_copy_could_cost() -> None:
    groups = _v2("/a/b", "max", 400) | _v2("/a", str(500 * MIB), 450)
    _, notes = choose_method(9, _machine(groups))
    assert "cgroup /a has room for 50M more" in notes[0]
    assert "a copy could cost 101M" in notes[0]


def test_limits_of_the_old_hierarchy_are_read_too() -> None:
    folder = "/sys/fs/cgroup/memory/a/b"
    files = {
        "/sys/fs/cgroup/memory/memory.usage_in_bytes": "1\n",
        f"{folder}/memory.limit_in_bytes": f"{500 * MIB}\n",
        f"{folder}/memory.usage_in_bytes": f"{450 * MIB}\n",
        f"{folder}/memory.stat": "total_inactive_file 0\n",
    }
    assert choose_method(9, _machine(files, V1))[0] is Method.COPY
    files[f"{folder}/memory.limit_in_bytes"] = "9223372036854771712\n"  # none
    assert choose_method(9, _machine(files, V1))[0] is Method.FORK


def test_a_heap_in_huge_pages_of_the_pool_is_read_where_it_stands() -> None:
    method, notes = choose_method(9, _machine({}, maps=HEAP + POOL))
    assert method is Method.COPY
    assert "huge pages" in notes[0]


def test_a_scan_says_that_it_did_not_make_a_copy_and_why(
    build: Build, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = start(build("plain")).pid
    monkeypatch.setattr(heap_scan, "choose_method", lambda _: (Method.COPY, ["because"]))
    scan = scan_heap(pid)
    assert (scan.method, scan.notes) == ("copy", ["because"])
    assert scan_heap(pid, Method.FORK).method == "fork"
