"""Descriptions read from recorded cases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memtwin.errors import UserError
from memtwin.machine.config import config_from_case
from memtwin.observe.kernel_release import match_release
from memtwin.observe.zoneinfo import parse_zoneinfo
from memtwin.units import MIB, PAGE_SIZE

STARTS = Path(__file__).parent.parent / "data" / "starts"


def case(name: str) -> dict:
    return json.loads((STARTS / f"{name}.json").read_text())


def test_a_case_gives_its_memory_map_kernel_sysctls_and_seed() -> None:
    config = config_from_case(case("6.1"))
    assert (config.kernel, config.layout, config.arch) == (601, "6.1", "x86_64")
    assert config.kernel_release == "6.1.0-56-cloud-amd64"
    assert (config.memory[0].start_paddr, config.memory[0].end_paddr) == (0x1000, 0x9FC00)
    zones = parse_zoneinfo(config.start_texts["/proc/zoneinfo"]).zones
    assert config.ram_bytes // PAGE_SIZE == sum(zone.pages["present"] for zone in zones)
    assert config.sysctls["vm.swappiness"] == "60"
    assert config.sysctls["vm.lowmem_reserve_ratio"] == "256 256 32 0 0"
    assert (config.thp, config.lru_gen) == ("never", False)
    assert config.start_texts["/proc/vmstat"].startswith("nr_free_pages ")


def test_swap_is_sized_as_recorded_with_its_header_page() -> None:
    (swap,) = config_from_case(case("6.1")).swap
    assert (swap.kind, swap.filename, swap.priority) == ("disk", "/dev/vdc", -2)
    assert swap.size_bytes == 128 * MIB
    assert swap.device is not None
    assert not swap.device.rotational


def test_files_and_disks_come_from_the_case() -> None:
    config = config_from_case(case("7.3"))
    assert [(f.path, f.size_bytes) for f in config.files] == [("/d/f1", 48 * MIB)]
    assert config.block.read_ahead_kib == 8192
    assert config.cma_bytes == 64 * MIB
    assert config.lru_gen


def test_a_kernel_that_is_not_modelled_is_mapped_and_said() -> None:
    config = config_from_case(case("7.3"))
    assert (config.kernel, config.layout) == (612, "7.3")
    assert config.notes == ("kernel 7.3 is not modelled: 6.12 stands for it",)
    assert config_from_case(case("6.1-686")).arch == "i686"


@pytest.mark.parametrize(
    ("release", "kernel", "exact"),
    [("6.1.0-56-amd64", 601, True), ("6.12.9", 612, True), ("5.10.0", 601, False),
     ("6.6.1", 601, False), ("6.8.0-generic", 612, False), ("6.18.44", 612, False),
     ("?", 601, False)],
)  # fmt: skip
def test_the_nearest_kernel_stands_for_a_release(release: str, kernel: int, exact: bool) -> None:
    match = match_release(release)
    assert (match.kernel, match.exact) == (kernel, exact)


def test_a_case_without_a_start_is_refused() -> None:
    broken = case("6.1")
    del broken["start"]
    with pytest.raises(UserError, match="allowed is a case with 'start'"):
        config_from_case(broken)
