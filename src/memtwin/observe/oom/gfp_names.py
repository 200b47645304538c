"""Owns the flags of a request by name: from the kernel's own words, or from a bare mask.

Imports nothing of the house. Kernels print the names since 4.6; before that a mask has to be read
by the table of its time, for the bits were renumbered in 4.4 and moved again later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# include/linux/gfp.h ___GFP_DMA and the bits above, v3.10: bit -> name
BITS_3 = (
    "DMA", "HIGHMEM", "DMA32", "MOVABLE", "WAIT", "HIGH", "IO", "FS", "COLD", "NOWARN", "REPEAT",
    "NOFAIL", "NORETRY", "MEMALLOC", "COMP", "ZERO", "NOMEMALLOC", "HARDWALL", "THISNODE",
    "RECLAIMABLE", "KMEMCG", "NOTRACK", "NO_KSWAPD", "OTHER_NODE", "WRITE",
)  # fmt: skip

# include/linux/gfp.h ___GFP_DMA and the bits above, v4.4
BITS_4 = (
    "DMA", "HIGHMEM", "DMA32", "MOVABLE", "RECLAIMABLE", "HIGH", "IO", "FS", "COLD", "NOWARN",
    "REPEAT", "NOFAIL", "NORETRY", "MEMALLOC", "COMP", "ZERO", "NOMEMALLOC", "HARDWALL", "THISNODE",
    "ATOMIC", "ACCOUNT", "NOTRACK", "DIRECT_RECLAIM", "OTHER_NODE", "WRITE", "KSWAPD_RECLAIM",
)  # fmt: skip

# include/linux/gfp_types.h ___GFP_DMA and the bits above, v6.1, without KASAN's
BITS_6 = (
    "DMA", "HIGHMEM", "DMA32", "MOVABLE", "RECLAIMABLE", "HIGH", "IO", "FS", "ZERO", "ATOMIC",
    "DIRECT_RECLAIM", "KSWAPD_RECLAIM", "WRITE", "NOWARN", "RETRY_MAYFAIL", "NOFAIL", "NORETRY",
    "MEMALLOC", "COMP", "NOMEMALLOC", "HARDWALL", "THISNODE", "ACCOUNT", "ZEROTAGS",
)  # fmt: skip
_RECLAIM = frozenset({"DIRECT_RECLAIM", "KSWAPD_RECLAIM"})
_KERNEL = _RECLAIM | {"IO", "FS"}
_USER = _KERNEL | {"HARDWALL"}
_MOVABLE = _USER | {"HIGHMEM", "MOVABLE"}
_LIGHT = (_MOVABLE | {"COMP", "NOMEMALLOC", "NOWARN"}) - _RECLAIM
# include/linux/gfp_types.h GFP_*, v6.1: what a name of several flags stands for
COMPOUND: Mapping[str, frozenset[str]] = {
    "GFP_ATOMIC": frozenset({"HIGH", "ATOMIC", "KSWAPD_RECLAIM"}),
    "GFP_KERNEL": _KERNEL,
    "GFP_KERNEL_ACCOUNT": _KERNEL | {"ACCOUNT"},
    "GFP_TEMPORARY": _KERNEL | {"RECLAIMABLE"},
    "GFP_NOWAIT": frozenset({"KSWAPD_RECLAIM"}),
    "GFP_NOIO": _RECLAIM,
    "GFP_NOFS": _RECLAIM | {"IO"},
    "GFP_USER": _USER,
    "GFP_HIGHUSER": _USER | {"HIGHMEM"},
    "GFP_HIGHUSER_MOVABLE": _MOVABLE,
    "GFP_TRANSHUGE_LIGHT": _LIGHT,
    "GFP_TRANSHUGE": _LIGHT | {"DIRECT_RECLAIM"},
    "GFP_DMA": frozenset({"DMA"}),
    "GFP_DMA32": frozenset({"DMA32"}),
    "__GFP_RECLAIM": _RECLAIM,
}
_KSWAPD_4 = 1 << 25  # set in what 4.4 and 4.5 print, a bit no earlier kernel has


def flags_of(mask: int | None, text: str, version: tuple[int, int] | None) -> frozenset[str]:
    """The flags of a request, without "__GFP_"; from `text` where the kernel printed names.

    >>> sorted(flags_of(0x201DA, "", (3, 10)))[:4]
    ['COLD', 'DIRECT_RECLAIM', 'FS', 'HARDWALL']
    >>> "MOVABLE" in flags_of(0x140DCA, "GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO", (6, 1))
    True
    """
    if text:
        found: set[str] = set()
        for word in re.split(r"[|,\s]+", text):
            found |= COMPOUND.get(word, frozenset({word.removeprefix("__GFP_")} - {""}))
        return frozenset(one for one in found if not one.startswith("0x"))
    if mask is None:
        return frozenset()
    return _normal(mask, _bits(mask, version))


def _bits(mask: int, version: tuple[int, int] | None) -> tuple[str, ...]:
    if version is None:
        return BITS_4 if mask & _KSWAPD_4 else BITS_3
    if version < (4, 4):
        return BITS_3
    return BITS_4 if version < (4, 14) else BITS_6


def _normal(mask: int, bits: tuple[str, ...]) -> frozenset[str]:
    found = {name for at, name in enumerate(bits) if mask >> at & 1}
    if bits is BITS_3:  # one flag for what are two later
        if "WAIT" in found:
            found |= {"DIRECT_RECLAIM"}
            if "NO_KSWAPD" not in found:
                found |= {"KSWAPD_RECLAIM"}
        found -= {"WAIT", "NO_KSWAPD"}
    return frozenset(found)


def name_of(flags: frozenset[str]) -> str:
    """The flags as the kernel would print them: the largest names first.

    >>> name_of(flags_of(0x200DA, "", (3, 10)))
    'GFP_HIGHUSER_MOVABLE'
    """
    rest, words = set(flags), []
    for name, meant in sorted(COMPOUND.items(), key=lambda one: (-len(one[1]), one[0])):
        if len(meant) > 1 and meant <= rest:
            words.append(name)
            rest -= meant
    return "|".join([*words, *(f"__GFP_{one}" for one in sorted(rest))]) or "none"
