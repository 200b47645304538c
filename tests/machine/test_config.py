"""Descriptions of machines: what is shipped, what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from memtwin.errors import UserError
from memtwin.hardware.cost import COSTS
from memtwin.machine.config import config_from_text, load_machine, machine_names
from memtwin.machine.config_reader import ranges_of_ram
from memtwin.units import GIB, MIB

SHIPPED = ("board-128m", "container-512m", "laptop-8g", "phone-4g", "server-64g")


def test_the_shipped_machines_are_those_of_the_plan() -> None:
    assert tuple(machine_names()) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_machine_is_named_sized_and_frozen(name: str) -> None:
    config = load_machine(name)
    assert config.name == name
    assert config.about
    sizes = {"128m": 128 * MIB, "512m": 16 * GIB, "8g": 8 * GIB, "4g": 4 * GIB, "64g": 64 * GIB}
    # a PC's first MiB has a hole of 384 KiB, and frame 0 is never RAM
    assert sizes[name.rpartition("-")[2]] - config.ram_bytes == 392 * 1024
    with pytest.raises(AttributeError):
        config.nr_cpus = 2  # type: ignore[misc]


def test_the_server_has_two_equal_nodes_and_the_container_a_limit() -> None:
    server = load_machine("server-64g")
    sizes = [sum(m.size_pages for m in server.memory if m.node == node) for node in (0, 1)]
    assert server.nr_nodes == 2
    assert abs(sizes[0] - sizes[1]) < 128
    limit = load_machine("container-512m").limit
    assert limit is not None
    assert (limit.max_bytes, limit.swap_max_bytes, limit.cgroup_version) == (512 * MIB, 0, 2)


def test_equal_descriptions_have_equal_digests_and_any_change_shows() -> None:
    digest = load_machine("laptop-8g").digest()
    assert load_machine("laptop-8g").digest() == digest
    assert load_machine("laptop-8g", ["vm.swappiness=10"]).digest() != digest
    assert load_machine("laptop-8g", ["seed=2"]).digest() != digest


def test_overrides_change_what_they_name_and_nothing_else() -> None:
    changes = ["ram=4G", "limit=1G", "swap=disk:1G,zram:512M", "cost.touch_ns=3"]
    config = load_machine("laptop-8g", [*changes, "kernel=6.1", "block.latency_us=7.5"])
    assert config.ram_bytes == 4 * GIB - 392 * 1024
    assert config.limit is not None
    assert config.limit.max_bytes == GIB
    assert [(s.kind, s.size_bytes) for s in config.swap] == [("disk", GIB), ("zram", 512 * MIB)]
    assert config.costs == {"touch_ns": 3}
    assert (config.kernel, config.lru_gen, config.layout) == (601, False, "6.1")
    assert config.block.latency_ns == 7500
    assert config.swap[0].device == config.block
    assert config.sysctls == load_machine("laptop-8g").sysctls


def test_a_machine_of_one_s_own_may_list_everything(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'kernel = "6.1"\n[[memory]]\nstart = 0x100000\nend = 0x8000000\n'
        '[[file]]\npath = "/d/f1"\nsize = "48M"\n'
        '[costs]\ntouch_ns = { value = 2, source = "measured" }\n'
        '[sysctl]\n"vm.lowmem_reserve_ratio" = [256, 256, 32, 0, 0]\n'
    )
    config = load_machine(str(path))
    assert config.ram_bytes == 127 * MIB
    assert config.files[0].size_bytes == 48 * MIB
    assert config.cost_sources == {"touch_ns": "measured"}
    assert config.sysctls == {"vm.lowmem_reserve_ratio": "256 256 32 0 0"}


def test_nodes_split_ram_in_order_around_the_hole() -> None:
    ranges = ranges_of_ram(8 * GIB, 4)
    assert [m.node for m in ranges] == [0, 0, 1, 1, 2, 3]
    assert ranges[3].start_paddr == 4 * GIB
    assert ranges[-1].end_paddr == 9 * GIB


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("vm.swapiness=1", "found 'vm.swapiness', known are vm.admin_reserve_kbytes"),
        ("vm.swappiness=1000", "vm.swappiness: found '1000', allowed is a whole number 0 .. 200"),
        ("ram=4", "ram: found '4', allowed is a size 16M .. 7T"),
        ("ram=lots", "ram: found 'lots', allowed is a size"),
        ("ram=100T", "ram: found '100T', allowed is a size"),
        ("limit=9G", "[limit]: memory: found '9G', allowed is a size 256K .. 8.0G"),
        ("swap=disk", "swap: found 'disk', allowed is disk:SIZE, zram:SIZE or none"),
        ("swap=zram:1X", "swap 1: size: found '1X', allowed is a size"),
        ("flavour=1", "found unknown key 'flavour', known are ram, nodes"),
        ("ram", "found 'ram', allowed is KEY=VALUE"),
        ("cost.magic=1", "found unknown cost 'magic', known are touch_ns"),
        ("cost.touch_ns=-1", "touch_ns: value: found '-1', allowed is a whole number 0"),
        ("content=prose", "content: found 'prose', allowed is one of zero, same"),
        ("kernel=5.4", "kernel: found '5.4', allowed is one of 6.1, 6.12"),
        ("cpus=0", "cpus: found '0', allowed is a whole number 1 .. 4096"),
        ("block.speed=1", "[block]: found unknown key 'speed', known are latency_us"),
        ("limit.swap=1M", "[limit]: memory: found nothing, allowed is a size"),
        ("lru_gen=maybe", "lru_gen: found 'maybe', allowed is true or false"),
    ],
)
def test_a_wrong_override_is_one_line_with_what_was_found_and_what_is_allowed(
    override: str, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_machine("laptop-8g", [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ram = ", "mine.toml: found no valid TOML"),
        ('name = "x"', "mine.toml: ram: found nothing, allowed is a size"),
        ('ram = "1G"\nswapp = 1', "mine.toml: found unknown key 'swapp', known are"),
        ('ram = "1G"\nswap = 1', "swap: found 1, allowed is a list of tables [[swap]]"),
        (
            'ram = "1G"\n[[swap]]\nkind = "tape"',
            "swap 1: kind: found 'tape', allowed is one of disk",
        ),
        ('ram = "1G"\n[[memory]]\nstart = 0\nend = 1', "found both ram or nodes and [[memory]]"),
        ("[[memory]]\nstart = 0\nend = 0x100000", "memory: found 1M in all, allowed is 16M .. 7T"),
        (
            "[[memory]]\nstart = 0\nend = 0x2000000\n"
            "[[memory]]\nstart = 0x1000000\nend = 0x3000000",
            "memory 2: start: found 16777216, allowed is a whole number 33554432",
        ),
        ("[[memory]]\nstart = 0\nend = 0x2000000\nnode = 1", "found node numbers with gaps"),
        (
            'ram = "1G"\n[sysctl]\nswappiness = 1',
            "found 'swappiness', allowed is a name like vm.sw",
        ),
        (
            'ram = "1G"\n[[file]]\npath = "f"\nsize = 1',
            "path: found 'f', allowed is an absolute path",
        ),
        (
            'ram = "1G"\n[limit]\nmemory = "1M"\nhigh = "1M"\ncgroup = 1',
            "memory.high is version 2's",
        ),
        ("ram = true", "ram: found True, allowed is a size"),
    ],
)
def test_a_wrong_description_is_one_line_that_names_file_and_key(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        config_from_text(text, "mine.toml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("mine.toml")
    assert "\n" not in str(caught.value)


def test_a_missing_machine_lists_those_there_are() -> None:
    with pytest.raises(UserError, match=r"found no 'laptop-9g', .* board-128m, container-512m"):
        load_machine("laptop-9g")


def test_every_cost_has_a_source() -> None:
    assert all(source for _, source in COSTS.values())
    phone = load_machine("phone-4g")
    assert set(phone.costs) == set(phone.cost_sources) <= set(COSTS)
