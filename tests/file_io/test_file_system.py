"""Names, inodes, metadata and what dropping caches does to them; figures of a real 6.1 kernel."""

from __future__ import annotations

import pytest
from file_machine import Machine, build

from memtwin.errors import UserError
from memtwin.file_io.files import CREATE, FOR_WRITING, MUST_EXIST
from memtwin.file_io.geometry import Ext4Geometry
from memtwin.file_io.shrinkers import all_shrinkers
from memtwin.hardware.clock import STALL_SLEEP
from memtwin.reclaim.shrinker import Shrinkers

MIB = 1 << 20


def shrinkers_of(machine: Machine) -> Shrinkers:
    """All file shrinkers, registered."""
    found = Shrinkers(machine.vmstat)
    rooms = machine.rooms
    for shrinker in all_shrinkers(rooms.files, machine.lru.tunables, machine.page_alloc.zones):
        found.register(shrinker)
    return found


def active(machine: Machine, name: str) -> int:
    """Active objects of a cache, as slabinfo counts them."""
    machine.rooms.objects.settle()
    return int(machine.slub.cache(machine.slub.find(name)).active_objs())


def near(value: int, real: int) -> bool:
    """Within 5 % or 24 of what the real kernel showed."""
    return abs(value - real) <= max(24, real * 5 // 100)


def test_3000_small_files_cost_the_pages_and_objects_that_a_real_kernel_spent() -> None:
    machine = build(601)
    files = machine.rooms.files
    machine.rooms.flusher.sleep_until(3_500_000_000, STALL_SLEEP)
    assert files.mkfiles("/m", 3000, 4096) == 0
    assert near(machine.count("nr_file_pages"), 3216)
    assert near(int(machine.rooms.metadata.mapping.nr_pages), 214)
    assert near(machine.count("nr_active_file"), 217)
    assert machine.count("nr_dirty") == 3000
    for cache, real in (
        ("ext4_inode_cache", 3003),
        ("dentry", 3024),
        ("lsm_inode_cache", 2944),
        ("vmap_area", 3008),
        ("jbd2_journal_head", 850),
        ("buffer_head", 12831),
        ("ext4_extent_status", 5916),
    ):
        assert near(active(machine, cache), real), cache
    files.sync()
    assert near(machine.count("pgpgout"), 13746 - 72)
    assert near(machine.count("nr_dirtied"), 3212)
    assert machine.count("nr_dirtied") == machine.count("nr_written")
    machine.verify()


def test_dropping_caches_frees_clean_pages_first_and_metadata_once_the_journal_let_go() -> None:
    machine = build(601)
    files, metadata = machine.rooms.files, machine.rooms.metadata
    shrinkers = shrinkers_of(machine)
    machine.rooms.flusher.sleep_until(3_500_000_000, STALL_SLEEP)
    files.mkfiles("/m", 3000, 4096)
    files.sync()
    files.drop_pagecache()
    assert near(int(metadata.mapping.nr_pages), 223)  # the journal still holds them
    shrinkers.drop_slab()
    assert near(machine.count("slabs_scanned"), 10854 - 732)  # less other file systems' objects
    assert active(machine, "ext4_inode_cache") < 100
    assert near(active(machine, "jbd2_journal_head"), 306)
    assert files.statfiles("/m", 3000) == 0
    assert near(active(machine, "ext4_inode_cache"), 3003)
    assert machine.count("pgpgin") < 100  # inode blocks were still cached
    files.drop_pagecache()
    assert near(int(metadata.mapping.nr_pages), 12)
    machine.verify()


def test_inodes_come_back_from_disk_in_runs_of_32_blocks() -> None:
    machine = build(601)
    files = machine.rooms.files
    shrinkers = shrinkers_of(machine)
    files.mkfiles("/m", 400, 0)
    files.sync()
    shrinkers.drop_slab()
    files.drop_pagecache()
    before = machine.count("pgpgin")
    files.statfiles("/m", 400)
    read_kib = machine.count("pgpgin") - before
    # 400 inodes of 256 bytes, their directory's leaves and index; readahead rounds up, the pages of
    # the 16 buffers used last never left
    assert 108 - 4 * 16 <= read_kib <= 108 + 32
    assert read_kib > 60
    machine.verify()


def test_removed_files_give_back_their_objects_and_numbers() -> None:
    machine = build(601)
    files = machine.rooms.files
    files.mkfiles("/m", 200, 4096)
    inodes = len(machine.rooms.inodes.inodes)
    assert files.rmfiles("/m", 200) == 0
    assert len(machine.rooms.inodes.inodes) == inodes - 200
    assert machine.count("nr_dirty") == 0
    assert files.mkfiles("/m", 200, 4096) == 0
    assert len(machine.rooms.inodes.inodes) == inodes
    machine.verify()


def test_old_transactions_commit_by_themselves_and_a_full_journal_is_checkpointed() -> None:
    machine = build(601, disk_mib=20)  # a journal of 1024 blocks
    files, journal = machine.rooms.files, machine.rooms.journal
    files.mkfiles("/m", 3000, 0)
    assert journal.nr_commits >= 3
    assert journal.nr_used <= journal.nr_blocks
    commits = journal.nr_commits
    machine.rooms.flusher.sleep_until(machine.clock.now_ns + 7_000_000_000, STALL_SLEEP)
    assert journal.nr_commits == commits + 1
    assert not journal.running
    machine.verify()


def test_the_layout_is_that_of_mke2fs_for_small_and_large_devices() -> None:
    small = Ext4Geometry(192 * MIB)
    assert (small.block_bytes, small.nr_groups, small.inodes_per_group) == (1024, 24, 2048)
    assert (small.nr_inodes, small.journal_blocks()) == (49152, 4096)
    assert small.inode_block(1) == small.itable(0)
    assert small.inode_block(2049) == small.itable(0) + 512
    large = Ext4Geometry(8 << 30)
    assert (large.block_bytes, large.nr_groups, large.inodes_per_group) == (4096, 64, 8192)


def test_a_directory_in_the_way_and_a_path_without_name_are_users_errors() -> None:
    machine = build()
    files = machine.rooms.files
    files.open("/f", CREATE, FOR_WRITING)
    with pytest.raises(UserError, match="is not a directory"):
        files.open("/f/g", CREATE, FOR_WRITING)
    with pytest.raises(UserError, match="a name below the root"):
        files.open("/", MUST_EXIST, FOR_WRITING)
