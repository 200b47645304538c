"""Owns /sys/kernel/mm and the knobs of zswap: records of THP, KSM, multi-gen LRU, huge pages.

Imports observe/reading and observe/scan. Knows nothing of what the knobs do. A field is None where
the kernel has no such file.
"""

from __future__ import annotations

import re

import msgspec

from memtwin.observe.reading import Reading
from memtwin.observe.scan import no_match, parse_figure, whole

ROOT = "/sys/kernel/mm"
ZSWAP_PARAMETERS = "/sys/module/zswap/parameters"
ZSWAP_DEBUG = "/sys/kernel/debug/zswap"
_CHOSEN = re.compile(r"\[([^\]]*)\]")
_POOL = re.compile(r"hugepages-(\d{1,12})kB")


class Choice(msgspec.Struct, frozen=True):
    """A knob with named settings: "always [madvise] never"."""

    chosen: str
    allowed: tuple[str, ...]


class Thp(msgspec.Struct, kw_only=True):
    """Transparent huge pages."""

    enabled: Choice | None = None
    defrag: Choice | None = None
    shmem_enabled: Choice | None = None
    use_zero_page: int | None = None
    hpage_pmd_size_bytes: int | None = None
    shrink_underused: int | None = None
    by_size_kib: dict[int, str] = {}  # size -> what its own `enabled` says, since 6.8


class Ksm(msgspec.Struct, kw_only=True):
    """Same-page merging. `figures`: every file of it that holds a number, by its name."""

    run: int | None = None
    pages_shared: int | None = None
    pages_sharing: int | None = None
    pages_unshared: int | None = None
    pages_volatile: int | None = None
    full_scans: int | None = None
    figures: dict[str, int] = {}


class LruGenKnobs(msgspec.Struct, kw_only=True):
    """Multi-gen LRU. `enabled_mask`: 1 the main switch, 2 leaf and 4 other accessed bits."""

    enabled_mask: int | None = None
    min_ttl_ms: int | None = None


class HugepagePool(msgspec.Struct, kw_only=True):
    """hugetlb pages of one size, in huge pages."""

    size_kib: int
    nr_hugepages: int | None = None
    free_hugepages: int | None = None
    resv_hugepages: int | None = None
    surplus_hugepages: int | None = None
    nr_overcommit_hugepages: int | None = None


class Zswap(msgspec.Struct, kw_only=True):
    """zswap: its parameters as printed, and its counters where debugfs is readable."""

    parameters: dict[str, str] = {}
    counters: dict[str, int] = {}


def parse_choice(text: str) -> Choice:
    """The record of a text such as "always [madvise] never".

    >>> parse_choice("always [madvise] never\\n").chosen
    'madvise'
    """
    chosen = _CHOSEN.search(text)
    if chosen is None:
        raise no_match("choice", text.rstrip("\n"), "'one [chosen] other'")
    return Choice(chosen[1], tuple(text.replace("[", " ").replace("]", " ").split()))


def render_choice(choice: Choice) -> str:
    """The text of `choice` (mm/huge_memory.c enabled_show(), v6.12)."""
    return " ".join(f"[{w}]" if w == choice.chosen else w for w in choice.allowed) + "\n"


def parse_mask(text: str) -> int:
    """The number of a text such as "0x0007"."""
    try:
        return int(text.strip(), 16)
    except ValueError:
        raise no_match("mask", text.rstrip("\n"), "a hexadecimal number") from None


def _number(name: str, text: str) -> int:
    return parse_figure(text, name)


def read_thp(reading: Reading) -> Thp:
    """Transparent huge pages as set."""
    folder = f"{ROOT}/transparent_hugepage"
    thp = Thp()
    for name in ("enabled", "defrag", "shmem_enabled"):
        setattr(thp, name, reading.optional(f"{folder}/{name}", parse_choice))
    for name, field in (
        ("use_zero_page", "use_zero_page"),
        ("hpage_pmd_size", "hpage_pmd_size_bytes"),
        ("shrink_underused", "shrink_underused"),
    ):
        setattr(thp, field, _figure_of(reading, f"{folder}/{name}"))
    for name in reading.names(folder):
        match = _POOL.fullmatch(name)
        choice = match and reading.optional(f"{folder}/{name}/enabled", parse_choice)
        if match and choice:
            thp.by_size_kib[int(match[1])] = choice.chosen
    return thp


def read_ksm(reading: Reading) -> Ksm:
    """Same-page merging as it stands."""
    folder = f"{ROOT}/ksm"
    ksm = Ksm()
    for name in reading.names(folder):
        text = reading.source.read(f"{folder}/{name}")
        if text is not None and text.strip().lstrip("-").isdigit():
            ksm.figures[name] = whole(text.strip()[:20], f"{folder}/{name}", text)
    for field in ("run", "pages_shared", "pages_sharing", "pages_unshared", "pages_volatile"):
        setattr(ksm, field, ksm.figures.get(field))
    ksm.full_scans = ksm.figures.get("full_scans")
    return ksm


def read_lru_gen(reading: Reading) -> LruGenKnobs:
    """Multi-gen LRU as set."""
    folder = f"{ROOT}/lru_gen"
    return LruGenKnobs(
        enabled_mask=reading.optional(f"{folder}/enabled", parse_mask),
        min_ttl_ms=_figure_of(reading, f"{folder}/min_ttl_ms"),
    )


def read_vma_readahead(reading: Reading) -> bool | None:
    """Whether swap-in reads ahead by virtual addresses."""
    text = reading.source.read(f"{ROOT}/swap/vma_ra_enabled")
    return None if text is None else text.strip() in ("true", "1")


def read_hugepages(reading: Reading) -> list[HugepagePool]:
    """The hugetlb pools, smallest size first."""
    folder = f"{ROOT}/hugepages"
    pools = []
    for name in reading.names(folder):
        match = _POOL.fullmatch(name)
        if match:
            pool = HugepagePool(size_kib=int(match[1]))
            for field in HugepagePool.__struct_fields__[1:]:
                setattr(pool, field, _figure_of(reading, f"{folder}/{name}/{field}"))
            pools.append(pool)
    return sorted(pools, key=lambda pool: pool.size_kib)


def read_zswap(reading: Reading) -> Zswap | None:
    """zswap as set and counted; None where the kernel has none."""
    names = reading.names(ZSWAP_PARAMETERS)
    if not names:
        return None
    zswap = Zswap()
    for name in names:
        text = reading.source.read(f"{ZSWAP_PARAMETERS}/{name}")
        if text is not None:
            zswap.parameters[name] = text.strip()
    for name in reading.names(ZSWAP_DEBUG):
        figure = _figure_of(reading, f"{ZSWAP_DEBUG}/{name}")
        if figure is not None:
            zswap.counters[name] = figure
    return zswap


def _figure_of(reading: Reading, path: str) -> int | None:
    return reading.optional(path, lambda text: parse_figure(text, path))
