"""Owns the timeline of a machine: a few figures at each of many moments.

Imports observe's records and the ledger. Does no reading: texts of moments come in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from memtwin.analysis.ledger import Ledger, make_ledger
from memtwin.errors import UserError
from memtwin.observe.ledger_texts import read_ledger_counters
from memtwin.observe.system import parse_pressure

# the texts that a row is made of
PATHS = frozenset(("/proc/meminfo", "/proc/vmstat", "/proc/zoneinfo", "/proc/pressure/memory"))
_KERNEL = ("page_tables", "sec_page_tables", "kernel_stacks", "vmalloc", "percpu")


class Moment(Protocol):
    """Texts as they were at one moment."""

    taken_ns: int

    def read(self, path: str) -> str | None:
        """The text of `path`, or None."""
        ...


class TimelineRow(msgspec.Struct):
    """One moment. Rates are since the row before, None at the first."""

    taken_s: float
    available_bytes: int | None
    free_bytes: int
    anonymous_bytes: int
    file_bytes: int
    shmem_bytes: int
    slab_bytes: int
    kernel_bytes: int  # page tables, stacks, vmalloc, per-CPU
    unaccounted_bytes: int
    swap_used_bytes: int | None
    major_faults_per_s: float | None
    swap_in_pages_per_s: float | None
    swap_out_pages_per_s: float | None
    stalled_percent: float | None  # of the time, some task waited for memory


class _Totals(msgspec.Struct):
    taken_s: float
    vmstat: dict[str, int]
    stalled_us: int | None


def timeline(moments: Iterable[Moment]) -> list[TimelineRow]:
    """A row for each of `moments`; one whose texts can't be read is left out."""
    rows: list[TimelineRow] = []
    before: _Totals | None = None
    for moment in moments:
        try:
            counters = read_ledger_counters(moment)
        except UserError:
            continue
        now = _Totals(moment.taken_ns / 1e9, counters.vmstat, _stalled_us(moment))
        ledger = make_ledger(counters)
        info = counters.meminfo
        used = None
        if info.swap_total_kib is not None and info.swap_free_kib is not None:
            used = (info.swap_total_kib - info.swap_free_kib) * 1024
        available = info.mem_available_kib
        rows.append(
            TimelineRow(
                taken_s=now.taken_s,
                available_bytes=None if available is None else available * 1024,
                free_bytes=row_bytes(
                    ledger, ("free", "free_cma", "free_on_cpus", "free_beyond_zones")
                ),
                anonymous_bytes=row_bytes(ledger, ("anonymous", "swap_cache")),
                file_bytes=row_bytes(ledger, ("file", "buffers")),
                shmem_bytes=row_bytes(ledger, ("shmem",)),
                slab_bytes=row_bytes(ledger, ("slab_reclaimable", "slab_unreclaimable")),
                kernel_bytes=row_bytes(ledger, _KERNEL),
                unaccounted_bytes=row_bytes(ledger, ("unaccounted",)),
                swap_used_bytes=used,
                major_faults_per_s=_rate(before, now, "pgmajfault"),
                swap_in_pages_per_s=_rate(before, now, "pswpin"),
                swap_out_pages_per_s=_rate(before, now, "pswpout"),
                stalled_percent=_stalled_percent(before, now),
            )
        )
        before = now
    return rows


def row_bytes(ledger: Ledger, names: Sequence[str]) -> int:
    """Bytes of the rows called `names` together."""
    return sum(row.size_bytes for row in ledger.rows if row.row in names)


def _stalled_us(moment: Moment) -> int | None:
    text = moment.read("/proc/pressure/memory")
    some = None if text is None else parse_pressure(text).some
    return None if some is None else some.total_us


def _rate(before: _Totals | None, now: _Totals, name: str) -> float | None:
    if before is None or name not in before.vmstat or name not in now.vmstat:
        return None
    elapsed_s = now.taken_s - before.taken_s
    return (now.vmstat[name] - before.vmstat[name]) / elapsed_s if elapsed_s > 0 else None


def _stalled_percent(before: _Totals | None, now: _Totals) -> float | None:
    if before is None or before.stalled_us is None or now.stalled_us is None:
        return None
    elapsed_us = (now.taken_s - before.taken_s) * 1e6
    return 100 * (now.stalled_us - before.stalled_us) / elapsed_us if elapsed_us > 0 else None


def spread(moments_ns: Sequence[int], most: int) -> list[int]:
    """At most `most` of `moments_ns`, evenly apart, the first and the last among them.

    >>> spread([1, 2, 3, 4, 5], 3)
    [1, 3, 5]
    """
    if len(moments_ns) <= most:
        return list(moments_ns)
    last = len(moments_ns) - 1
    return [moments_ns[round(i * last / (most - 1))] for i in range(most)]
