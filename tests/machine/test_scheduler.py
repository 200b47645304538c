"""Jobs in virtual time: who runs when, and what overlaps."""

from collections.abc import Generator

from memtwin.hardware.clock import Clock
from memtwin.hardware.event_queue import EventQueue
from memtwin.machine.scheduler import Scheduler
from memtwin.machine.timers import Timers


def computing(clock: Clock, times: int, each_ns: int) -> Generator[None, None, None]:
    for _ in range(times):
        clock.now_ns += each_ns
        clock.cpu_ns += each_ns
        yield


def waiting(clock: Clock, times: int, each_ns: int) -> Generator[None, None, None]:
    for _ in range(times):
        clock.now_ns += each_ns
        yield


def test_on_one_cpu_waiting_overlaps_with_computing() -> None:
    clock = Clock()
    scheduler = Scheduler(clock, 1, Timers(clock))
    scheduler.add("compute", computing(clock, 10, 100))
    scheduler.add("wait", waiting(clock, 10, 100))
    scheduler.run("compute")
    scheduler.run("wait")
    assert clock.cpu_ns == 1000
    assert clock.now_ns <= 1200


def test_on_one_cpu_two_computing_jobs_take_the_sum_of_their_times() -> None:
    clock = Clock()
    scheduler = Scheduler(clock, 1, Timers(clock))
    scheduler.add("a", computing(clock, 10, 100))
    scheduler.add("b", computing(clock, 10, 100))
    scheduler.run("a")
    scheduler.run("b")
    assert clock.now_ns == 2000


def test_on_two_cpus_two_computing_jobs_run_side_by_side() -> None:
    clock = Clock()
    scheduler = Scheduler(clock, 2, Timers(clock))
    scheduler.add("a", computing(clock, 10, 100))
    scheduler.add("b", computing(clock, 10, 100))
    scheduler.run("a")
    scheduler.run("b")
    assert clock.now_ns == 1000


def test_events_happen_in_order_of_time_then_of_entry_before_what_is_later() -> None:
    clock, events, seen = Clock(), EventQueue(), []
    timers = Timers(clock)

    def take() -> None:
        seen.append((events.take(clock.now_ns)[0], clock.now_ns))

    timers.add("events", events.next_ns, take)
    scheduler = Scheduler(clock, 1, timers)
    events.put(500, "second")
    events.put(200, "first")
    events.put(500, "third")
    scheduler.sleep_until(499)
    assert seen == [("first", 200)]
    assert clock.now_ns == 499
    scheduler.sleep_until(1000)
    assert seen[1:] == [("second", 500), ("third", 500)]


def test_a_dropped_job_runs_no_more() -> None:
    clock = Clock()
    scheduler = Scheduler(clock, 1, Timers(clock))
    scheduler.add("a", computing(clock, 10, 100))
    scheduler.drop("a")
    scheduler.run("a")
    assert clock.now_ns == 0
    assert not scheduler.busy("a")
