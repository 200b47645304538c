"""Owns reading /proc/PID/stat and smaps_rollup (or smaps) byte by byte: they are read by the
hundred at every look.

Imports the room's `record`. Knows nothing of where the bytes come from. A text without the
shape of its file raises ValueError; a line that nobody knows is passed over.
"""

from __future__ import annotations

import cython

from memtwin.observe.processes.record import (
    MOST_DIGITS,
    MOST_KIB,
    PF_KTHREAD,
    PRIVATE_CLEAN_CODE,
    PRIVATE_DIRTY_CODE,
    PRIVATE_HUGETLB_CODE,
    PSS_CODE,
    RSS_CODE,
    SHARED_HUGETLB_CODE,
    SWAP_CODE,
    SWAP_PSS_CODE,
    Origin,
    Process,
    RollupFigures,
)

_NO_FIGURE = "a figure that no process has"
_ABSENT, _NO_MEMORY = Origin.ABSENT, Origin.NO_MEMORY


@cython.ccall
def process_of_stat(data: bytes, page_bytes: cython.longlong) -> Process:
    """The process that a /proc/PID/stat text tells of; its command may hold any bytes.

    >>> process_of_stat(b"7 (a) b) S 1 7 7 0 -1 0 5 0 6 0 0 0 0 0 20 0 2 0 99 8192 2", 4096).comm
    'a) b'
    """
    opening: cython.Py_ssize_t = data.index(b"(")
    closing: cython.Py_ssize_t = data.rindex(b")")
    at: cython.Py_ssize_t = closing + 4  # behind the state, one letter
    end: cython.Py_ssize_t = len(data)
    ppid: cython.longlong = 0
    flags: cython.longlong = 0
    min_flt: cython.longlong = 0
    maj_flt: cython.longlong = 0
    threads: cython.longlong = 0
    start_ticks: cython.longlong = 0
    vss_bytes: cython.longlong = 0
    value: cython.longlong = 0
    field: cython.int = 4
    digits: cython.int
    sign: cython.int
    while field <= 24:  # man 5 proc_pid_stat numbers the fields so: rss is the last one needed
        while at < end and data[at] == 32:
            at += 1
        if at < end and data[at] == 45:
            if field < 5 or 9 <= field <= 13 or field >= 20:
                raise ValueError(_NO_FIGURE)  # none of these is ever negative
            at += 1
        value = digits = 0
        while at < end:
            sign = data[at]
            if sign < 48 or sign > 57:
                break
            value = value * 10 + (sign - 48)
            digits += 1
            at += 1
            if digits > MOST_DIGITS:
                raise ValueError(_NO_FIGURE)
        if digits == 0 or (at < end and data[at] != 32 and data[at] != 10):
            raise ValueError("no whole number where one belongs")
        if field == 4:
            ppid = value
        elif field == 9:
            flags = value
        elif field == 10:
            min_flt = value
        elif field == 12:
            maj_flt = value
        elif field == 20:
            threads = value
        elif field == 22:
            start_ticks = value
        elif field == 23:
            vss_bytes = value
        field += 1
    if opening > MOST_DIGITS:
        raise ValueError(_NO_FIGURE)
    pid: cython.longlong = int(data[:opening])
    _require_possible(pid, ppid, threads)
    if value > MOST_KIB // 64:  # the last value is rss, in pages of at most 64 KiB
        raise ValueError(_NO_FIGURE)
    has_memory = vss_bytes > 0 and not flags & PF_KTHREAD
    comm = data[opening + 1 : closing].decode("utf-8", "surrogateescape")
    return Process(
        pid, ppid, None, None, comm, None, None,
        data[closing + 2 : closing + 3].decode("ascii", "surrogateescape"),
        start_ticks, threads, min_flt, maj_flt,
        vss_bytes if has_memory else 0, value * page_bytes if has_memory else None,
        origin=_ABSENT if has_memory else _NO_MEMORY,
    )  # fmt: skip


@cython.cfunc
@cython.exceptval(-1, check=False)
def _require_possible(
    pid: cython.longlong, ppid: cython.longlong, threads: cython.longlong
) -> cython.int:
    """ValueError unless a kernel counts so far."""
    if not 0 < pid < 1 << 31 or not 0 <= ppid < 1 << 31 or not 0 <= threads < 1 << 31:
        raise ValueError(_NO_FIGURE)
    return 0


@cython.ccall
def figures_of_smaps(data: bytes) -> RollupFigures | None:
    """The sums of an smaps_rollup or smaps text; None when it is empty: no address space.

    fs/proc/task_mmu.c __show_smap(), v6.12: lines of "Name: FIGURE kB" below head lines.
    """
    at: cython.Py_ssize_t = 0
    end: cython.Py_ssize_t = len(data)
    if end == 0:
        return None
    rss: cython.longlong = -1
    pss: cython.longlong = -1
    clean: cython.longlong = -1
    dirty: cython.longlong = -1
    swap: cython.longlong = -1
    swap_pss: cython.longlong = -1
    huge: cython.longlong = -1
    code: cython.longlong
    sign: cython.int
    while at < end:
        code = 0
        while at < end:
            sign = data[at]
            if sign == 58 or sign == 10:  # ":" or the end of the line
                break
            code = (code * 31 + sign) & 0x0FFF_FFFF
            at += 1
        if at < end and data[at] == 58:
            at += 1
            if code == RSS_CODE:
                rss = _added(rss, data, at)
            elif code == PSS_CODE:
                pss = _added(pss, data, at)
            elif code == PRIVATE_CLEAN_CODE:
                clean = _added(clean, data, at)
            elif code == PRIVATE_DIRTY_CODE:
                dirty = _added(dirty, data, at)
            elif code == SWAP_CODE:
                swap = _added(swap, data, at)
            elif code == SWAP_PSS_CODE:
                swap_pss = _added(swap_pss, data, at)
            elif code in (PRIVATE_HUGETLB_CODE, SHARED_HUGETLB_CODE):
                huge = _added(huge, data, at)
        while at < end and data[at] != 10:
            at += 1
        at += 1
    if rss < 0 or pss < 0 or clean < 0 or dirty < 0:
        raise ValueError("no Rss, Pss, Private_Clean or Private_Dirty")
    if max(rss, pss, clean + dirty, swap, swap_pss, huge) >= MOST_KIB:
        raise ValueError(_NO_FIGURE)
    return RollupFigures(
        rss << 10,
        pss << 10,
        (clean + dirty) << 10,
        None if swap < 0 else swap << 10,
        None if swap_pss < 0 else swap_pss << 10,
        None if huge < 0 else huge << 10,
    )


@cython.cfunc
@cython.exceptval(-1, check=False)
def _added(figure: cython.longlong, data: bytes, at: cython.Py_ssize_t) -> cython.longlong:
    """`figure`, -1 for none yet, and the size that stands at `at`."""
    size_kib: cython.longlong = _kib_at(data, at)
    return size_kib if figure < 0 else figure + size_kib


@cython.cfunc
@cython.exceptval(-1, check=False)
def _kib_at(data: bytes, at: cython.Py_ssize_t) -> cython.longlong:
    """The figure that stands at `at`: blanks, digits, " kB"."""
    end: cython.Py_ssize_t = len(data)
    value: cython.longlong = 0
    first: cython.Py_ssize_t
    sign: cython.int
    while at < end and data[at] == 32:
        at += 1
    first = at
    while at < end:
        sign = data[at]
        if sign < 48 or sign > 57:
            break
        value = value * 10 + (sign - 48)
        if value >= MOST_KIB:
            raise ValueError(_NO_FIGURE)
        at += 1
    if at == first or data[at : at + 3] != b" kB":
        raise ValueError("no size where one belongs")
    return value
