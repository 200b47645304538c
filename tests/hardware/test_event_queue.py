"""The event queue against a sorted list."""

from memtwin.hardware.event_queue import EventQueue
from memtwin.hardware.prng import Prng


def test_events_come_out_by_time_and_then_by_entry_as_from_a_sorted_list() -> None:
    draw, queue, naive = Prng(3), EventQueue(), []
    for seq in range(500):
        time_ns = draw.below(50)
        queue.put(time_ns, "kind", seq)
        naive.append((time_ns, seq))
        if draw.below(3) == 0:
            naive.sort()
            assert queue.next_ns() == naive[0][0]
            assert queue.take(naive[0][0]) == ("kind", naive.pop(0)[1])
    assert [row[:2] for row in queue.state()] == sorted(naive)


def test_nothing_is_taken_before_its_time() -> None:
    queue = EventQueue()
    assert queue.next_ns() == -1
    assert queue.take(10**9) is None
    queue.put(5, "late")
    assert queue.take(4) is None
    assert queue.take(5) == ("late", 0)
