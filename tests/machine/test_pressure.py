"""Pressure of made-up stretches, against a naive count of nanoseconds and the kernel's averages."""

from __future__ import annotations

from random import Random

from memtwin.machine.pressure import PERIOD_NS, PressureGroup, Stretch

FIELDS = Stretch._fields


def naive(stretches: list[Stretch], end: int) -> dict[tuple[str, bool], int]:
    """Each moment by itself, as kernel/sched/psi.c test_state() puts it."""
    found = {(name, full): 0 for name in ("memory", "io", "cpu") for full in (False, True)}
    for at in range(end):
        tasks = dict.fromkeys(FIELDS, 0)
        for one in stretches:
            for field, (low, high) in zip(FIELDS, one, strict=True):
                tasks[field] += low <= at < high
        memstall = tasks["reclaims"] + tasks["waits_for_memory"]
        running = tasks["runs"] + tasks["reclaims"] + tasks["waits_for_cpu"]
        found["memory", False] += memstall > 0
        found["memory", True] += memstall > 0 and running == tasks["reclaims"]
        found["io", False] += tasks["waits_for_device"] > 0
        found["io", True] += tasks["waits_for_device"] > 0 and not running
        found["cpu", False] += tasks["waits_for_cpu"] > 0
        on_cpu = tasks["runs"] + tasks["reclaims"]
        found["cpu", True] += tasks["waits_for_cpu"] > 0 and not on_cpu
    return found


def random_stretch(random: Random, begin: int) -> Stretch:
    at, spans = begin, []
    for _ in FIELDS:
        end = at + random.choice((0, 0, 3, 7, 20))
        spans.append((at, end))
        at = end
    memory_and_device = random.random() < 0.5
    if memory_and_device:
        spans[4] = spans[3]
    return Stretch(*spans)


def test_every_total_is_that_of_a_count_of_each_moment() -> None:
    for seed in range(200):
        random = Random(seed)
        group, stretches, begin = PressureGroup(0), [], 0
        for _ in range(random.randrange(1, 12)):
            begin += random.randrange(15)
            if random.random() < 0.5:
                group.count_until(begin)
            one = random_stretch(random, begin)
            group.stretches.append(one)
            stretches.append(one)
        end = begin + 200
        group.count_until(end)
        assert {key: line.total_ns for key, line in group.lines.items()} == naive(stretches, end)
        assert not group.stretches


def test_averages_grow_and_decay_as_the_kernel_s() -> None:
    group = PressureGroup(0)
    none = (0, 0)
    group.stretches.append(Stretch(none, none, none, none, (0, 5 * PERIOD_NS)))
    group.count_until(5 * PERIOD_NS)
    row = group.text("io").some
    assert row is not None
    # 100 % for five periods: load = load * e / 2048 + 100 * (2048 - e) / 2048, rounded up
    load = 0
    for _ in range(5):
        load = (load * 1677 + 100 * 2048 * (2048 - 1677) + 2047) // 2048
    assert row.avg10_percent == (load >> 11) + ((load & 2047) * 100 >> 11) / 100
    assert 62 < row.avg10_percent < 64  # 1 - exp(-10 s / 10 s)
    group.count_until(50 * PERIOD_NS)
    later = group.text("io").some
    assert later is not None
    assert later.avg10_percent < 0.1 < later.avg60_percent < row.avg60_percent + 0.01
    assert later.total_us == row.total_us == 5 * PERIOD_NS // 1000
