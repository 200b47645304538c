"""Owns page sequences: the PATTERNs of the workload language, as NumPy arrays.

Imports errors, units, NumPy. Knows nothing of machines. The sequences are those a real guest
touches when it runs the same script: splitmix64 seeded with SEED at the start of each operation.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from memtwin.errors import UserError
from memtwin.units import parse_size

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
Pages = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


def splitmix64(seed: int, count: int) -> Words:
    """The first `count` outputs of the stream `seed`, shape (count,).

    >>> hex(int(splitmix64(0, 1)[0]))
    '0xe220a8397b1dcdaf'
    """
    with np.errstate(over="ignore"):
        steps = np.arange(1, count + 1, dtype=np.uint64)
        z = np.uint64(seed & ((1 << 64) - 1)) + steps * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def _seq(words: list[int], size_pages: int) -> Pages:
    start = words[0]
    count = words[1] if len(words) > 1 else size_pages - start
    stride = words[2] if len(words) > 2 else 1
    return (start + np.arange(count, dtype=np.int64) * stride) % size_pages


def _rand(words: list[int], size_pages: int) -> Pages:
    start, span = (words[2], words[3]) if len(words) > 3 else (0, size_pages)
    return start + (splitmix64(words[0], words[1]) % np.uint64(span)).astype(np.int64)


def _zipf(words: list[int], size_pages: int) -> Pages:
    draws = splitmix64(words[0], 2 * words[1])
    k = draws[0::2] % np.uint64(size_pages.bit_length())
    size = np.uint64(1) << k
    page = (size - np.uint64(1) + draws[1::2] % size) % np.uint64(size_pages)
    return page.astype(np.int64)


def _hot(words: list[int], size_pages: int) -> Pages:
    hot_pages, hot_percent = size_pages * words[2] // 100, words[3]
    draws = splitmix64(words[0], 2 * words[1])
    is_hot = draws[0::2] % np.uint64(100) < np.uint64(hot_percent)
    second = draws[1::2]
    in_hot = second % np.uint64(max(hot_pages, 1))
    in_cold = np.uint64(hot_pages) + second % np.uint64(max(size_pages - hot_pages, 1))
    return np.where(is_hot, in_hot, in_cold).astype(np.int64)


# name -> (maker, fewest numbers, most numbers, form)
_PATTERNS = {
    "seq": (_seq, 1, 3, "seq START [COUNT [STRIDE]]"),
    "rand": (_rand, 2, 4, "rand SEED COUNT [START N]"),
    "zipf": (_zipf, 2, 2, "zipf SEED COUNT"),
    "hot": (_hot, 4, 4, "hot SEED COUNT HOTPCT ACCPCT"),
}


def page_sequence(words: list[str], size_pages: int) -> Pages:
    """Page offsets that PATTERN `words` touches in an area of `size_pages`, in order.

    Raises UserError when the pattern is not one of the language.

    >>> page_sequence(["seq", "2", "3", "4"], 8).tolist()
    [2, 6, 2]
    """
    if not words or words[0] not in _PATTERNS:
        forms = " | ".join(row[3] for row in _PATTERNS.values())
        raise UserError(f"pattern: found {' '.join(words) or 'nothing'!r}, allowed is {forms}")
    make, fewest, most, form = _PATTERNS[words[0]]
    if not fewest <= len(words) - 1 <= most:
        raise UserError(f"pattern: found {' '.join(words)!r}, allowed is {form}")
    numbers = [int(word, 0) if word.startswith("0x") else parse_size(word) for word in words[1:]]
    if words[0] == "rand" and len(numbers) == 3:
        raise UserError(f"pattern: found {' '.join(words)!r}, allowed is {form}")
    return make(numbers, size_pages)


def block_sequence(seed: int, count: int, blocks: int) -> Pages:
    """Block numbers of `readrand F SEED COUNT BS NBLK`, shape (count,)."""
    return (splitmix64(seed, count) % np.uint64(blocks)).astype(np.int64)
