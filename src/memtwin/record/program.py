"""Owns what a command line names: finds the program, follows `#!` lines, reads the ELF header.

Imports errors, units only. Knows no recorder.
"""

from __future__ import annotations

import os
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path

from memtwin.errors import UserError

# e_machine of the 64-bit little-endian kinds the plugin can follow
# include/uapi/linux/elf-em.h EM_X86_64, v6.12
ARCHITECTURES = {62: "x86_64", 183: "aarch64", 243: "riscv64"}
_NAMES = {3: "i386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "arm"}
_MAX_SCRIPTS = 4


@dataclass(frozen=True)
class Program:
    """What is to be run: the binary, its arguments (argv[0] first) and its architecture."""

    binary: Path
    argv: tuple[str, ...]
    arch: str


def find_program(command: list[str]) -> Program:
    """The program that `command` runs; a script becomes its interpreter with more arguments.

    Raises UserError when it isn't there, may not be executed or is of a foreign kind.
    """
    if not command:
        raise UserError("no program named: found nothing after '--', allowed is PROGRAM [ARGS]")
    path, argv = _on_path(command[0]), tuple(command)
    for _ in range(_MAX_SCRIPTS + 1):
        head = _head(path)
        if head[:2] != b"#!":
            return Program(path, argv, _architecture(path, head))
        words = head[2:].split(b"\n", 1)[0].decode("utf-8", "replace").strip().split(None, 1)
        if not words:
            raise UserError(f"{path}: found a '#!' line that names no interpreter")
        argv = (*words, str(path), *argv[1:])
        path = _on_path(words[0])
    raise UserError(f"{command[0]}: found scripts that interpret scripts, more than {_MAX_SCRIPTS}")


def _on_path(name: str) -> Path:
    found = shutil.which(name)
    if found is not None:
        return Path(os.path.abspath(found))
    path = Path(name)
    if path.is_dir():
        raise UserError(f"{name}: found a directory, allowed is a program")
    if path.exists():
        raise UserError(f"{name}: found a file that may not be executed (try chmod +x)")
    where = "" if "/" in name else " in PATH"
    raise UserError(f"{name}: no such program{where}")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(256)
    except OSError as error:
        raise UserError(f"{path}: can't be read ({(error.strerror or '').lower()})") from None


def _architecture(path: Path, head: bytes) -> str:
    if head[:4] != b"\x7fELF" or len(head) < 20:
        raise UserError(f"{path}: found neither an ELF program nor a script with a '#!' line")
    order = "<" if head[5] == 1 else ">"
    (machine,) = struct.unpack_from(order + "H", head, 18)
    if head[4] == 2 and head[5] == 1 and machine in ARCHITECTURES:
        return ARCHITECTURES[machine]
    name = _NAMES.get(machine, f"machine {machine}")
    allowed = ", ".join(ARCHITECTURES.values())
    raise UserError(f"{path}: found a program for {name}, allowed are {allowed}")
