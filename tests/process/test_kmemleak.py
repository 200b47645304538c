"""Objects of kernel code, and kmemleak's scan of them: against a naive model, on random graphs."""

from __future__ import annotations

import random
import zlib

import pytest
from tests.machine.scenarios import held, runner_of

from memtwin.errors import UserError
from memtwin.machine.config import load_machine
from memtwin.machine.machine import Machine
from memtwin.machine.slab_caches import shipped_caches
from memtwin.process.kernel_objects import PAGE_OFFSET, VMALLOC_START, calculate_order
from memtwin.units import PAGE_SIZE
from memtwin.workload.language import parse_script
from memtwin.workload.runner import Runner

SCAN = "echo scan /sys/kernel/debug/kmemleak"
AGE = "sleep 6000"
HEAD = ["echo scan=off /sys/kernel/debug/kmemleak", "insmod m", "start P"]


def machine() -> Machine:
    return Machine(load_machine("board-128m"))


def run(lines: list[str], on: Machine | None = None) -> Runner:
    runner = runner_of(on or machine())
    runner.run(parse_script([*HEAD, *lines]))
    return runner


def leaks(runner: Runner) -> list[int]:
    """Lines whose objects the report names, one for each object."""
    return [
        int(one.object.trace[-1].split()[0].removeprefix("line_"))
        for one in runner.machine.kernel.kmemleak.leaks()
    ]


def first(*lines: str) -> list[str]:
    """Lines, then two scans, far enough apart for everything to be old and unchanged."""
    return [*lines, AGE, SCAN, SCAN]


def test_an_object_that_nothing_points_to_is_named_and_one_that_a_module_keeps_is_not() -> None:
    runner = run(first("@P kmalloc m.a 100", "@P kmalloc m.b 100", "@P kstore m.b NULL"))
    assert leaks(runner) == [5]
    assert "kmemleak: 1 new suspected memory leaks" in runner.machine.kernel.dmesg[-1]


def test_a_chain_is_kept_by_its_head_alone_and_a_pointer_inside_counts() -> None:
    chain = ["@P kmalloc m.a 64", "@P kmalloc m.a[8] 64", "@P kmalloc m.a[8][0] 5000"]
    assert leaks(run(first(*chain))) == []
    assert leaks(run(first(*chain, "@P kstore m.a m.a+40"))) == []
    assert leaks(run(first(*chain, "@P kstore m.a NULL"))) == [4, 5, 6]


def test_two_objects_that_point_to_each_other_are_lost_and_one_that_points_to_itself_too() -> None:
    loop = ["@P kmalloc m.a 64", "@P kmalloc m.b 64", "@P kstore m.a[0] m.b"]
    loop += ["@P kstore m.b[0] m.a", "@P kstore m.a NULL", "@P kstore m.b NULL"]
    assert leaks(run(first(*loop))) == [4, 5]
    alone = ["@P kmalloc m.a 64", "@P kstore m.a[8] m.a", "@P kstore m.a NULL"]
    assert leaks(run(first(*alone))) == [4]


def test_a_young_object_is_not_named_before_its_five_seconds() -> None:
    lost = ["@P kmalloc m.a 64", "@P kstore m.a NULL"]
    assert leaks(run([*lost, SCAN, "sleep 4990", SCAN])) == []
    assert leaks(run([*lost, SCAN, "sleep 5000", SCAN])) == [4]


def test_an_object_that_changed_since_the_last_scan_is_gray_until_the_next() -> None:
    lost = ["@P kmalloc m.a 64", "@P kwrite m.a[0] packet", "@P kstore m.a NULL", AGE]
    assert leaks(run([*lost, SCAN])) == []
    assert leaks(run([*lost, SCAN, SCAN])) == [4]
    zeros = ["@P kmalloc m.a 64", "@P kstore m.a NULL", AGE, SCAN]
    assert leaks(run(zeros)) == [4]  # a checksum of 0, which is what it begins with


def test_the_checksum_is_the_kernels_crc32_of_the_content() -> None:
    runner = run(first("@P kmalloc m.a 16", "@P kwrite m.a[0] abc", "@P kstore m.a NULL"))
    [one] = runner.machine.kernel.kmemleak.leaks()
    content, crc = b"abc" + bytes(13), 0
    for byte in content:  # bit by bit, as the polynomial says
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    assert one.checksum == crc
    assert one.checksum != zlib.crc32(content)


def test_what_is_painted_gray_is_no_leak_and_keeps_what_it_points_to_and_black_does_not() -> None:
    lines = ["@P kmalloc m.a 64", "@P kmalloc m.a[0] 64", "{}", "@P kstore m.a NULL"]

    def with_paint(how: str) -> list[int]:
        painted = [line.format(f"@P kmemleak {how} m.a") for line in lines]
        return leaks(run(first(*painted)))

    assert with_paint("not_leak") == []
    assert with_paint("ignore") == [5]
    assert with_paint("no_scan") == [4, 5]


def test_an_unloaded_module_leaves_what_only_it_pointed_to() -> None:
    lines = ["@P kmalloc m.a 64", "@P kmalloc kernel.b 64", "@P vmalloc m.v 1M", "rmmod m"]
    assert leaks(run(first(*lines))) == [4, 6]


def test_a_tasks_stack_keeps_an_object_while_the_task_lives_and_stacks_are_scanned() -> None:
    lines = ["@P kmalloc stack.a 64"]
    assert leaks(run(first(*lines))) == []
    assert leaks(run(first(*lines, "echo stack=off /sys/kernel/debug/kmemleak"))) == [4]
    assert leaks(run(first(*lines, "@P exit"))) == [4]


def test_a_cleared_leak_is_not_named_again_and_a_freed_one_neither() -> None:
    lost = first("@P kmalloc m.a 64", "@P kstore m.kept m.a", "@P kstore m.a NULL")
    lost += ["@P kmalloc m.b 64", "@P kstore m.b NULL", AGE, SCAN, SCAN]
    assert leaks(run(lost)) == [10]
    assert leaks(run([*lost, "echo clear /sys/kernel/debug/kmemleak", SCAN])) == []
    kept = first("@P kmalloc m.a 64", "@P kmemleak no_scan m.a", "rmmod m", "insmod m")
    assert leaks(run(kept)) == [4]


def test_the_thread_scans_a_minute_after_boot_and_every_ten_minutes() -> None:
    runner = runner_of(machine())
    lines = ["insmod m", "start P", "@P kmalloc m.a 64", "@P kstore m.a NULL", "sleep 59000"]
    runner.run(parse_script(lines))
    assert leaks(runner) == []
    runner.run(parse_script(["sleep 2000"]))
    assert leaks(runner) == [3]
    rest = ["start P", "@P kmalloc m.b 64", "@P kstore m.b NULL", "sleep 598000"]
    runner.run(parse_script(rest)[1:])
    assert leaks(runner) == [3]
    runner.run(parse_script(["sleep 2000"]))
    assert leaks(runner) == [3, 2]


def graph(seed: int) -> tuple[list[str], dict[int, list[int]], set[int], dict[int, str]]:
    """Lines, and by line of an object: what it points to; what variables keep; what is painted."""
    draw = random.Random(seed)
    lines, made = list[str](), list[int]()
    for n in range(draw.randint(2, 20)):
        kind = draw.choice(["kmalloc m.v{} 64", "kmalloc m.v{} 20K", "vmalloc m.v{} 9K",
                            "kmem_cache_alloc m.v{} filp"])  # fmt: skip
        lines.append("@P " + kind.format(n))
        made.append(len(HEAD) + len(lines))
    words: dict[tuple[int, int], int] = {}
    for _ in range(draw.randint(0, 2 * len(made))):
        holder, to = draw.randrange(len(made)), draw.randrange(len(made))
        place, plus = draw.choice([0, 8, 56]), draw.choice([0, 0, 8, 63])
        lines.append(f"@P kstore m.v{holder}[{place}] m.v{to}" + (f"+{plus}" if plus else ""))
        words[holder, place] = to
    painted = {}
    for n in range(len(made)):
        if draw.random() < 0.1:
            painted[made[n]] = draw.choice(["not_leak", "ignore", "no_scan"])
            lines.append(f"@P kmemleak {painted[made[n]]} m.v{n}")
    kept = {n for n in range(len(made)) if draw.random() < 0.25}
    lines += [f"@P kstore m.v{n} NULL" for n in range(len(made)) if n not in kept]
    points = {line: list[int]() for line in made}
    for (holder, _), to in words.items():
        points[made[holder]].append(made[to])
    return lines, points, {made[n] for n in kept}, painted


@pytest.mark.parametrize("seed", range(150))
def test_random_graphs_leak_what_a_walk_from_the_roots_does_not_reach(seed: int) -> None:
    lines, points, kept, painted = graph(seed)
    runner = run(first(*lines))
    reached = kept | {line for line, how in painted.items() if how == "not_leak"}
    closed = {line for line, how in painted.items() if how in ("ignore", "no_scan")}
    grown = True
    while grown:
        found = {to for line in reached - closed for to in points[line]}
        grown = not found <= reached
        reached |= found
    ignored = {line for line, how in painted.items() if how == "ignore"}
    assert set(leaks(runner)) == points.keys() - reached - ignored
    runner.machine.verify()


@pytest.mark.parametrize("seed", range(20))
def test_what_kernel_code_takes_it_gives_back_to_the_page(seed: int) -> None:
    on, draw = machine(), random.Random(seed)
    caches = on.kernel.slub.caches
    before = held(on), [int(cache.inuse) for cache in caches]
    lines, live = list[str](), list[tuple[str, str]]()
    for n in range(120):
        if live and draw.random() < 0.4:
            name, free = live.pop(draw.randrange(len(live)))
            lines.append(f"@P {free} m.{name}")
        else:
            size = draw.choice([1, 64, 100, 3000, 8192, 8193, 100_000])
            verb, free = draw.choice([("kmalloc", "kfree"), ("vmalloc", "vfree")])
            lines.append(f"@P {verb} m.v{n} {size}")
            live.append((f"v{n}", free))
    runner = run(lines, on)
    on.verify()
    assert on.kernel.kernel_objects.objects
    runner.run(parse_script(["start P", *(f"@P {free} m.{name}" for name, free in live)])[1:])
    on.verify()
    assert not on.kernel.kernel_objects.objects
    assert on.kernel.kernel_objects.vmalloc_pages == 0
    runner.workers["P"].process.kill()
    on.sync()
    on.drop_caches("3")
    # slabs without objects may stay with their caches, and a dead task's stack with its CPU
    assert [int(cache.inuse) for cache in caches] == before[1]
    assert held(on) == before[0]
    on.verify()


@pytest.mark.parametrize(
    ("take", "give", "pages"),
    [
        ("@P vmalloc m.v{} 4M", "@P vfree m.v{}", 1024),
        ("@P kmalloc m.v{} 1M", "@P kfree m.v{}", 256),
    ],
)
def test_pages_of_large_objects_are_free_again(take: str, give: str, pages: int) -> None:
    on = machine()
    runner = run([], on)
    free_before = on.figures()["nr_free_pages"]
    runner.run(parse_script(["start P", *(take.format(n) for n in range(3))])[1:])
    assert 3 * pages <= free_before - on.figures()["nr_free_pages"] <= 3 * pages + 64
    runner.run(parse_script(["start P", *(give.format(n) for n in range(3))])[1:])
    on.kernel.page_alloc.drain_all_pages()
    assert abs(free_before - on.figures()["nr_free_pages"]) <= 64


def test_addresses_lie_where_the_kernel_maps_them() -> None:
    runner = run(["@P kmalloc m.a 64", "@P kmalloc m.b 64", "@P vmalloc m.v 1", "@P vmalloc m.w 1"])
    values = runner.machine.kernel.kernel_objects.variables["m"]
    assert values["a"] >= PAGE_OFFSET
    assert values["b"] - values["a"] == 64
    assert values["v"] == VMALLOC_START
    assert values["w"] - values["v"] == 8192  # a page, and a guard page
    assert runner.machine.kernel.kernel_objects.vmalloc_pages == 2


@pytest.mark.parametrize("kernel", [601, 612])
def test_a_new_cache_gets_the_order_that_kernels_of_one_cpu_gave_every_cache(kernel: int) -> None:
    caches = shipped_caches(kernel)
    assert len(caches) > 150
    for name, (size_bytes, order, objects) in caches.items():
        assert calculate_order(size_bytes, 1) == order, name
        assert (PAGE_SIZE << order) // size_bytes == objects, name


def test_when_memory_is_out_the_oom_killer_is_asked_and_then_null_is_stored() -> None:
    runner = run(["start Q", "@Q mmap a anon 20M", "@Q touch a w seq 0 5120", "repeat 40",
                  "@P vmalloc m.v 4M", "end"])  # fmt: skip
    assert any("Out of memory" in line for line in runner.machine.kernel.dmesg)
    runner.machine.verify()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("@P kmalloc a 64", "owners are stack, kernel, m"),
        ("@P kmalloc m.a 0", "at least 1 byte"),
        ("@P kfree m.a", "nothing was stored in yet"),
        ("@P kmalloc m.a 64\n@P kfree m.a+8", "nothing begins there"),
        ("@P kmalloc m.a 64\n@P vfree m.a", "allowed is the start of an object of vmalloc"),
        ("@P kmalloc m.a 64\n@P kfree m.a\n@P kfree m.a", "nothing begins there"),
        ("@P kmalloc m.a 64\n@P kstore m.a[64] NULL", "whole, aligned word of an allocated"),
        ("@P kmem_cache_alloc m.a nothing", "this machine does not have"),
        ("@P kmem_cache_create filp 8", "found cache 'filp' twice"),
        ("@P kmem_cache_create x 1M", "8 to 32K"),
        ("@P kmalloc m.a 16\n@P kwrite m.a[8] much too long", "allowed are 8"),
        ("@P kmemleak paint m.a", "not_leak|ignore|no_scan"),
        ("insmod m", "one that is not loaded"),
        ("rmmod n", "loaded are m"),
        ("echo off /sys/kernel/debug/kmemleak", "allowed is scan, clear"),
    ],
)
def test_a_wrong_line_is_named_with_what_is_allowed(line: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        run(line.split("\n"))
    assert said in str(error.value)
    assert f"line {len(HEAD) + line.count(chr(10)) + 1}" in str(error.value)
