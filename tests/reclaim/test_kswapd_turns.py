"""kswapd shares CPUs with the tasks: turn by turn with one, beside them with more."""

from __future__ import annotations

import pytest
from reclaim_machine import ReclaimMachine, build

from memtwin.columns import array
from memtwin.reclaim.constants import (
    KSWAPD_ASLEEP,
    KSWAPD_DOZING,
    KSWAPD_PREEMPTED,
    KSWAPD_TURN_NS,
)

KERNELS = [(601, 0), (612, 0), (612, 1)]
SLOW_NS = 60_000  # a page scanned: some 70 pages a turn


def short_of_memory(kernel: int, lru_gen: int, scan_page_ns: int, **sysctls: int) -> ReclaimMachine:
    """A machine of one zone, with 2500 pages in use, whose kswapd finds 400 too few free."""
    machine = build(kernel, ram_mib=16, zram_mib=64, lru_gen=lru_gen, **sysctls)
    machine.reclaim.lru_scan.folio_reclaim.cost.scan_page_ns = scan_page_ns
    task, vpn = machine.program(0, 2500)
    for page in range(2500):
        machine.touch(task, vpn + page)
    machine.lru.lru_add_drain()
    assert machine.count("pageoutrun") == 0
    machine.page_alloc.zones.zones[0].wmark_high = machine.count("nr_free_pages") + 400
    assert machine.reclaim.kswapd.wakeup(0, 0, 0)
    return machine


def run_to_its_end(machine: ReclaimMachine) -> int:
    """Let kswapd alone run until it dozes; its turns."""
    kswapd, turns = machine.reclaim.kswapd, 0
    while kswapd.nodes[0].state not in (KSWAPD_DOZING, KSWAPD_ASLEEP):
        machine.clock.now_ns = max(machine.clock.now_ns, kswapd.next_ns())
        kswapd.tick()
        turns += 1
        assert turns < 10_000
    return turns


@pytest.mark.parametrize(("kernel", "lru_gen"), KERNELS)
def test_a_pass_cut_into_turns_frees_the_pages_that_an_uncut_one_frees(
    kernel: int, lru_gen: int
) -> None:
    whole, cut = (short_of_memory(kernel, lru_gen, ns) for ns in (0, SLOW_NS))
    assert run_to_its_end(whole) == 1
    assert run_to_its_end(cut) > 4
    assert whole.count("pgsteal_kswapd") > 300
    assert whole.vmstat.by_name() == cut.vmstat.by_name()
    for column in ("flags", "refcount", "lru_next"):
        one, other = (array(getattr(m.lru.mem, column)) for m in (whole, cut))
        assert (one == other).all(), column
    cut.verify()


@pytest.mark.parametrize(("kernel", "lru_gen"), KERNELS)
def test_with_one_cpu_a_task_has_as_long_a_turn_as_kswapd_had(kernel: int, lru_gen: int) -> None:
    machine = short_of_memory(kernel, lru_gen, SLOW_NS)
    kswapd, came_ns = machine.reclaim.kswapd, machine.clock.now_ns
    kswapd.run_pending()
    node, used_ns = kswapd.nodes[0], machine.clock.now_ns - came_ns
    assert node.state == KSWAPD_PREEMPTED
    assert KSWAPD_TURN_NS <= used_ns < 4 * KSWAPD_TURN_NS  # a batch is not cut
    assert node.until_ns == machine.clock.now_ns + used_ns
    scanned = machine.count("pgscan_kswapd")
    kswapd.run_pending()
    assert machine.count("pgscan_kswapd") == scanned  # not its turn
    machine.clock.now_ns = node.until_ns
    kswapd.run_pending()
    assert machine.count("pgscan_kswapd") > scanned


def test_a_task_that_outruns_a_slow_kswapd_reclaims_for_itself() -> None:
    machine = build(601, ram_mib=16, zram_mib=64)
    machine.reclaim.lru_scan.folio_reclaim.cost.scan_page_ns = SLOW_NS
    task, vpn = machine.program(0, 6000)
    for page in range(6000):
        machine.touch(task, vpn + page)
        machine.reclaim.kswapd.tick()
    assert machine.count("pgsteal_direct") > 100
    assert machine.count("pgsteal_kswapd") > 100
    machine.verify()


def test_with_more_cpus_the_tasks_time_stands_still_while_kswapd_works() -> None:
    machine = short_of_memory(601, 0, SLOW_NS, nr_cpus=2)
    kswapd, clock = machine.reclaim.kswapd, machine.clock
    before = (clock.now_ns, clock.cpu_ns, list(clock.stall_ns))
    kswapd.run_pending()
    assert machine.count("pgscan_kswapd") > 0
    assert (clock.now_ns, clock.cpu_ns, list(clock.stall_ns)) == before
    node = kswapd.nodes[0]
    assert node.until_ns == node.busy_until_ns >= clock.now_ns + KSWAPD_TURN_NS


def test_what_was_asked_for_meanwhile_keeps_kswapd_awake() -> None:
    machine = build(601, ram_mib=64, zram_mib=128)
    machine.reclaim.lru_scan.folio_reclaim.cost.scan_page_ns = SLOW_NS
    low, high = (zone for zone in machine.page_alloc.zones.zones if zone.managed_pages)
    task, vpn = machine.program(0, 14_000)
    for page in range(14_000):
        machine.touch(task, vpn + page)
    kswapd = machine.reclaim.kswapd
    run_to_its_end(machine)
    low.wmark_high = high.wmark_high = machine.count("nr_free_pages") + 400
    assert kswapd.wakeup(0, 0, low.zone_idx)
    kswapd.run_pending()
    assert kswapd.nodes[0].state == KSWAPD_PREEMPTED
    assert kswapd.wakeup(0, 0, high.zone_idx) == 0  # it is awake: this is noted
    # now the low zone has enough for its own requests, not for those that its reserve keeps out
    while not kswapd.balanced(0, 0, low.zone_idx):
        low.wmark_high -= 1
    assert not kswapd.balanced(0, 0, high.zone_idx)
    run_to_its_end(machine)
    assert kswapd.nodes[0].run_highest == high.zone_idx
    assert kswapd.nodes[0].sleep_highest == high.zone_idx
