"""Owns the text of valgrind's lackey tool: memory lines to arrays, one record a page and window.

Imports NumPy only. Knows nothing of files and mappings: system call lines are handed on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FETCH, LOAD, STORE = 0, 1, 2
_HEX = np.full(256, 255, np.uint8)
_HEX[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16, dtype=np.uint8)
_MAX_DIGITS = 16
_I, _SPACE, _COMMA, _L, _S, _M = (ord(c) for c in "I ,LSM")


@dataclass
class Touches:
    """Records that the window let through, in order."""

    vpn: NDArray[np.int64]
    kind: NDArray[np.int64]
    insns: NDArray[np.int64]


class LackeyText:
    """Reduces memory lines; counts instructions and references as it goes."""

    def __init__(self, window_refs: int) -> None:
        self._window_refs = window_refs
        self._window_start = 0
        self._seen: set[int] = set()  # vpn << 2 | kind in the window that isn't full yet
        self.insns = 0
        self.refs = 0

    def forget(self) -> None:
        """The address space changed: begin a new window."""
        self._window_start = self.refs
        self._seen.clear()

    def reduce(self, text: bytes) -> Touches:
        """Touches of whole lines of memory accesses; lines of another form are passed over."""
        vpn, kind, insns = self._accesses(text)
        keys = vpn << 2 | kind
        windows = (self.refs + np.arange(len(keys)) - self._window_start) // self._window_refs
        self.refs += len(keys)
        if not len(keys):
            return Touches(vpn, kind, insns)
        kept = []
        starts = np.flatnonzero(np.diff(windows, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(keys)], strict=True):
            if windows[start] > 0:
                self._window_start += int(windows[start]) * self._window_refs
                windows = windows - windows[start]
                self._seen.clear()
            _, first = np.unique(keys[start:stop], return_index=True)
            for i in np.sort(first + start).tolist():
                key = int(keys[i])
                if key not in self._seen:
                    self._seen.add(key)
                    kept.append(i)
        chosen = np.array(kept, np.int64)
        return Touches(vpn[chosen], kind[chosen], insns[chosen])

    def _accesses(
        self, text: bytes
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        raw = np.frombuffer(text + b"\n" * (_MAX_DIGITS + 8), np.uint8)
        ends = np.flatnonzero(raw[: len(text)] == ord("\n"))
        starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
        first, second = raw[starts], raw[starts + 1]
        fetch = (first == _I) & (second == _SPACE)
        data = (first == _SPACE) & ((second == _L) | (second == _S) | (second == _M))
        is_access = fetch | data
        starts, fetch, letter = starts[is_access], fetch[is_access], second[is_access]
        address = np.zeros(len(starts), np.uint64)
        at = starts + 3
        going = np.ones(len(starts), bool)
        for _ in range(_MAX_DIGITS):
            digit = _HEX[raw[at]]
            going &= digit < 16
            if not going.any():
                break
            address = np.where(going, address << np.uint64(4) | digit, address)
            at = at + going
        size = _decimal(raw, at + 1)
        insns = self.insns + np.cumsum(fetch)
        if len(insns):
            self.insns = int(insns[-1])
        return _expanded(address, size, fetch, letter, insns)


def _decimal(raw: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.uint64]:
    value = np.zeros(len(at), np.uint64)
    going = np.ones(len(at), bool)
    for _ in range(3):
        digit = raw[at] - np.uint8(ord("0"))
        going &= digit < 10
        value = np.where(going, value * np.uint64(10) + digit, value)
        at = at + going
    return value


def _expanded(
    address: NDArray[np.uint64],
    size: NDArray[np.uint64],
    fetch: NDArray[np.bool_],
    letter: NDArray[np.uint8],
    insns: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """One row an access, page and kind: `M` is a load and a store; a border has two pages."""
    vpn = (address >> np.uint64(12)).astype(np.int64)
    last = ((address + np.maximum(size, np.uint64(1)) - np.uint64(1)) >> np.uint64(12)).astype(
        np.int64
    )
    kind = np.where(fetch, FETCH, np.where(letter == _S, STORE, LOAD)).astype(np.int64)
    modify = np.flatnonzero(~fetch & (letter == _M))
    across = np.flatnonzero(last != vpn)
    where = np.concatenate((np.arange(len(vpn)), across, modify))
    order = np.argsort(where, kind="stable")
    pages = np.concatenate((vpn, last[across], vpn[modify]))[order]
    stores = np.full(len(modify), STORE, np.int64)
    kinds = np.concatenate((kind, kind[across], stores))[order]
    return pages, kinds, insns[where[order]]
