"""Owns struct taskstats: which fields each version has and where they lie.

Imports struct. Knows nothing of sockets. The kernel sends the struct of its own version whole, so
what is in it follows from its version and its length; fields that a version lacks are absent.
include/uapi/linux/taskstats.h TASKSTATS_VERSION
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

COMM_BYTES = 32  # include/uapi/linux/taskstats.h TS_COMM_LEN
OLDEST_WHOLE = 8  # before, what follows the first delays was laid out by the compiler's mood
MIN_IN_MIDDLE = 15  # the one version with maxima and minima between the others
KINDS = ("cpu", "blkio", "swapin", "freepages", "thrashing", "compact", "wpcopy", "irq")

_Field = tuple[str, str]  # name, struct code

_HEAD: tuple[_Field, ...] = (
    ("version", "H"), ("ac_exitcode", "I"), ("ac_flag", "B"), ("ac_nice", "B"),
)  # fmt: skip
_RUN: tuple[_Field, ...] = (("cpu_run_real_total", "Q"), ("cpu_run_virtual_total", "Q"))
_BASIC: tuple[_Field, ...] = (
    ("ac_comm", f"{COMM_BYTES}s"), ("ac_sched", "8B"), ("ac_uid", "8I"), ("ac_gid", "I"),
    ("ac_pid", "I"), ("ac_ppid", "I"), ("ac_btime", "I"), ("ac_etime", "Q"), ("ac_utime", "Q"),
    ("ac_stime", "Q"), ("ac_minflt", "Q"), ("ac_majflt", "Q"), ("coremem", "Q"), ("virtmem", "Q"),
    ("hiwater_rss", "Q"), ("hiwater_vm", "Q"), ("read_char", "Q"), ("write_char", "Q"),
    ("read_syscalls", "Q"), ("write_syscalls", "Q"), ("read_bytes", "Q"), ("write_bytes", "Q"),
    ("cancelled_write_bytes", "Q"), ("nvcsw", "Q"), ("nivcsw", "Q"), ("ac_utimescaled", "Q"),
    ("ac_stimescaled", "Q"), ("cpu_scaled_run_real_total", "Q"),
)  # fmt: skip
_EXE: tuple[_Field, ...] = (
    ("ac_tgid", "I"), ("ac_tgetime", "Q"), ("ac_exe_dev", "Q"), ("ac_exe_inode", "Q"),
)  # fmt: skip


def _delay(kind: str, version: int) -> Iterator[_Field]:
    yield f"{kind}_count", "Q"
    yield f"{kind}_delay_total", "Q"
    if version == MIN_IN_MIDDLE:
        yield from _extremes(kind)


def _extremes(kind: str) -> Iterator[_Field]:
    yield f"{kind}_delay_max", "Q"
    yield f"{kind}_delay_min", "Q"


def fields_of(version: int) -> list[_Field]:
    """The fields of a version in order; an "8" before a code: it begins at a multiple of 8."""
    found = list(_HEAD)
    for kind in KINDS[:3]:
        found += _delay(kind, version)
    found += _RUN
    if version < OLDEST_WHOLE:
        return found
    found += [*_BASIC, *_delay("freepages", version)]
    if version >= 9:
        found += _delay("thrashing", version)
    if version >= 10:
        found.append(("ac_btime64", "Q"))
    if version >= 11:
        found += _delay("compact", version)
    if version >= 12:
        found += _EXE
    if version >= 13:
        found += _delay("wpcopy", version)
    if version >= 14:
        found += _delay("irq", version)
    if version > MIN_IN_MIDDLE:
        for kind in KINDS:
            found += _extremes(kind)
    if version >= 17:
        for kind in KINDS:
            found += [(f"{kind}_delay_max_s", "Q"), (f"{kind}_delay_max_ns", "Q")]
    return found


def layout_of(version: int) -> dict[str, tuple[int, str]]:
    """name -> (offset, struct code), every field at a multiple of its own size.

    >>> layout_of(16)["freepages_count"][0], layout_of(8)["ac_comm"][0]
    (312, 80)
    """
    found: dict[str, tuple[int, str]] = {}
    at = 0
    for name, code in fields_of(version):
        wide = code.startswith("8")
        code = code[1:] if wide else code
        size = struct.calcsize(code)
        align = 8 if wide else 1 if code.endswith("s") else size
        at = -(-at // align) * align
        found[name] = (at, code)
        at += size
    return found


def parse(data: bytes) -> dict[str, int | str]:
    """name -> figure of the struct in `data`; what does not fit into it is left out.

    Figures are ns for delays, us for times of accounting, bytes for I/O, KiB for high water marks.
    """
    if len(data) < 2:
        return {}
    (version,) = struct.unpack_from("H", data, 0)
    found: dict[str, int | str] = {}
    for name, (at, code) in layout_of(version).items():
        if at + struct.calcsize(code) > len(data):
            break
        (value,) = struct.unpack_from(code, data, at)
        if isinstance(value, bytes):
            value = value.split(b"\0")[0].decode(errors="surrogateescape")
        found[name] = value
    return found
