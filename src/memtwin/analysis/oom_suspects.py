"""Owns what looks wrong in a report: hints at a leak or a mistake, each with its figures.

Imports observe's OOM records, analysis.oom_ledger and oom_choice. Knows no screen. The thresholds
are the model's: a hint says where to look, and proves nothing.
"""

from __future__ import annotations

from collections import defaultdict

import msgspec

from memtwin.analysis.oom_choice import MEMCG, Judgement
from memtwin.analysis.oom_ledger import REST, Ledger
from memtwin.observe.oom.records import OomReport
from memtwin.units import format_size

# MODEL: shares of all memory in the scope from which a part is worth a word
SLAB_SHARE = 0.25
REST_SHARE = 0.25
SHMEM_SHARE = 0.25
LOCKED_SHARE = 0.25
TABLES_SHARE = 0.10
HUGE_SHARE = 0.25
ONE_PROCESS_SHARE = 0.5
MANY_PROCESSES = 20  # of one name
MANY_SHARE = 0.3


class Suspect(msgspec.Struct, kw_only=True):
    """One hint."""

    kind: str  # "slab", "process", "processes", "shmem", "locked", "tables", "huge", "unnamed"
    size_bytes: int
    share: float  # of all memory in the scope
    sentence: str


def suspects_of(report: OomReport, ledger: Ledger | None, judged: Judgement) -> list[Suspect]:
    """What stands out, the largest first."""
    found: list[Suspect] = []
    total = ledger.total_bytes if ledger is not None else None
    if ledger is not None and total:
        _from_ledger(report, ledger, total, found)
    if total is None and judged.total_pages:
        total = judged.total_pages * report.page_bytes
    if total:
        _from_tasks(report, judged, total, found)
    return sorted(found, key=lambda one: -one.size_bytes)


def _from_ledger(report: OomReport, ledger: Ledger, total: int, found: list[Suspect]) -> None:
    def add(kind: str, size: int, least: float, sentence: str) -> None:
        share = size / total
        if share >= least:
            size_text = f"{format_size(size)}, {share:.0%} of {ledger.what}"
            found.append(
                Suspect(
                    kind=kind, size_bytes=size, share=share, sentence=f"{sentence}: {size_text}."
                )
            )

    slab = max(ledger.size_of("slab, unreclaimable"), ledger.size_of("slab_unreclaimable"))
    largest = sorted(report.slabs, key=lambda one: -one.total_kib)[:3]
    names = ", ".join(f"{one.name} {format_size(one.total_kib << 10)}" for one in largest)
    caches = f" (largest caches: {names})" if names else ""
    add(
        "slab",
        slab,
        SLAB_SHARE,
        f"Unreclaimable slab dominates, as a leak in the kernel would{caches}",
    )
    add(
        "shmem",
        ledger.size_of("shmem"),
        SHMEM_SHARE,
        "Much is in tmpfs or shared memory, which no kill gives back unless its files are removed",
    )
    add(
        "locked",
        ledger.size_of("unevictable"),
        LOCKED_SHARE,
        "Much is locked in memory (mlock, ramfs) and cannot be reclaimed",
    )
    tables = max(ledger.size_of("page tables"), ledger.size_of("pagetables"))
    add(
        "tables",
        tables,
        TABLES_SHARE,
        "Page tables are large: many processes map one large shared area, or mappings are sparse",
    )
    add(
        "huge",
        ledger.size_of("huge page pools"),
        HUGE_SHARE,
        "The pools of huge pages hold memory that nothing else can use",
    )
    if ledger.what == "all RAM":
        add(
            "unnamed",
            ledger.size_of(REST),
            REST_SHARE,
            "Much is in no row of the report, so held by a driver, a balloon, zram or vmalloc",
        )
    sites = sorted(report.sites, key=lambda one: -one.size_bytes)[:1]
    for site in sites:
        add(
            "slab",
            site.size_bytes,
            SLAB_SHARE,
            f"One place of the kernel asked for it: {site.where}",
        )


def _from_tasks(report: OomReport, judged: Judgement, total: int, found: list[Suspect]) -> None:
    page = report.page_bytes
    ones = [(one, (one.rss_pages + one.swap_pages) * page) for one in judged.candidates]
    if not ones:
        return
    where = "the group" if judged.constraint == MEMCG else "all memory"
    top, size = max(ones, key=lambda one: one[1])
    if size >= total * ONE_PROCESS_SHARE:
        swapped = f", {format_size(top.swap_pages * page)} of it in swap" if top.swap_pages else ""
        found.append(
            Suspect(
                kind="process",
                size_bytes=size,
                share=size / total,
                sentence=f"One process has most: {top.name} ({top.pid}) holds"
                f" {format_size(size)}{swapped}, as much as {size / total:.0%} of {where}.",
            )
        )
    by_name: dict[str, list[int]] = defaultdict(list)
    for one, held in ones:
        by_name[one.name].append(held)
    name, many = max(by_name.items(), key=lambda one: sum(one[1]))
    if len(many) >= MANY_PROCESSES and sum(many) >= total * MANY_SHARE:
        found.append(
            Suspect(
                kind="processes",
                size_bytes=sum(many),
                share=sum(many) / total,
                sentence=f"{len(many)} processes called {name} hold {format_size(sum(many))}"
                " together (pages they share are counted for each).",
            )
        )
