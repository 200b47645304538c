"""Page sequences against a naive splitmix64, one number at a time."""

import pytest

from memtwin.errors import UserError
from memtwin.hardware.prng import Prng
from memtwin.workload.patterns import block_sequence, page_sequence


def naive(words: list[str], size_pages: int) -> list[int]:
    kind, numbers = words[0], [int(w) for w in words[1:]]
    draw = Prng(numbers[0])
    if kind == "rand":
        start, span = (numbers[2], numbers[3]) if len(numbers) > 2 else (0, size_pages)
        return [start + draw.below(span) for _ in range(numbers[1])]
    if kind == "zipf":
        bits = size_pages.bit_length() - 1
        found = []
        for _ in range(numbers[1]):
            k = draw.below(bits + 1)
            found.append(((1 << k) - 1 + draw.below(1 << k)) % size_pages)
        return found
    hot = size_pages * numbers[2] // 100
    found = []
    for _ in range(numbers[1]):
        is_hot = draw.below(100) < numbers[3]
        found.append(draw.below(hot) if is_hot else hot + draw.below(size_pages - hot))
    return found


@pytest.mark.parametrize(
    "pattern", ["rand 7 4096", "rand 9 500 100 50", "zipf 42 3000", "hot 61 3000 25 90"]
)
def test_a_pattern_draws_what_one_number_at_a_time_draws(pattern: str) -> None:
    assert page_sequence(pattern.split(), 8192).tolist() == naive(pattern.split(), 8192)


def test_the_seed_7_touches_the_1619_new_pages_that_a_real_guest_faulted() -> None:
    pages = page_sequence(["rand", "7", "4096"], 8192)
    assert len({int(p) for p in pages if p >= 4096}) == 1619


def test_a_strided_sequence_wraps_around_the_area() -> None:
    assert page_sequence(["seq", "6", "3", "2"], 8).tolist() == [6, 0, 2]


def test_blocks_are_drawn_below_their_number() -> None:
    draw = Prng(22)
    assert block_sequence(22, 100, 33).tolist() == [draw.below(33) for _ in range(100)]


@pytest.mark.parametrize("pattern", ["", "walk 1 2", "zipf 1", "rand 1 2 3", "seq x"])
def test_a_pattern_outside_the_language_is_one_clear_line(pattern: str) -> None:
    with pytest.raises(UserError) as error:
        page_sequence(pattern.split(), 8)
    assert "found" in str(error.value)
    assert "allowed" in str(error.value)
