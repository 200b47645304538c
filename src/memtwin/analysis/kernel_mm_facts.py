"""Owns what the knobs and counters of the kernel's memory features come to: THP, KSM, zswap.

Imports observe's records and units. Pure. A fact is a setting, an amount of memory or a number of
events, with its meaning; what follows from several of them is a fact too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from memtwin.observe.kernel_mm import Choice, Ksm, Thp, Zswap
from memtwin.observe.meminfo import MemInfo
from memtwin.units import KIB, PAGE_SIZE


class Fact(msgspec.Struct, kw_only=True):
    """One line of a view. Of `text`, `size_bytes`, `count` and `percent` one is not None."""

    section: str  # setting, memory or event
    name: str
    text: str | None = None
    size_bytes: int | None = None
    count: int | None = None
    percent: float | None = None
    meaning: str = ""


# meanings: Documentation/admin-guide/mm/transhuge.rst thp_fault_alloc and below, v6.12
_THP_EVENTS = {
    "thp_fault_alloc": "faults that got a huge page",
    "thp_fault_fallback": "faults that got small pages for want of a huge one",
    "thp_fault_fallback_charge": "of these, because the cgroup's limit stood in the way",
    "thp_collapse_alloc": "huge pages that khugepaged made of small ones",
    "thp_collapse_alloc_failed": "times that khugepaged found none",
    "thp_file_alloc": "huge pages for files in memory",
    "thp_file_mapped": "huge pages of files that were mapped whole",
    "thp_split_page": "huge pages split into small ones",
    "thp_split_page_failed": "splits that failed: somebody held the page",
    "thp_deferred_split_page": "huge pages that are to be split under pressure",
    "thp_underused_split_page": "of these, because most of the page was zero",
    "thp_split_pmd": "huge mappings made small, the page left whole",
    "thp_zero_page_alloc": "huge pages of zeros",
    "thp_swpout": "huge pages swapped out whole",
    "thp_swpout_fallback": "huge pages split to be swapped out",
}
_THP_MEMORY = (
    ("AnonHugePages", "anon_huge_pages_kib", "anonymous memory in huge pages"),
    ("ShmemHugePages", "shmem_huge_pages_kib", "shared memory and tmpfs in huge pages"),
    ("ShmemPmdMapped", "shmem_pmd_mapped_kib", "of it, mapped huge"),
    ("FileHugePages", "file_huge_pages_kib", "page cache in huge pages"),
    ("FilePmdMapped", "file_pmd_mapped_kib", "of it, mapped huge"),
)
# meanings: Documentation/admin-guide/mm/ksm.rst pages_shared and below, v6.12
_KSM_PAGES = {
    "pages_shared": "pages that stand for equal ones",
    "pages_sharing": "pages saved: more places that share them",
    "pages_unshared": "pages looked at that are like no other",
    "pages_volatile": "pages that change too fast to be shared",
    "pages_skipped": "pages that were passed over, as they were like no other before",
    "ksm_zero_pages": "pages of zeros, saved whole",
}
_KSM_MEANINGS = {
    "run": "0: stopped, 1: runs, 2: stopped and all pages given back",
    "pages_to_scan": "pages looked at in a round",
    "sleep_millisecs": "pause between rounds",
    "full_scans": "times that all memory that may be merged was looked at",
    "pages_scanned": "pages looked at since boot",
    "max_page_sharing": "places that one page may stand for",
    "merge_across_nodes": "1: pages of different nodes may be merged",
    "use_zero_pages": "1: empty pages become the kernel's page of zeros",
    "general_profit": "saved, less what keeping account of it takes",
}
_ZSWAP_SETTINGS = {
    "enabled": "Y: pages on their way to swap are compressed into memory first",
    "compressor": "the algorithm",
    "zpool": "how compressed pages are kept",
    "max_pool_percent": "of memory, what the pool may take",
    "accept_threshold_percent": "of that, where a full pool takes pages again",
    "shrinker_enabled": "Y: cold pages go on to swap under pressure",
}
_ZSWAP_EVENTS = {
    "zswpin": "pages that came back out of the pool",
    "zswpout": "pages that went in",
    "zswpwb": "pages that went on to swap",
}


def thp_facts(thp: Thp, info: MemInfo | None, vmstat: Mapping[str, int]) -> list[Fact]:
    """Transparent huge pages: as set, what is in them, how often they could be had."""
    facts = [
        *_choices(thp),
        *_numbers(
            (("use_zero_page", thp.use_zero_page, "1: reads of empty memory get one of zeros"),
             ("shrink_underused", thp.shrink_underused, "1: split huge pages of mostly zeros"))
        ),
    ]  # fmt: skip
    if thp.hpage_pmd_size_bytes is not None:
        size = thp.hpage_pmd_size_bytes
        facts.append(_memory("hpage_pmd_size", size, "size of a huge page"))
    for size_kib, chosen in sorted(thp.by_size_kib.items()):
        name = f"hugepages-{size_kib}kB"
        facts.append(_setting(name, chosen, "whether pages of this size are used"))
    if info is not None:
        for name, field, meaning in _THP_MEMORY:
            kib = getattr(info, field)
            if kib is not None:
                facts.append(_memory(name, kib * KIB, meaning))
        facts += _share("share of AnonPages", info.anon_huge_pages_kib, info.anon_pages_kib)
    facts += _events(_THP_EVENTS, vmstat)
    got, small = vmstat.get("thp_fault_alloc"), vmstat.get("thp_fault_fallback")
    if got is not None and small is not None:
        facts += _share("faults that got one", got, got + small, section="event")
    return facts


def ksm_facts(ksm: Ksm, vmstat: Mapping[str, int]) -> list[Fact]:
    """Same-page merging: as set, what it saves, and whether looking for it pays."""
    facts = []
    for name, figure in ksm.figures.items():
        if name in _KSM_PAGES:
            facts.append(_memory(name, figure * PAGE_SIZE, _KSM_PAGES[name]))
        elif name == "general_profit":
            facts.append(_memory(name, figure, _KSM_MEANINGS[name]))
        elif name in ("full_scans", "pages_scanned"):
            meaning = _KSM_MEANINGS.get(name, "")
            facts.append(Fact(section="event", name=name, count=figure, meaning=meaning))
        else:
            facts += _numbers(((name, figure, _KSM_MEANINGS.get(name, "")),))
    if ksm.pages_sharing is not None and ksm.pages_shared:
        ratio = f"{ksm.pages_sharing / ksm.pages_shared:.2f}"
        meaning = "saved for each page kept: the more, the better"
        facts.append(_setting("sharing / shared", ratio, meaning, section="memory"))
    if ksm.pages_unshared is not None and ksm.pages_sharing:
        ratio = f"{ksm.pages_unshared / ksm.pages_sharing:.2f}"
        meaning = "looked at in vain for each page saved: the less, the better"
        facts.append(_setting("unshared / sharing", ratio, meaning, section="memory"))
    facts += _events(
        {"cow_ksm": "shared pages that were written to, and copied",
         "ksm_swpin_copy": "pages copied as they came back from swap"}, vmstat,
    )  # fmt: skip
    order = ("setting", "memory", "event")
    return sorted(facts, key=lambda fact: order.index(fact.section))


def zswap_facts(zswap: Zswap, info: MemInfo | None, vmstat: Mapping[str, int]) -> list[Fact]:
    """zswap: as set, what is in its pool and what that takes, what went in and out."""
    facts = [
        _setting(name, value, _ZSWAP_SETTINGS.get(name, ""))
        for name, value in zswap.parameters.items()
    ]
    kept = None if info is None else info.zswapped_kib
    takes = None if info is None else info.zswap_kib
    if kept is not None and takes is not None:
        facts.append(_memory("Zswapped", kept * KIB, "pages in the pool, as they were"))
        facts.append(_memory("Zswap", takes * KIB, "memory that the pool takes"))
        if takes:
            ratio = f"{kept / takes:.2f}"
            facts.append(_setting("ratio", ratio, "Zswapped over Zswap", section="memory"))
            facts.append(_memory("gained", (kept - takes) * KIB, "Zswapped less Zswap"))
    for name, figure in zswap.counters.items():
        facts.append(Fact(section="event", name=name, count=figure))
    return facts + _events(_ZSWAP_EVENTS, vmstat)


def _choices(thp: Thp) -> list[Fact]:
    meanings = {
        "enabled": "which anonymous memory gets huge pages",
        "defrag": "who works to make one when there is none",
        "shmem_enabled": "which shared memory gets huge pages",
    }
    found = []
    for name, meaning in meanings.items():
        choice: Choice | None = getattr(thp, name)
        if choice is not None:
            allowed = " ".join(choice.allowed)
            found.append(_setting(name, choice.chosen, f"{meaning}; of {allowed}"))
    return found


def _numbers(found: Iterable[tuple[str, int | None, str]]) -> list[Fact]:
    return [_setting(name, str(n), meaning) for name, n, meaning in found if n is not None]


def _setting(name: str, text: str, meaning: str, section: str = "setting") -> Fact:
    return Fact(section=section, name=name, text=text, meaning=meaning)


def _memory(name: str, size_bytes: int, meaning: str) -> Fact:
    return Fact(section="memory", name=name, size_bytes=size_bytes, meaning=meaning)


def _events(meanings: Mapping[str, str], vmstat: Mapping[str, int]) -> list[Fact]:
    return [
        Fact(section="event", name=name, count=vmstat[name], meaning=meaning)
        for name, meaning in meanings.items()
        if name in vmstat
    ]


def _share(name: str, part: int | None, whole: int | None, section: str = "memory") -> list[Fact]:
    if part is None or not whole:
        return []
    return [Fact(section=section, name=name, percent=100 * part / whole)]
