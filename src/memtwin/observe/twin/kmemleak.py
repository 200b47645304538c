"""Owns the text of the twin's /sys/kernel/debug/kmemleak.

Imports process/kmemleak. Format: mm/kmemleak.c print_unreferenced(), v6.1 and v6.12, and
lib/hexdump.c hex_dump_to_buffer(), v6.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from memtwin.process.kmemleak import Tracked

_ROW_BYTES, _MOST_ROWS = 16, 2  # HEX_ROW_SIZE, HEX_MAX_LINES
_ASCII_COLUMN = _ROW_BYTES * 3 + 1


def kmemleak_text(leaks: Sequence[Tracked], kernel: int) -> str:
    """The report of what kmemleak found; `kernel` as 601 or 612."""
    return "".join(_unreferenced(one, kernel) for one in leaks)


def _unreferenced(one: Tracked, kernel: int) -> str:
    made = one.object
    length = min(made.size_bytes, _ROW_BYTES * _MOST_ROWS)
    checksum = f" (crc {one.checksum:x})" if kernel >= 612 else ""
    lines = [
        f"unreferenced object 0x{made.pointer:08x} (size {made.size_bytes}):",
        f'  comm "{made.comm}", pid {made.pid}, jiffies {made.jiffies}',
        f"  hex dump (first {length} bytes):",
        *_hex_dump(made.content(length)),
        f"  backtrace{checksum}:",
        *(f"    [<{_hashed(name)}>] {_symbol(name)}" for name in made.trace),
    ]
    return "".join(f"{line}\n" for line in lines)


def _hex_dump(content: bytes) -> list[str]:
    """Rows of bytes with their characters behind them.

    >>> [row.split() for row in _hex_dump(b"ab" + bytes(1))]
    [['61', '62', '00', 'ab.']]
    """
    rows = []
    for at in range(0, len(content), _ROW_BYTES):
        row = content[at : at + _ROW_BYTES]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        rows.append(f"    {row.hex(' '):<{_ASCII_COLUMN}}{shown}")
    return rows


def _symbol(name: str) -> str:
    """A function as %pS prints it; "line_3 [module]" has its offset before the module."""
    # MODEL: every call stands at the beginning of its function: code has no addresses here
    function, space, module = name.partition(" ")
    return f"{function}+0x0/0x10{space}{module}"


def _hashed(name: str) -> str:
    """An address as %p prints it: a hash, which is all that a reader gets of it."""
    # MODEL: lib/vsprintf.c ptr_to_hashval(), v6.1, hashes with a key of each boot
    return f"00000000{blake2b(name.encode(), digest_size=4).hexdigest()}"
