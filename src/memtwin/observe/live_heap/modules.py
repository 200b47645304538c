"""Owns the program's files in memory and the symbols in them: which name an address has.

Imports mappings. Knows ELF (elf.h) for 64-bit little-endian files and nothing of heaps. A file that
can't be read, or has no symbols, gives the file's name and an offset.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath
from typing import NamedTuple

import numpy as np

from memtwin.observe.live_heap.mappings import Mapping, file_of

_PT_LOAD, _SHT_SYMTAB, _SHT_DYNSYM = 1, 2, 11
_NAMED_TYPES = (1, 2, 6, 10)  # STT_OBJECT, STT_FUNC, STT_TLS excluded below, STT_GNU_IFUNC
_STT_TLS = 6
_MOST_FILE_BYTES = 1 << 30
_PAGE = 4096
_SYMBOL = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("shndx", "<u2"), ("value", "<u8"),
     ("size", "<u8")]
)  # fmt: skip


class Symbol(NamedTuple):
    """A name and how far behind its beginning an address lies."""

    name: str
    offset_bytes: int


@dataclass
class ElfFile:
    """What is needed of one file: where it is loaded, and its symbols sorted by address."""

    loads: list[tuple[int, int, int, int]]  # file offset, address, bytes in file, bytes in memory
    values: np.ndarray
    sizes: np.ndarray
    names: list[bytes]

    def symbol_at(self, address: int) -> Symbol | None:
        """The symbol that covers an address of the file."""
        i = int(np.searchsorted(self.values, address, side="right")) - 1
        while i >= 0 and int(self.values[i]) == address and i > 0 and self.values[i - 1] == address:
            i -= 1
        if i < 0:
            return None
        offset = address - int(self.values[i])
        if offset >= max(int(self.sizes[i]), 1):
            return None
        return Symbol(demangled(self.names[i].decode(errors="replace")), offset)

    def address_of(self, name: str) -> int | None:
        """The address of a symbol."""
        wanted = name.encode()
        for i, one in enumerate(self.names):
            if one == wanted:
                return int(self.values[i])
        return None


def read_elf(path: str) -> ElfFile | None:
    """Read a 64-bit ELF file; None when it can't be read or is none."""
    try:
        with open(path, "rb") as file:
            raw = file.read(_MOST_FILE_BYTES)
        return _parse(raw)
    except (OSError, struct.error, ValueError):
        return None


def _parse(raw: bytes) -> ElfFile | None:
    if raw[:5] != b"\x7fELF\x02":
        return None
    phoff, shoff = struct.unpack_from("<QQ", raw, 32)
    phentsize, phnum, shentsize, shnum = struct.unpack_from("<HHHH", raw, 54)
    loads = []
    for i in range(phnum):
        kind, _, offset, vaddr, _, filesz, memsz, _ = struct.unpack_from(
            "<IIQQQQQQ", raw, phoff + i * phentsize
        )
        if kind == _PT_LOAD:
            loads.append((offset, vaddr, filesz, memsz))
    sections = [struct.unpack_from("<IIQQQQIIQQ", raw, shoff + i * shentsize) for i in range(shnum)]
    values, sizes, names = [], [], []
    for kind in (_SHT_SYMTAB, _SHT_DYNSYM):
        for section in sections:
            if section[1] != kind or section[6] >= len(sections):
                continue
            table = np.frombuffer(raw, _SYMBOL, section[5] // 24, section[4])
            types = table["info"] & 15
            wanted = table[
                np.isin(types, _NAMED_TYPES) & (types != _STT_TLS) & (table["shndx"] != 0)
            ]
            strings = sections[section[6]]
            text = raw[strings[4] : strings[4] + strings[5]]
            for name, value, size in zip(
                wanted["name"].tolist(), wanted["value"].tolist(), wanted["size"].tolist(),
                strict=True,
            ):  # fmt: skip
                values.append(value)
                sizes.append(size)
                names.append(text[name : text.index(b"\0", name)])
    order = np.argsort(np.array(values, np.int64), kind="stable")
    return ElfFile(
        loads,
        np.array(values, np.int64)[order],
        np.array(sizes, np.int64)[order],
        [names[i] for i in order.tolist()],
    )


@dataclass
class Module:
    """One file as it lies in memory: `[start_vaddr, end_vaddr)`, its .bss included."""

    path: str
    opened_as: str
    start_vaddr: int
    end_vaddr: int
    bias: int

    @property
    def name(self) -> str:
        """The file's name without its folders."""
        return PurePath(self.path).name


class Modules:
    """All files of a process, in the order of their addresses."""

    def __init__(self, pid: int, mappings: list[Mapping]) -> None:
        self.modules: list[Module] = []
        self._files: dict[str, ElfFile | None] = {}
        for mapping in mappings:
            if mapping.inode and mapping.offset_bytes == 0 and mapping.path.startswith("/"):
                self._add(mapping, file_of(pid, mapping))
        self.modules.sort(key=lambda module: module.start_vaddr)
        self._starts = [module.start_vaddr for module in self.modules]

    def _add(self, mapping: Mapping, opened_as: str) -> None:
        try:
            with open(opened_as, "rb") as file:
                head = file.read(64)
                if head[:5] != b"\x7fELF\x02":
                    return
                (phoff,) = struct.unpack_from("<Q", head, 32)
                size, count = struct.unpack_from("<HH", head, 54)
                file.seek(phoff)
                table = file.read(size * count)
        except (OSError, struct.error):
            return
        loads = [
            (vaddr, memsz)
            for kind, _, _, vaddr, _, _, memsz, _ in (
                struct.unpack_from("<IIQQQQQQ", table, i * size) for i in range(count)
            )
            if kind == _PT_LOAD
        ]
        if not loads:
            return
        bias = mapping.start_vaddr - (loads[0][0] & -_PAGE)
        end = bias + max(vaddr + memsz for vaddr, memsz in loads)
        self.modules.append(Module(mapping.path, opened_as, mapping.start_vaddr, end, bias))

    def at(self, vaddr: int) -> Module | None:
        """The file that has `vaddr`."""
        i = int(np.searchsorted(self._starts, vaddr, side="right")) - 1
        if i < 0 or vaddr >= self.modules[i].end_vaddr:
            return None
        return self.modules[i]

    def elf(self, module: Module) -> ElfFile | None:
        """Its symbols, read at the first question."""
        if module.path not in self._files:
            self._files[module.path] = read_elf(module.opened_as)
        return self._files[module.path]

    def symbol(self, vaddr: int) -> Symbol | None:
        """The symbol that covers `vaddr`."""
        module = self.at(vaddr)
        elf = self.elf(module) if module else None
        return elf.symbol_at(vaddr - module.bias) if module and elf else None

    def describe(self, vaddr: int) -> str | None:
        """`vaddr` in words: a symbol with its file, or a file with an offset."""
        module = self.at(vaddr)
        if module is None:
            return None
        symbol = self.symbol(vaddr)
        if symbol is None:
            return f"{module.name}+{vaddr - module.bias:#x}"
        behind = f"+{symbol.offset_bytes}" if symbol.offset_bytes else ""
        return f"{symbol.name}{behind} in {module.name}"

    def address_of(self, name: str) -> int | None:
        """The address of a symbol in whichever file has it first."""
        for module in self.modules:
            elf = self.elf(module)
            value = elf.address_of(name) if elf else None
            if value:
                return module.bias + value
        return None


@cache
def _demangler() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libstdc++.so.6")
        library.__cxa_demangle.restype = ctypes.c_void_p
    except (OSError, AttributeError):
        return None
    return library


@cache
def demangled(name: str) -> str:
    """The C++ name behind a mangled one, where this host's C++ library is there to say it."""
    if not name.startswith("_Z"):
        return name
    library = _demangler()
    if library is None:
        return name
    status = ctypes.c_int()
    text = library.__cxa_demangle(name.encode(), None, None, ctypes.byref(status))
    if not text:
        return name
    try:
        return ctypes.string_at(text).decode(errors="replace")
    finally:
        ctypes.CDLL(None).free(ctypes.c_void_p(text))
