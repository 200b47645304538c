"""Columns: lazily zeroed, typed, digested."""

import numpy as np
import pytest

from memtwin import columns


def test_a_column_starts_at_zero_and_keeps_its_type() -> None:
    column = columns.zeros(4, "i4")
    assert list(column) == [0, 0, 0, 0]
    assert columns.array(column).dtype == np.int32


def test_a_value_that_does_not_fit_is_an_error_in_interpreted_code() -> None:
    column = columns.zeros(1, "i1")
    with pytest.raises(ValueError):
        column[0] = 300


def test_a_large_column_costs_no_memory_until_it_is_written() -> None:
    before = _resident_bytes()
    column = columns.zeros(1 << 30, "i8")
    column[123456] = 1
    assert _resident_bytes() - before < 1 << 20


def test_a_grown_column_keeps_its_rows() -> None:
    column = columns.zeros(2, "i8")
    column[1] = 9
    assert list(columns.grown(column, 4)) == [0, 9, 0, 0]


def test_a_digest_tells_any_changed_value_or_name_apart() -> None:
    column = columns.zeros(2, "i8")
    digests = set()
    for name, value in [("a", column), ("b", column), ("a", [0, 0]), ("a", 0), ("a", "0")]:
        digest = columns.Digest()
        digest.add(name, value)
        digests.add(digest.hexdigest())
    column[1] = 1
    digest = columns.Digest()
    digest.add("a", column)
    digests.add(digest.hexdigest())
    assert len(digests) >= 5


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * 4096
