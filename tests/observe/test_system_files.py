"""Every system-wide file of every recorded kernel is read, written back, and survives damage."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.observe.recordings import every_tree, system_texts

from memtwin.analysis.dirty_limits import dirty_limits
from memtwin.analysis.fragmentation import zones_of
from memtwin.errors import UserError
from memtwin.observe import bdi, fragments, kernel_mm, node, vm_sysctl, zram
from memtwin.observe.cgroup_tree import read_cgroup_tree
from memtwin.observe.lru_gen import parse_lru_gen
from memtwin.observe.meminfo import parse_meminfo
from memtwin.observe.mounts import Mount, cgroup_roots, parse_mounts, render_mounts
from memtwin.observe.reading import Reading
from memtwin.observe.scan import MOST_MALFORMED, parse_flat, salvaged
from memtwin.observe.source import TextSource
from memtwin.observe.system import parse_pressure, parse_stat
from memtwin.observe.texts import shape_of
from memtwin.observe.vmallocinfo import parse_vmallocinfo
from memtwin.observe.vmstat import parse_vmstat
from memtwin.observe.zoneinfo import parse_zoneinfo

TREES = every_tree()
TEXTS = [(tree, path, text) for tree, texts in TREES.items() for path, text in texts.items()]
READ = [(tree, path, text) for tree, path, text in TEXTS if shape_of(path) is not None]


def reading_of(texts: dict[str, str]) -> Reading:
    return Reading(TextSource(texts))


@pytest.mark.parametrize("tree", sorted(TREES))
def test_what_was_read_is_written_back_byte_for_byte(tree: str) -> None:
    for path, text in TREES[tree].items():
        shape = shape_of(path)
        # 5.10 sets two lines of a node narrower, 7.x one column of io_stat: the writer is 6.12's
        newer = path.endswith(("node0/meminfo", "io_stat"))
        if shape is not None and path != "/proc/stat" and not (newer and "6.1" not in tree):
            assert shape.render(shape.parse(text)) == text, path


def test_the_recordings_have_every_kind_of_file() -> None:
    names = {path.rpartition("/")[2] for _, path, _ in READ}
    wanted = {"meminfo", "vmstat", "zoneinfo", "buddyinfo", "pagetypeinfo", "slabinfo", "swaps",
              "vmallocinfo", "mounts", "uptime", "lru_gen", "mm_stat", "bd_stat", "numastat",
              "comp_algorithm", "memory.stat", "memory.pressure", "memory.max", "enabled",
              "swappiness", "lowmem_reserve_ratio", "diskstats"}  # fmt: skip
    assert wanted <= names


def test_our_dirty_limits_are_the_kernels_own() -> None:
    held = 0
    for tree, texts in TREES.items():
        vm = parse_vmstat(texts["/proc/vmstat"]).figures
        if "nr_dirty_threshold" not in vm:
            continue
        info = parse_zoneinfo(texts["/proc/zoneinfo"])
        limits = dirty_limits(vm, info, vm_sysctl.read_dirty_settings(reading_of(texts)))
        for ours, theirs in (
            (limits.limit_pages, vm["nr_dirty_threshold"]),
            (limits.background_pages, vm["nr_dirty_background_threshold"]),
        ):
            held += 1
            assert abs(ours - theirs) <= 16, f"{tree}: {ours} pages, the kernel has {theirs}"
    assert held >= 8


def test_limits_in_bytes_win_and_the_background_stays_below_the_limit() -> None:
    texts = TREES["start 6.1"]
    vm = parse_vmstat(texts["/proc/vmstat"]).figures
    info = parse_zoneinfo(texts["/proc/zoneinfo"])
    set_to = vm_sysctl.DirtySysctl(bytes=4096 * 100 + 1, background_bytes=1 << 40)
    limits = dirty_limits(vm, info, set_to)
    assert (limits.limit_pages, limits.background_pages) == (101, 50)


def test_our_fragmentation_indexes_are_the_kernels_own() -> None:
    held = 0
    for tree, texts in TREES.items():
        zones = zones_of(fragments.parse_buddyinfo(texts["/proc/buddyinfo"]))
        for path, field in (
            (fragments.UNUSABLE_PATH, "unusable_thousandths"),
            (fragments.EXTFRAG_PATH, "extfrag_thousandths"),
        ):
            theirs = {(one.node, one.zone): one.thousandths
                      for one in fragments.parse_index(texts[path], path)}  # fmt: skip
            for zone in zones:
                held += 1
                assert getattr(zone, field) == theirs[zone.node, zone.zone], (tree, zone.zone)
    assert held > 20


def test_zram_of_three_kernels_says_what_it_holds() -> None:
    for name in ("5.10", "6.1-686", "7.3"):
        device = zram.read_zram(reading_of(system_texts(name)), "zram0")
        assert device.mm is not None
        assert device.bd is not None
        assert device.algorithm is not None
        assert device.disksize_bytes == 96 << 20
        assert device.mm.orig_data_bytes > device.mm.compr_data_bytes > 8 << 20
        assert device.backing_device is None
    assert zram.zram_names(reading_of(system_texts("7.3"))) == ["zram0"]


def test_settings_of_kernel_mm_are_read_where_a_kernel_has_them() -> None:
    old, new = reading_of(system_texts("5.10")), reading_of(system_texts("7.3"))
    thp = kernel_mm.read_thp(new)
    assert thp.enabled == kernel_mm.Choice("never", ("always", "madvise", "never"))
    assert (thp.hpage_pmd_size_bytes, thp.shrink_underused) == (2 << 20, 1)
    assert kernel_mm.read_thp(old).shrink_underused is None
    assert kernel_mm.read_lru_gen(old).enabled_mask is None
    assert kernel_mm.read_lru_gen(new).enabled_mask == 7
    assert kernel_mm.read_ksm(new).figures["max_page_sharing"] == 256
    assert [pool.size_kib for pool in kernel_mm.read_hugepages(new)] == [2048]
    assert kernel_mm.read_zswap(old) is None
    assert not old.absent


def test_nodes_and_backing_devices_are_read() -> None:
    reading = reading_of(system_texts("7.3"))
    (one,) = node.read_nodes(reading)
    assert one.meminfo_kib["MemTotal"] == 111568
    assert one.numastat_pages["numa_hit"] == 33297
    assert one.vmstat["nr_free_pages"] > 0
    devices = bdi.read_bdis(reading)
    assert [device.device for device in devices] == ["254:0", "254:16"]
    assert (devices[0].dirty_thresh_kib, devices[0].global_dirty_thresh_kib) == (896, 7184)


def test_generations_of_multi_gen_lru_are_read() -> None:
    rows = parse_lru_gen(system_texts("7.3")["/sys/kernel/debug/lru_gen"])
    assert rows[0].path == "/"
    assert len(rows[0].generations) == 4
    assert sum(one.anon_pages + one.file_pages for row in rows for one in row.generations) > 0


@pytest.mark.parametrize("name", ["5.10", "6.1-686", "7.3"])
def test_a_cgroup_tree_is_walked(name: str) -> None:
    texts = {**system_texts(name), "/sys/fs/cgroup/cgroup.controllers": "memory\n"}
    reading = reading_of(texts)
    tree = read_cgroup_tree(reading)
    assert tree is not None
    assert [one.path for one in tree.cgroups] == ["/", "/g"]
    group = tree.cgroups[1]
    assert group.memory.max_bytes == 32 << 20
    assert group.memory.swap_max_bytes is None
    assert group.processes == 1
    assert group.memory.stat["anon"] > 0
    assert group.pressure["memory"].some is not None
    assert not reading.absent


def test_mounts_unescape_names_and_find_the_hierarchies() -> None:
    text = "x /a\\040b ext4 rw 0 0\nc /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
    mounts = parse_mounts(text)
    assert mounts[0] == Mount("x", "/a b", "ext4", ("rw",))
    assert render_mounts(mounts) == text
    assert cgroup_roots(mounts).v1_memory == "/sys/fs/cgroup/memory"


def test_areas_of_vmalloc_know_their_caller_kind_and_pages() -> None:
    lines = (
        "0x01-0x02   20480 kernel_clone+0x94/0x3e0 pages=4 vmalloc N0=3 N1=1\n"
        "0x02-0x03    8192 snd_open+0x1/0x2 [snd] phys=0x00000000000a0000 ioremap\n"
        "0x03-0x04    4096 vm_map_ram\n"
        "0x04-0x05    8192 bpf_map+0x1/0x2 pages=1 vmalloc user N0=1\n"
    )
    areas = parse_vmallocinfo(lines)
    assert [area.kind for area in areas] == ["vmalloc", "ioremap", "vm_map_ram", "vmalloc, user"]
    assert [area.function for area in areas] == [
        "kernel_clone", "snd_open [snd]", "(not told)", "bpf_map",
    ]  # fmt: skip
    assert areas[0].by_node_pages == {"N0": 3, "N1": 1}


def test_malformed_lines_are_left_out_and_counted() -> None:
    found = salvaged(parse_meminfo, "MemTotal: 8 kB\nMemFree: 4 MB\nCached: -4 kB\nSlab: ² kB\n")
    assert found.dropped == 3
    assert found.record == parse_meminfo("MemTotal: 8 kB\n")
    assert "MemFree" in found.why
    many = "".join(f"line {n} of nonsense\n" for n in range(MOST_MALFORMED + 2))
    assert salvaged(lambda text: parse_flat(text, "x"), many).record is None


def test_a_missing_file_is_told_and_an_optional_one_is_not() -> None:
    reading = reading_of({})
    assert reading.record("/proc/meminfo", parse_meminfo) is None
    assert reading.optional("/proc/vmstat", parse_vmstat) is None
    assert [one.what for one in reading.absent] == ["/proc/meminfo"]


def test_pressure_of_interrupts_has_no_line_of_some() -> None:
    record = parse_pressure("full avg10=1.00 avg60=0.50 avg300=0.00 total=77\n")
    assert record.some is None
    assert record.full is not None
    assert record.full.total_us == 77
    with pytest.raises(UserError):
        parse_pressure("some avg10=nan avg60=0.50 avg300=0.00 total=77\n")


def test_figures_beyond_64_bits_are_malformed() -> None:
    for parse, text in (
        (parse_meminfo, f"MemTotal: {1 << 64} kB\n"),
        (parse_vmstat, f"pgfault {'9' * 5000}\n"),
        (parse_stat, f"ctxt {1 << 70}\n"),
    ):
        with pytest.raises(UserError):
            parse(text)


def damaged(text: str, rng: random.Random) -> str:
    """`text` with a few seeded wounds: bytes changed, lines cut, doubled, swapped or emptied."""
    lines = text.splitlines(keepends=True) or [""]
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(lines))
        line = lines[at]
        where = rng.randrange(len(line) + 1)
        wounds = [
            line[:where] + rng.choice("-9²\x00 :=\udcff,(") + line[where:],
            line[:where],
            line * 2,
            line.replace("0", "9" * 30),
            "",
            rng.choice(lines),
            " ".join(reversed(line.split())) + "\n",
        ]
        lines[at] = rng.choice(wounds)
    return "".join(lines)


@pytest.mark.parametrize("seed", range(6))
def test_damage_is_a_users_mistake_or_a_record_never_anything_else(seed: int) -> None:
    rng = random.Random(seed)
    for _, path, text in READ:
        shape = shape_of(path)
        assert shape is not None
        wounded = damaged(text, rng)
        parse = shape.parse
        found = salvaged(lambda text, parse=parse: [parse(text)], wounded)
        assert found.record is not None or found.why, path


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200), st.integers(0, len(READ) - 1))
def test_any_text_is_a_users_mistake_or_a_record(text: str, which: int) -> None:
    shape = shape_of(READ[which][1])
    assert shape is not None
    salvaged(shape.parse, text)


def test_every_setting_of_vm_is_read_but_actions_are_not() -> None:
    found = vm_sysctl.read_settings(reading_of(system_texts("7.3")))
    assert found["swappiness"] == 60
    assert isinstance(found["lowmem_reserve_ratio"], tuple)
    assert len(found) > 40
    assert not set(found) & vm_sysctl.ACTIONS
