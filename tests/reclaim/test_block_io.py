"""Block devices and page I/O in virtual time."""

import pytest
from reclaim_machine import build

from memtwin.errors import InternalError
from memtwin.hardware.block_device import BlockDevice
from memtwin.hardware.clock import STALL_FILE_READ
from memtwin.page.flags import PG_LOCKED, PG_UPTODATE
from memtwin.page.gfp import GFP_HIGHUSER_MOVABLE


def test_adjacent_pages_of_one_plug_are_one_request() -> None:
    disk = BlockDevice("vda", 1000, 4096 * 1_000_000)
    for block in (5, 6, 7, 100):
        disk.submit(0, 0, 1, block, 1)
    assert disk.issue(0) == 5000  # three pages, then one: 1 us a page, 1 us latency
    assert disk.nr_reads == 2
    assert disk.pages_read == 4
    assert disk.next_end_ns() == 4000


def test_a_throttled_disk_lets_a_burst_through_and_then_paces() -> None:
    disk = BlockDevice("vda", 0, 4096 * 1000, burst_ns=100_000_000)
    ends = []
    for block in range(0, 400, 2):
        disk.submit(0, 1, 1, block, 1)
        ends.append(disk.issue(0))
    assert ends[:100] == [0] * 100
    assert ends[-1] == pytest.approx(99_000_000, abs=1_000_000)


def test_reads_and_writes_have_each_their_own_bandwidth() -> None:
    disk = BlockDevice("vda", 0, 4096 * 1_000_000, write_bytes_per_s=4096 * 1000)
    disk.submit(0, 0, 1, 5, 1)
    assert disk.issue(0) == 1000
    disk.submit(0, 1, 2, 9, 1)
    assert disk.issue(0) == 1_001_000  # behind the read


@pytest.mark.parametrize("lru_gen", [0, 1])
def test_a_reclaimer_waits_while_the_swap_device_takes_no_further_request(lru_gen: int) -> None:
    most = {}
    for nr_requests in (0, 4):
        machine = build(ram_mib=16, swap_mib=64, kernel=612, lru_gen=lru_gen)
        disk = machine.folio_io.devices[-1]
        disk.nr_requests, disk.max_request_pages = nr_requests, 8
        disk.bytes_per_s = disk.write_bytes_per_s = 4 << 20
        most[nr_requests] = 0
        task, vpn = machine.program(pages=6000)
        for page in range(6000):
            machine.touch(task, vpn + page)
            most[nr_requests] = max(most[nr_requests], disk.nr_in_flight)
        while machine.folio_io.next_end_ns() >= 0:
            machine.folio_io.run_completions(machine.folio_io.next_end_ns())
        assert disk.nr_in_flight == 0
    # a batch of 32 pages may go beyond it
    assert most[4] <= 4 + 32
    assert most[0] > 2 * most[4]


def test_waiting_for_a_read_moves_the_clock_to_its_end() -> None:
    machine = build(ram_mib=16)
    pfn = int(machine.slowpath.alloc_page(GFP_HIGHUSER_MOVABLE, 0))
    machine.lru.mem.flags[pfn] |= PG_LOCKED
    machine.folio_io.submit_read(0, pfn, 77)
    waited = machine.folio_io.wait_on_folio(pfn, STALL_FILE_READ)
    assert waited > 0
    assert machine.clock.stall_ns[STALL_FILE_READ] == waited
    assert machine.lru.mem.flags[pfn] & (PG_LOCKED | PG_UPTODATE) == PG_UPTODATE
    assert machine.count("pgpgin") == 4


def test_waiting_for_a_page_nobody_reads_is_our_bug() -> None:
    machine = build(ram_mib=16)
    pfn = int(machine.slowpath.alloc_page(GFP_HIGHUSER_MOVABLE, 0))
    machine.lru.mem.flags[pfn] |= PG_LOCKED
    with pytest.raises(InternalError, match="no request is under way"):
        machine.folio_io.wait_on_folio(pfn, STALL_FILE_READ)


def test_more_pages_under_way_than_the_ring_holds_keep_their_order() -> None:
    disk = BlockDevice("vda", 10, 0)
    for block in range(1000):
        disk.submit(block, 1, block, block * 2, 1)
    disk.issue(1000)
    ends = [int(disk.ring_end_ns[entry % disk.ring_room]) for entry in range(disk.head, disk.tail)]
    assert len(ends) == 1000
    assert ends == sorted(ends)
