"""Writing: when dirty pages are written, in what portions, and what a journal adds."""

from __future__ import annotations

import pytest
from file_machine import Machine, build

from memtwin.file_io.files import CREATE, FOR_WRITING
from memtwin.hardware.clock import STALL_SLEEP

MIB = 1 << 20
SECOND_NS = 1_000_000_000


def sleep(machine: Machine, seconds: float) -> None:
    """Let time pass."""
    until = machine.clock.now_ns + int(seconds * SECOND_NS)
    machine.rooms.flusher.sleep_until(until, STALL_SLEEP)


def slow_disk(kernel: int, **sysctls: int) -> Machine:
    """216 MiB and a disk of 16 MiB/s behind a queue that lets 100 ms through, 3.5 s after boot."""
    machine = build(kernel, ram_mib=216, bytes_per_s=16 * MIB, **sysctls)
    machine.disk.burst_ns = 100_000_000
    machine.rooms.flusher.last_old_flush_ns = 2 * SECOND_NS
    sleep(machine, 3.5)
    return machine


def write(machine: Machine, file_id: int, start_mib: int, length_mib: int) -> None:
    """write() in pieces of 64 KiB."""
    for offset in range(start_mib * MIB, (start_mib + length_mib) * MIB, 65536):
        assert machine.rooms.files.write(file_id, offset, 65536) == 65536


@pytest.mark.parametrize("kernel", [601, 612])
def test_below_the_background_limit_nothing_is_written_and_above_it_whole_chunks_are(
    kernel: int,
) -> None:
    machine = slow_disk(kernel)
    file_id = machine.rooms.files.open("/w1", CREATE, FOR_WRITING)
    write(machine, file_id, 0, 8)
    assert (machine.count("nr_dirty"), machine.count("pgpgout")) == (2048, 0)
    write(machine, file_id, 8, 16)
    # as two real kernels: two chunks of 1024 pages, then it is below the limit again
    assert machine.count("nr_dirty") == 4096
    assert machine.count("pgpgout") == 8192
    machine.verify()


def test_an_unfinished_file_is_written_out_5_s_later_on_6_1_and_one_chunk_of_it_on_6_12() -> None:
    left = {}
    for kernel in (601, 612):
        machine = slow_disk(kernel)
        file_id = machine.rooms.files.open("/w1", CREATE, FOR_WRITING)
        write(machine, file_id, 0, 24)
        dirty = machine.count("nr_dirty")
        sleep(machine, 7)
        left[kernel] = dirty - machine.count("nr_dirty")
        assert dirty == 4096
    # metadata pages, fewer than ten, became dirty meanwhile; expiry (30 s) has no part in this
    assert 4096 - 10 <= left[601] <= 4096
    assert 1024 - 10 <= left[612] <= 2048
    assert left[612] % 1024 == 0 or left[612] % 1024 > 1014


def test_a_first_file_below_every_limit_is_written_by_the_first_timer() -> None:
    # no write has completed yet, so the device's share of the background limit is nothing
    machine = slow_disk(601)
    file_id = machine.rooms.files.open("/w1", CREATE, FOR_WRITING)
    write(machine, file_id, 0, 1)
    sleep(machine, 4.9)
    assert machine.count("nr_dirty") == 256
    sleep(machine, 0.5)
    assert machine.count("nr_dirty") <= 7


def test_fsync_writes_the_file_and_one_small_commit() -> None:
    machine = slow_disk(601)
    files = machine.rooms.files
    file_id = files.open("/w1", CREATE, FOR_WRITING)
    write(machine, file_id, 0, 4)
    files.fsync(file_id)
    assert files.file(file_id).mapping.nr_dirty == 0
    assert machine.count("nr_writeback") == 0
    journal_kib = machine.count("pgpgout") - 4096
    assert 4 <= journal_kib <= 20
    before = machine.count("pgpgout")
    files.fsync(file_id)
    assert machine.count("pgpgout") == before
    machine.verify()


def test_sync_leaves_nothing_dirty_and_counts_every_page_once() -> None:
    machine = slow_disk(612)
    files = machine.rooms.files
    file_id = files.open("/w1", CREATE, FOR_WRITING)
    write(machine, file_id, 0, 4)
    files.sync()
    assert machine.count("nr_dirty") == machine.count("nr_writeback") == 0
    assert machine.count("nr_zone_write_pending") == 0
    assert machine.count("nr_written") == machine.count("nr_dirtied")
    machine.verify()


def test_a_writer_faster_than_its_disk_is_held_near_the_limits() -> None:
    machine = slow_disk(601, dirty_ratio=5, dirty_background_ratio=2)
    files = machine.rooms.files
    file_id = files.open("/w1", CREATE, FOR_WRITING)
    started_ns = machine.clock.now_ns
    write(machine, file_id, 0, 48)
    limits = machine.rooms.limits
    limits.domain_dirty_limits()
    # what the writer dirtied since it last had to look comes on top of the limit
    since = int(machine.rooms.throttle.dirty.nr_dirtied)
    assert since < 200
    assert limits.wb_dirty() - since <= limits.hard_dirty_limit()
    # 48 MiB less what may stay dirty, at 16 MiB/s
    assert machine.clock.now_ns - started_ns > 2 * SECOND_NS
    assert machine.clock.stall_ns[3] > 1 * SECOND_NS


def test_thresholds_are_shares_of_dirtyable_memory_not_of_ram() -> None:
    machine = build(601)
    limits = machine.rooms.limits
    limits.domain_dirty_limits()
    available = machine.count("nr_free_pages") - int(machine.page_alloc.zones.totalreserve_pages)
    available += machine.count("nr_inactive_file") + machine.count("nr_active_file") + 1
    assert limits.thresh == available * (20 * 4096 // 100) // 4096
    assert limits.bg_thresh == available * (10 * 4096 // 100) // 4096
    machine.lru.tunables.dirty_bytes = 10 * MIB
    limits.domain_dirty_limits()
    assert limits.thresh == 2560
    assert limits.bg_thresh == 1280  # never above half of it


def test_a_partial_write_of_an_uncached_page_reads_it_first() -> None:
    machine = build()
    files = machine.rooms.files
    files.declare("/f1", MIB)
    file_id = files.open("/f1", 0, FOR_WRITING)
    before = machine.count("pgpgin")
    files.write(file_id, 8192 + 100, 200)
    assert machine.count("pgpgin") - before == 4
    files.write(file_id, 5 * 4096, 4096)
    assert machine.count("pgpgin") - before == 4
