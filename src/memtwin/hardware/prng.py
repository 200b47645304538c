"""Owns randomness: splitmix64, and streams named so that one seed replays everything.

Imports nothing. Knows nothing of who draws. Works on 64-bit values that fit a signed long in
compiled code: results are 63-bit, the state is kept in two's complement by masking.
"""

from __future__ import annotations

import hashlib

_MASK = (1 << 64) - 1


class Prng:
    """One splitmix64 stream (Steele, Lea and Flood 2014; first output of seed 0 is
    E220A8397B1DCDAF).

    >>> hex(Prng(0).next64())
    '0xe220a8397b1dcdaf'
    """

    def __init__(self, seed: int) -> None:
        self.state = seed & _MASK

    def next64(self) -> int:
        """The next 64-bit output, 0 .. 2**64 - 1."""
        self.state = (self.state + 0x9E3779B97F4A7C15) & _MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def below(self, n: int) -> int:
        """The next output modulo `n` (n >= 1): 0 .. n - 1."""
        return self.next64() % n


def stream(seed: int, name: str) -> Prng:
    """The stream called `name` of a run's `seed`: independent of all other names."""
    material = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    return Prng(int.from_bytes(material, "little"))
