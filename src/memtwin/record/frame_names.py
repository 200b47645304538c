"""Owns names of a recording's frames: function, file and line, from the program's files.

Imports observe/live_heap/modules and leak_reports. Asks addr2line (binutils come with the compiler
that recording needs); without it, or without symbols, a frame is the file and an offset in it.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from memtwin.observe.leak_reports.report import Frame
from memtwin.observe.live_heap.modules import read_elf

_UNKNOWN = "??"
_CALL_BYTES = 1  # a frame is where a call returns to; the call itself stands before it


def named(frames: Iterable[str], files: Mapping[str, str]) -> dict[str, Frame]:
    """The frame of each "file+0x12"; `files` are the paths of the files' short names."""
    by_file: dict[str, list[tuple[str, int]]] = {}
    found: dict[str, Frame] = {}
    for frame in sorted(set(frames)):
        name, plus, offset = frame.rpartition("+")
        if not plus:
            found[frame] = Frame(vaddr=int(frame, 16))
            continue
        found[frame] = Frame(module=name, vaddr=int(offset, 16))
        if name in files:
            by_file.setdefault(name, []).append((frame, int(offset, 16)))
    for name, asked in by_file.items():
        found |= _in_file(files[name], asked)
    return found


def _in_file(path: str, asked: list[tuple[str, int]]) -> dict[str, Frame]:
    elf = read_elf(path)
    if elf is None:
        return {}
    addresses = []
    for _, offset in asked:
        address = offset
        for at, vaddr, size, _ in elf.loads:
            if at <= offset < at + size:
                address = vaddr + offset - at
        addresses.append(address - _CALL_BYTES)
    found = {}
    places = _lines(path, addresses)
    for (frame, offset), address, place in zip(asked, addresses, places, strict=True):
        symbol = elf.symbol_at(address)
        function, file, line = place
        function = function or (symbol.name if symbol is not None else None)
        module = None if file else path
        found[frame] = Frame(function, file, line, module, None if function else offset)
    return found


def _lines(path: str, addresses: list[int]) -> list[tuple[str | None, str | None, int | None]]:
    """(function, file, line) of each address, as the debug information has them."""
    nothing: list[tuple[str | None, str | None, int | None]] = [(None, None, None)] * len(addresses)
    program = shutil.which("addr2line")
    if program is None:
        return nothing
    words = [program, "-f", "-C", "-e", path, *(f"{address:#x}" for address in addresses)]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
    said = done.stdout.splitlines()
    if len(said) != 2 * len(addresses):
        return nothing
    places: list[tuple[str | None, str | None, int | None]] = []
    for function, where in zip(said[::2], said[1::2], strict=True):
        file, _, line = where.split(" (")[0].rpartition(":")
        known = not file.startswith(_UNKNOWN)
        places.append(
            (
                None if function == _UNKNOWN else function,
                Path(file).name if known else None,
                int(line) if known and line.isdecimal() else None,
            )
        )
    return places
