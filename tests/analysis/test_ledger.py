"""The ledger's rows are each what the twin's own frames say, and always sum to MemTotal."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memtwin.analysis.census import beside_ledger, take_census
from memtwin.analysis.ledger import UNACCOUNTED, Ledger, ledger_changes, make_ledger
from memtwin.columns import array
from memtwin.errors import UserError
from memtwin.machine.machine import Machine
from memtwin.observe import TextSource
from memtwin.observe.ledger_texts import read_ledger_counters
from memtwin.observe.meminfo import parse_meminfo, render_meminfo
from memtwin.observe.twin.kpage import mapped_times, twin_frames
from memtwin.observe.vmstat import parse_vmstat, render_vmstat
from memtwin.page import flags as pg
from memtwin.process.kernel_objects import LARGE
from memtwin.units import PAGE_SIZE
from memtwin.workload.language import parse_script


def _module(path: Path) -> ModuleType:
    name = f"ledger_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_TESTS = Path(__file__).parent.parent
scenarios = _module(_TESTS / "machine" / "scenarios.py")
starts = _module(_TESTS / "observe" / "starts.py")


def ledger_of(machine: Machine) -> Ledger:
    return make_ledger(read_ledger_counters(machine.texts))


def pages(ledger: Ledger, *names: str) -> int:
    return sum(row.pages for row in ledger.rows if row.row in names)


def owners(machine: Machine) -> dict[str, int]:
    """Ledger row -> frames, from the rows of mem_map alone: no counter of the twin is asked."""
    page_alloc, mem = machine.kernel.page_alloc, machine.kernel.mem
    flags, order = array(mem.flags), array(mem.order).astype(np.int64)
    head = np.where(
        flags & pg.PG_TAIL != 0, np.arange(mem.nr_frames) & ~((1 << order) - 1), range(len(flags))
    )
    of_head, used = flags[head], array(mem.refcount)[head] > 0
    in_cache = used & (array(mem.mapping)[head] != 0)  # a free frame's mapping is stale
    mapped = mapped_times(page_alloc) > 0

    def blocks(bit: int) -> int:
        return int((1 << order[flags & bit != 0]).sum())

    def single(bit: int) -> int:
        return int((flags & bit != 0).sum())

    anonymous = (of_head & pg.PG_ANON != 0) & mapped
    swapped = (of_head & pg.PG_SWAPCACHE != 0) & ~anonymous
    cached = in_cache & (of_head & (pg.PG_ANON | pg.PG_SWAPCACHE) == 0)
    cached &= flags & (pg.PG_BUDDY | pg.PG_PCP | pg.PG_SLAB | pg.PG_TABLE) == 0
    shmem = cached & (of_head & pg.PG_SWAPBACKED != 0)
    deferred = sum(z.deferred_end_pfn - z.deferred_start_pfn for z in page_alloc.zones.zones)
    return {
        "free": blocks(pg.PG_BUDDY) + deferred,
        "free_on_cpus": blocks(pg.PG_PCP),
        "anonymous": int(anonymous.sum()),
        "swap_cache": int(swapped.sum()),
        "shmem": int(shmem.sum()),
        "file": int((cached & ~shmem).sum()),
        "slab": blocks(pg.PG_SLAB) + _large_kmalloc_pages(machine),
        "page_tables": single(pg.PG_TABLE),
        "kernel_stacks": single(pg.PG_KSTACK),
        "zsmalloc": single(pg.PG_ZSPAGE),
    }


def _large_kmalloc_pages(machine: Machine) -> int:
    """Whole blocks that kmalloc() gave: counted as slab, marked as nothing."""
    objects = machine.kernel.kernel_objects.objects.values()
    return sum(1 << (-(-o.size_bytes // PAGE_SIZE) - 1).bit_length()
               for o in objects if o.kind == LARGE)  # fmt: skip


_EXACT = {
    "free": ("free", "free_cma"),
    "free_on_cpus": ("free_on_cpus",),
    "anonymous": ("anonymous",),
    "shmem": ("shmem",),
    "file": ("file", "buffers"),
    "slab": ("slab_reclaimable", "slab_unreclaimable"),
    "zsmalloc": ("zsmalloc",),
}
BATCH_PAGES = 15  # mm/swap.c PAGEVEC_SIZE, v6.1: each of a CPU's batches holds so many at most


@pytest.mark.parametrize("name", scenarios.SCENARIOS)
def test_each_row_is_what_the_twins_frames_say_after_every_command(name: str) -> None:
    machine = scenarios.machine_of(name)
    runner = scenarios.runner_of(machine)
    for command in parse_script(scenarios.SCENARIOS[name].script.splitlines()):
        runner.run_one(command)
        ledger, truth = ledger_of(machine), owners(machine)
        for row, rows in _EXACT.items():
            assert pages(ledger, *rows) == truth[row], (command.text(), row)
        alone = ledger.row("swap_cache")
        assert alone is not None
        assert alone.low_pages <= truth["swap_cache"] <= alone.high_pages, command.text()
        batches = BATCH_PAGES * machine.config.nr_cpus
        assert truth["swap_cache"] - alone.pages <= batches, command.text()
        # uncounted by the kernel too: top levels of page tables
        tables = truth["page_tables"] - pages(ledger, "page_tables")
        stacks = truth["kernel_stacks"] - pages(ledger, "kernel_stacks")
        # of each process its PGD, and a PUD table where it has mappings and where it has a heap
        assert 0 <= tables <= 3 * len(machine.processes), command.text()
        assert stacks in (0, 4, 8), command.text()
        areas = machine.kernel.kernel_objects.vmalloc_pages  # their frames bear no mark
        rest = ledger.total_pages - sum(truth.values()) - areas
        missed = truth["swap_cache"] - alone.pages
        # a stack kept for the next task is vmalloc's still, and no task's
        assert pages(ledger, "vmalloc") == stacks + areas, command.text()
        assert pages(ledger, UNACCOUNTED) == rest + tables + missed, command.text()


@pytest.mark.parametrize("name", ["shared", "huge_pages", "swap_disk", "swap_zram", "files"])
def test_a_census_of_the_twins_flags_agrees_with_its_ledger(name: str) -> None:
    machine = scenarios.machine_of(name)
    runner = scenarios.runner_of(machine)
    for command in parse_script(scenarios.SCENARIOS[name].script.splitlines()):
        runner.run_one(command)
        ledger = ledger_of(machine)
        census = take_census([twin_frames(machine.kernel.page_alloc)])
        assert sum(census.rows.values()) == census.frames == machine.kernel.mem.nr_frames
        found = {row.row: row for row in beside_ledger(census, ledger, ledger)}
        for row in ("free", "slab"):
            assert found[row].difference_pages == 0, (command.text(), row)
        unlisted = BATCH_PAGES * machine.config.nr_cpus
        for row in ("anonymous", "file", "shmem"):
            if row in found:
                assert abs(found[row].difference_pages or 0) <= unlisted, (command.text(), row)
        assert census.mapped["free"] == 0


def test_flags_of_a_head_reach_its_tails_across_chunks() -> None:
    machine = scenarios.machine_of("huge_pages")
    program = machine.spawn("p")
    area = program.mmap("8M")
    program.touch(area, 2048)
    whole = twin_frames(machine.kernel.page_alloc)
    cut = 300  # within a huge page
    pieces = [
        whole._replace(flags=whole.flags[at : at + cut], counts=None, cgroups=None)
        for at in range(0, len(whole.flags), cut)
    ]
    assert take_census(pieces).rows == take_census([whole]).rows
    assert take_census(pieces).mapped_often is None


@pytest.mark.parametrize("name", starts.NAMES)
def test_the_ledger_of_a_recorded_start_closes(name: str) -> None:
    ledger = make_ledger(read_ledger_counters(TextSource(starts.start_texts(name))))
    assert sum(row.pages for row in ledger.rows) == ledger.total_pages
    assert ledger.page_bytes == 4096
    assert 0 < pages(ledger, UNACCOUNTED) < ledger.total_pages // 10
    outside = {row.row: row.pages for row in ledger.outside}
    assert all(count >= 0 for count in outside.values())


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_rows_sum_to_mem_total_whatever_the_counters_say(data: st.DataObject) -> None:
    texts = dict(starts.start_texts(data.draw(st.sampled_from(starts.NAMES))))
    drop = data.draw(st.sets(st.sampled_from(["/proc/vmstat", "/proc/zoneinfo"])))
    info = parse_meminfo(texts["/proc/meminfo"])
    vm = parse_vmstat(texts["/proc/vmstat"])
    for name in data.draw(st.sets(st.sampled_from(sorted(vm.figures)), max_size=12)):
        vm.figures[name] = data.draw(st.integers(0, 1 << 40))
    for name in data.draw(st.sets(st.sampled_from(["percpu_kib", "vmalloc_used_kib"]))):
        setattr(info, name, data.draw(st.integers(0, 1 << 40)))
    texts["/proc/meminfo"], texts["/proc/vmstat"] = render_meminfo(info), render_vmstat(vm)
    for path in drop:
        del texts[path]
    ledger = make_ledger(read_ledger_counters(TextSource(texts)))
    assert sum(row.pages for row in ledger.rows) == ledger.total_pages
    assert all(
        row.pages >= 0 for row in ledger.rows if row.row not in (UNACCOUNTED, "file", "free")
    )


def test_a_source_without_meminfo_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="/proc/meminfo: found no such text"):
        read_ledger_counters(TextSource({}))


def test_a_machine_of_larger_pages_is_counted_in_its_own_pages() -> None:
    texts = dict(starts.start_texts("6.12"))
    info = parse_meminfo(texts["/proc/meminfo"])
    for field in ("mem_total_kib", "mem_free_kib", "anon_pages_kib", "cached_kib", "slab_kib"):
        setattr(info, field, (getattr(info, field) or 0) * 16)
    texts["/proc/meminfo"] = render_meminfo(info)
    assert read_ledger_counters(TextSource(texts)).page_bytes == 65536


def test_changes_of_all_rows_sum_to_what_mem_total_gained() -> None:
    machine = scenarios.machine_of("swap_zram")
    before = ledger_of(machine)
    runner = scenarios.runner_of(machine)
    for command in parse_script(scenarios.SCENARIOS["swap_zram"].script.splitlines()[:5]):
        runner.run_one(command)
    changes = ledger_changes(before, ledger_of(machine), 2.0)
    assert sum(change.change_pages for change in changes) == 0
    anonymous = next(change for change in changes if change.row == "anonymous")
    assert anonymous.pages_per_s == anonymous.change_pages / 2.0 > 0


def test_the_first_chunk_of_percpu_memory_is_not_counted_as_part_of_mem_total() -> None:
    texts = dict(starts.start_texts("6.12"))
    whole = read_ledger_counters(TextSource(texts))
    log = "setup_percpu: NR_CPUS:64 nr_cpu_ids:2 nr_node_ids:1\npercpu: Embedded 53 pages/cpu s1"
    known = read_ledger_counters(TextSource(texts), log)
    assert known.outside.percpu_first_chunk == 106
    all_of_it = (whole.meminfo.percpu_kib or 0) // 4
    assert pages(make_ledger(whole), "percpu") == all_of_it
    assert pages(make_ledger(known), "percpu") == max(all_of_it - 106, 0)
