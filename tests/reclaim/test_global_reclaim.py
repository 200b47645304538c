"""kswapd, direct reclaim and the end of memory, with a swap disk and without."""

import pytest
from reclaim_machine import READ, build

from memtwin.reclaim.constants import KSWAPD_DOZING


@pytest.mark.parametrize(("kernel", "lru_gen"), [(601, 0), (612, 1), (612, 0)])
def test_kswapd_keeps_free_memory_between_the_watermarks(kernel: int, lru_gen: int) -> None:
    machine = build(kernel, ram_mib=16, zram_mib=64, lru_gen=lru_gen)
    task, vpn = machine.program(0, 6000)
    zone = max(machine.page_alloc.zones.zones, key=lambda zone: zone.managed_pages)
    for page in range(6000):
        machine.touch(task, vpn + page)
        if machine.count("pageoutrun"):
            assert machine.count("nr_free_pages") > zone.wmark_min // 2
    assert machine.count("pgsteal_kswapd") > 2000
    assert machine.count("nr_anon_pages") + machine.swap.used_pages() >= 6000
    machine.verify()
    machine.space.verify()


@pytest.mark.parametrize(("kernel", "lru_gen"), [(601, 0), (612, 1)])
def test_a_swap_disk_is_read_ahead_by_address_and_hits(kernel: int, lru_gen: int) -> None:
    machine = build(kernel, ram_mib=16, swap_mib=64, lru_gen=lru_gen)
    task, vpn = machine.program(0, 5000)
    for _ in range(2):
        for page in range(5000):
            machine.touch(task, vpn + page)
    assert machine.count("swap_ra_hit") > 0.9 * machine.count("swap_ra") > 1000
    # windows of 8 (vm.page-cluster 3)
    assert machine.count("pswpin") > 6 * machine.count("pgmajfault")
    assert sum(machine.clock.stall_ns) > 0
    machine.verify()
    machine.space.verify()


def test_page_cluster_0_reads_one_page_a_fault() -> None:
    machine = build(601, ram_mib=16, swap_mib=64, page_cluster=0)
    task, vpn = machine.program(0, 5000)
    for _ in range(2):
        for page in range(5000):
            machine.touch(task, vpn + page)
    assert machine.count("swap_ra") == 0
    assert machine.count("pswpin") == machine.count("pgmajfault")


def test_unchanged_pages_keep_their_slot_and_are_not_written_again() -> None:
    machine = build(601, ram_mib=16, swap_mib=64)
    task, vpn = machine.program(0, 5000)
    for page in range(5000):
        machine.touch(task, vpn + page)
    for _ in range(3):
        for page in range(5000):
            machine.touch(task, vpn + page, READ)
    # every page is written once, though each came back more than once on average
    assert machine.count("pswpout") <= 5000
    assert machine.count("pswpin") > 5000


def test_without_swap_the_machine_runs_out_and_a_process_is_killed() -> None:
    machine = build(601, ram_mib=16)
    task, vpn = machine.program(0, 6000)
    for page in range(6000):
        machine.touch(task, vpn + page)
        if not task.alive:
            break
    assert not task.alive
    assert machine.count("oom_kill") == 1
    machine.lru.lru_add_drain_all()
    assert machine.count("nr_anon_pages") == 0
    machine.verify()


def test_kswapd_dozes_before_it_sleeps_and_says_when_the_machine_must_look_again() -> None:
    machine = build(601, ram_mib=16, zram_mib=64)
    task, vpn = machine.program(0, 5000)
    for page in range(5000):
        machine.touch(task, vpn + page)
    kswapd = machine.reclaim.kswapd
    assert kswapd.nodes[0].state == KSWAPD_DOZING
    due_ns = kswapd.next_ns()
    assert 0 < due_ns - machine.clock.now_ns <= 100_000_000
    machine.clock.now_ns = due_ns
    kswapd.tick()
    assert kswapd.next_ns() == -1 or kswapd.next_ns() > due_ns


def test_two_runs_of_one_machine_end_in_the_same_state() -> None:
    ends = []
    for _ in range(2):
        machine = build(612, ram_mib=16, swap_mib=64, lru_gen=1)
        task, vpn = machine.program(0, 5000)
        for page in range(9000):
            machine.touch(task, vpn + page * 7 % 5000)
        ends.append((machine.vmstat.by_name(), machine.clock.now_ns))
    assert ends[0] == ends[1]
