"""Owns how procps 4.0.2 prints sizes: `free`'s scales, and the float arithmetic of `vmstat`.

Imports units. Knows nothing of what the sizes are. Text that stands beside procps' must round as
it does, where it does; figures that leave as JSON or CSV never pass through here.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from memtwin.units import KIB

_LETTERS = "BKMGTP"


class Scale(NamedTuple):
    """How sizes are printed. `exponent`: 0 KiB (or kB), 1 bytes, 2 and more KiB, MiB ..."""

    exponent: int = 0
    base: int = 1024
    human: bool = False


def scaled(size_bytes: int, scale: Scale) -> str:
    """`size_bytes` as procps' free prints it (src/free.c scale_size(), procps 4.0.2).

    >>> scaled(3 << 30, Scale()), scaled(3 << 30, Scale(human=True)), scaled(10 << 30, Scale(3))
    ('3145728', '3.0Gi', '10240')
    """
    if scale.human:
        return _human(size_bytes, scale.base)
    if scale.exponent == 0:
        return str(_truncated(size_bytes, scale.base))
    return str(_truncated(size_bytes, scale.base ** (scale.exponent - 1)))


def _human(size_bytes: int, base: int) -> str:
    """At most four characters, and the "i" of binary units."""
    unit = "" if base == 1000 else "i"
    most = 4 + len(unit)
    text = f"{size_bytes}B"
    if len(text) <= 4:
        return text
    for power, letter in enumerate(_LETTERS[1:], 1):
        text = f"{float32(size_bytes / base**power):.1f}{letter}{unit}"
        if len(text) <= most:
            return text
        text = f"{_truncated(size_bytes, base**power)}{letter}{unit}"
        if len(text) <= most:
            return text
    return text


def _truncated(size: int, by: int) -> int:
    """`size` / `by`, towards zero as C has it."""
    return size // by if size >= 0 else -(-size // by)


def float32(value: float) -> float:
    """`value` rounded to the 24 bits of a C float."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def vmstat_size(size_kib: int, unit_bytes: int) -> int:
    """KiB in units of `unit_bytes`, by floats (src/vmstat.c unitConvert(), procps 4.0.2).

    >>> vmstat_size(21084365, 1024), vmstat_size(1000, 1000)
    (21084364, 1024)
    """
    return int(float32(float32(float32(size_kib) / unit_bytes) * KIB))
