"""Compaction and huge pages of whole machines: frames move, and nothing else changes."""

from __future__ import annotations

import random

import pytest
from tests.machine.scenarios import description, runner_of

from memtwin.machine.config import config_from_text
from memtwin.machine.machine import Machine
from memtwin.machine.process import Process
from memtwin.page.flags import NR_PAGE_ORDERS
from memtwin.page.gfp import GFP_COMP, GFP_KERNEL
from memtwin.page.tunables import THP_ALWAYS, THP_NEVER
from memtwin.workload.language import parse_script

PAGE = 4096


def machine_with(kernel: str, **more: str) -> Machine:
    return Machine(config_from_text(description(kernel, **more), "test_compaction"))


def punched(machine: Machine, size_pages: int, seed: int) -> tuple[Process, int, list[int]]:
    """A process whose area has holes at random pages, alone and in small runs: what stays."""
    dice = random.Random(seed)
    process = machine.spawn("p")
    area = process.mmap(size_pages * PAGE)
    process.touch(area, size_pages)
    kept = set(range(size_pages))
    for _ in range(size_pages // 6):
        first = dice.randrange(size_pages)
        count = min(dice.choice((1, 1, 2, 5)), size_pages - first)
        process.madvise(area + first * PAGE, count * PAGE, "dontneed")
        kept -= set(range(first, first + count))
    return process, area, sorted(kept)


def large_free(machine: Machine, order: int) -> int:
    """Free pages in blocks of at least `order`, those on per-CPU lists not counted."""
    nr_free = machine.kernel.page_alloc.buddy.nr_free
    return sum(nr_free[row] << row % NR_PAGE_ORDERS
               for row in range(len(nr_free)) if row % NR_PAGE_ORDERS >= order)  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_compacting_moves_pages_and_their_process_sees_no_difference(
    kernel: str, seed: int
) -> None:
    machine = machine_with(kernel)
    process, area, kept = punched(machine, 10_000, seed)
    machine.kernel.page_alloc.drain_all_pages()
    resident = process.task.space().get_rss()
    before, figures = large_free(machine, 6), machine.figures()
    machine.sysctl("vm.compact_memory", "1")
    machine.verify()
    after = machine.figures()
    assert after["pgmigrate_success"] > 100
    assert after["compact_isolated"] >= 2 * after["pgmigrate_success"]
    assert after["nr_anon_pages"] == figures["nr_anon_pages"] == len(kept)
    assert after["nr_isolated_anon"] == 0
    machine.kernel.page_alloc.drain_all_pages()
    assert large_free(machine, 6) > before
    assert process.task.space().get_rss() == resident
    faults = machine.figures()["pgfault"]
    process.touch(area, kept)
    assert machine.figures()["pgfault"] == faults, "every page is still mapped"


def test_file_locked_and_swap_cache_pages_move_with_all_that_points_at_them() -> None:
    machine = machine_with("6.1", swap="disk:64M")
    runner = runner_of(machine)
    script = """start p
    @p mmap l anon 2M
    @p mlock l
    @p open f /data/a
    @p read f 0 12M
    @p mmap a anon 40M
    @p touch a w seq 0 10240
    @p touch a r seq 0 10240
    @p madvise a dontneed 2048 6000"""
    runner.run(parse_script(script.splitlines()))
    locked = machine.figures()["nr_mlock"]
    machine.sysctl("vm.compact_memory", "1")
    machine.verify()
    figures = machine.figures()
    assert figures["pgmigrate_success"] > 0
    assert figures["nr_mlock"] == locked
    process = runner.workers["p"].process
    area, _ = runner.workers["p"].areas["a"]
    process.touch(area, 10_240, "r")
    machine.verify()
    process.kill()
    machine.sync()
    machine.drop_caches("1")
    machine.verify()


def test_a_request_for_a_large_block_is_met_by_compaction() -> None:
    machine = machine_with("6.1")
    process, _, _ = punched(machine, 13_000, 7)
    kernel = machine.kernel
    kernel.page_alloc.drain_all_pages()
    taken = []
    while True:  # use up what large blocks there are
        pfn = kernel.page_alloc.alloc_fast(GFP_KERNEL | GFP_COMP, 7)
        if pfn < 0:
            break
        taken.append(pfn)
    pfn = kernel.slowpath.alloc_page(GFP_KERNEL | GFP_COMP, 7)
    assert pfn >= 0
    figures = machine.figures()
    assert figures["compact_stall"] >= figures["compact_success"] >= 1
    assert figures["pgmigrate_success"] > 0
    for block in [*taken, pfn]:
        kernel.page_alloc.put_page(block)
    machine.verify()
    process.kill()
    machine.verify()


def test_huge_pages_go_to_swap_and_come_back_small() -> None:
    machine = machine_with("6.1", swap="zram:128M", thp="always")
    process = machine.spawn("p")
    area = process.mmap("80M")
    process.touch(area, 20 * 1024)
    figures = machine.figures()
    assert figures["thp_swpout"] > 3
    assert figures["pswpout"] >= 512 * figures["thp_swpout"]
    assert figures["pgactivate"] < figures["pgscan_anon"] // 4, "they do not go round and round"
    machine.verify()
    process.touch(area, 4096, "r")
    assert machine.figures()["pswpin"] > 0
    machine.verify()
    process.kill()
    machine.verify()


def test_switching_huge_pages_on_raises_the_reserves_and_off_lowers_them() -> None:
    machine = machine_with("6.1", ram="256M")
    tunables = machine.kernel.tunables
    before, stacks = tunables.min_free_kbytes, machine.figures()["nr_kernel_stack"]
    machine.set_thp(THP_ALWAYS)
    # 5 % of what lies above the high watermarks
    assert 4 * before < tunables.min_free_kbytes < 256 * 1024 // 20
    assert machine.figures()["nr_kernel_stack"] == stacks + 16
    machine.set_thp(THP_NEVER)
    assert tunables.min_free_kbytes == before
    assert machine.figures()["nr_kernel_stack"] == stacks
    machine.sysctl("vm.min_free_kbytes", "20000")
    machine.set_thp(THP_ALWAYS)
    assert tunables.min_free_kbytes == 20000, "a larger value of the user's stays"
    machine.verify()
