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


def test_a_column_after_a_large_one_was_given_back_still_costs_only_what_is_written() -> None:
    # the C library would hand out the freed memory again, and clear it by writing to it
    for length in (1 << 19, 1 << 20, 1 << 21):
        before = _resident_bytes()
        column = columns.zeros(length, "i8")
        column[length // 2] = 1
        assert _resident_bytes() - before < 1 << 20
        del column


def test_a_digest_sees_every_byte_of_a_long_column_and_its_length() -> None:
    def digest_of(length: int, *written: int) -> str:
        column = columns.zeros(length, "i4")
        for at in written:
            column[at] = 1
        digest = columns.Digest()
        digest.add("column", column)
        return digest.hexdigest()

    length = 1 << 20
    found = [digest_of(length, at) for at in (0, 1, 1023, 1024, length - 1)]
    found += [digest_of(length), digest_of(length + 1), digest_of(length + 1024)]
    found.append(digest_of(length + 1, length))
    assert len(set(found)) == len(found)
    assert digest_of(length, 5) == digest_of(length, 5)
