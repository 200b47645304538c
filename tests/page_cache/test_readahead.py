"""The decisions of readahead on sequential, random and interleaved readers."""

from __future__ import annotations

import pytest

from memtwin.page_cache.constants import FILE, READ_NOTHING, READ_WINDOW
from memtwin.page_cache.mapping import Mapping
from memtwin.page_cache.readahead import FileRa, Readahead

IO_PAGES = 320


class Reader:
    """A file whose pages arrive at once; remembers marks and every window read."""

    def __init__(self, kernel: int, size_pages: int) -> None:
        self.mapping = Mapping(1, 11, FILE, size_pages << 12)
        self.ra = FileRa(32)
        self.rules = Readahead(kernel, IO_PAGES)
        self.marks: set[int] = set()
        self.windows: list[tuple[int, int]] = []

    def load(self) -> None:
        rules = self.rules
        end = min(rules.start + rules.nr, self.mapping.end_index())
        self.windows.append((rules.start, rules.nr))
        for index in range(rules.start, end):
            if self.mapping.slot(index) <= 0:
                self.mapping.store(index, index + 1)
                if rules.lookahead and index == rules.start + rules.nr - rules.lookahead:
                    self.marks.add(index)

    def read(self, index: int, nr: int) -> None:
        for at in range(index, index + nr):
            left = index + nr - at
            if self.mapping.slot(at) <= 0:
                if self.rules.sync_readahead(self.mapping, self.ra, at, left) == READ_WINDOW:
                    self.load()
            if at in self.marks:
                self.marks.discard(at)
                if self.rules.async_readahead(self.mapping, self.ra, at, left) == READ_WINDOW:
                    self.load()
        self.ra.prev_pos = (index + nr) << 12


@pytest.mark.parametrize("kernel", [601, 612])
def test_a_sequential_reader_gets_the_first_window_and_stays_one_window_ahead(kernel: int) -> None:
    reader = Reader(kernel, 4096)
    for index in range(0, 256, 16):
        reader.read(index, 16)
    assert reader.windows[0][0] == 0
    assert [nr for _, nr in reader.windows[1:]] == [32] * (len(reader.windows) - 1)
    assert reader.mapping.nr_pages == 256 + 32


@pytest.mark.parametrize("kernel", [601, 612])
def test_single_page_reads_ramp_up_4_8_16_32(kernel: int) -> None:
    reader = Reader(kernel, 4096)
    for index in range(200):
        reader.read(index, 1)
    sizes = [nr for _, nr in reader.windows]
    assert sizes[:4] == [4, 8, 16, 32]
    assert set(sizes[3:]) == {32}


@pytest.mark.parametrize("kernel", [601, 612])
def test_a_random_reader_gets_what_it_asks_for(kernel: int) -> None:
    reader = Reader(kernel, 1 << 20)
    for index in (5000, 90, 70000, 1234):
        reader.read(index, 1)
    assert [nr for _, nr in reader.windows] == [1, 1, 1, 1]


@pytest.mark.parametrize("kernel", [601, 612])
def test_random_mode_reads_the_request_alone_even_at_the_start(kernel: int) -> None:
    reader = Reader(kernel, 4096)
    reader.ra.random_mode = 1
    reader.read(0, 1)
    reader.read(7, 3)
    assert reader.windows == [(0, 1), (7, 3)]


@pytest.mark.parametrize("kernel", [601, 612])
def test_an_mmap_miss_reads_around_the_fault_until_there_are_100_misses_too_many(
    kernel: int,
) -> None:
    mapping, ra, rules = Mapping(1, 11, FILE, 1 << 32), FileRa(32), Readahead(kernel, IO_PAGES)
    assert rules.mmap_readahead(mapping, ra, 5, 0) == READ_WINDOW
    assert (rules.start, rules.nr, rules.lookahead) == (0, 32, 8)
    for miss in range(2, 101):
        assert rules.mmap_readahead(mapping, ra, miss * 1000, 0) == READ_WINDOW
    assert (rules.start, rules.nr, rules.lookahead) == (100_000 - 16, 32, 8)
    assert rules.mmap_readahead(mapping, ra, 200_000, 0) == READ_NOTHING


def test_a_file_cached_from_its_start_is_taken_for_a_stream() -> None:
    reader = Reader(612, 4096)
    for index in range(10):
        reader.mapping.store(index, index + 1)
    reader.read(10, 1)
    assert reader.windows == [(10, 21)]
