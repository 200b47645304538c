"""Owns why a request could not be met: what it asked, which zones it may use, what they had.

Imports observe's OOM records and gfp_names, and analysis.oom_choice. Knows no screen.
"""

from __future__ import annotations

import msgspec

from memtwin.analysis.oom_choice import MEMCG, constraint_of, node_list
from memtwin.observe.oom.gfp_names import flags_of, name_of
from memtwin.observe.oom.missing import era_of
from memtwin.observe.oom.records import OomReport, ZoneText
from memtwin.units import format_size

HIGHEST_TO_LOWEST = ("Device", "Movable", "HighMem", "Normal", "DMA32", "DMA")
# MODEL: with less than this free, swap is as good as full: CPUs hold slots that others cannot take
FULL_SWAP_SHARE, FULL_SWAP_KIB = 0.01, 512
COSTLY_ORDER = 3  # include/linux/mmzone.h PAGE_ALLOC_COSTLY_ORDER, v6.12


class Request(msgspec.Struct, kw_only=True):
    """What was asked for."""

    size_bytes: int | None = None
    order: int | None = None
    flags: tuple[str, ...] = ()
    flags_name: str = ""
    purpose: str = ""  # for whom, in words
    highest_zone: str = ""
    may_sleep: bool | None = None
    may_do_io: bool | None = None


class ZoneVerdict(msgspec.Struct, kw_only=True):
    """Whether one zone could have served the request, by the report's figures."""

    node: int | None
    name: str
    reachable: bool
    free_bytes: int | None = None
    usable_bytes: int | None = None  # free, less what this request may not take (CMA, reserves)
    min_bytes: int | None = None
    reserve_bytes: int | None = None  # kept from requests that may use higher zones
    serves: bool | None = None
    why: str = ""


class Cause(msgspec.Struct, kw_only=True):
    """Why the request could not be met."""

    request: Request
    zones: list[ZoneVerdict] = []
    fragmented: bool = False
    group_over_bytes: int | None = None  # a group's limit less its usage
    swap: str = ""  # "none", "full", "free", "limited" or "" where the text does not say
    swap_total_bytes: int | None = None
    swap_free_bytes: int | None = None
    sentences: list[str] = []


def request_of(report: OomReport) -> Request:
    """What the report's asker wanted."""
    asker = report.invocation
    if asker is None:
        return Request(purpose="the text does not say what was asked for")
    era = era_of(report)
    flags = flags_of(asker.gfp_mask, asker.gfp_text, era.first if era.exact else None)
    order = asker.order
    return Request(
        size_bytes=None if order is None or not 0 <= order < 32 else report.page_bytes << order,
        order=order,
        flags=tuple(sorted(flags)),
        flags_name=asker.gfp_text or name_of(flags),
        purpose=_purpose(report, flags, order),
        highest_zone=_highest_zone(flags, report),
        may_sleep="DIRECT_RECLAIM" in flags if flags else None,
        may_do_io="IO" in flags if flags else None,
    )


def _purpose(report: OomReport, flags: frozenset[str], order: int | None) -> str:
    if constraint_of(report)[0] == MEMCG:
        return _charged(report)
    if order == -1:
        return "no request: an administrator asked for a kill"
    if not flags:
        return "a fault whose request is not known any more"
    if {"HIGHMEM", "MOVABLE"} <= flags:
        huge = (order or 0) >= 9
        return "a huge page of a program" if huge else "a page of a program or of the page cache"
    if "HIGHMEM" in flags:
        return "a page of a program that cannot be moved"
    account = ", charged to a memory cgroup" if "ACCOUNT" in flags else ""
    if "HARDWALL" in flags:
        return f"the kernel's own data on behalf of a program{account}"
    return f"the kernel's own data{account}"


def _charged(report: OomReport) -> str:
    """For what a group was charged, by the call trace (mm/memcontrol.c, charges since v3.0)."""
    trace = " ".join(report.trace or report.doubtful_trace)
    if not trace:
        return "something charged to a memory cgroup; the call trace is not in the text"
    if "obj_cgroup_charge" in trace or "memcg_slab_post_alloc" in trace or "kmem" in trace:
        return "the kernel's own data, charged to the memory cgroup"
    if "swapin" in trace or "do_swap_page" in trace:
        return "a page read back from swap, charged to the memory cgroup"
    if "filemap" in trace or "add_to_page_cache" in trace or "shmem" in trace:
        return "a page of a file or of shared memory, charged to the memory cgroup"
    if "handle_mm_fault" in trace or "mem_cgroup_charge" in trace or "do_anonymous" in trace:
        return "a page of a program, charged to the memory cgroup"
    return "a page charged to the memory cgroup"


def zone_order(report: OomReport) -> list[str]:
    """The zones that the kernel was built with, lowest first: lowmem_reserve[] counts them."""
    info = report.mem_info
    zones = info.zones if info is not None else []
    names = {zone.name for zone in zones}
    length = max((len(zone.lowmem_reserve_pages or ()) for zone in zones), default=0)
    # include/linux/mmzone.h enum zone_type, v6.12; Device since 4.3
    if "HighMem" in names:
        order = ["DMA", "Normal", "HighMem", "Movable", "Device"]
        return order[1:] if length == 3 and "DMA" not in names else order[: max(length, 4)]
    if length in (2, 3) and "DMA32" not in names:
        return ["DMA", "Normal", "Movable"][-length:]
    return ["DMA", "DMA32", "Normal", "Movable", "Device"][: length or 5]


def _highest_zone(flags: frozenset[str], report: OomReport) -> str:
    """include/linux/gfp.h gfp_zone(), v6.12."""
    order = zone_order(report)
    if "DMA" in flags:
        return "DMA" if "DMA" in order else "Normal"
    if "DMA32" in flags:
        return "DMA32" if "DMA32" in order else "Normal"
    if {"HIGHMEM", "MOVABLE"} <= flags:
        return "Movable"
    if "HIGHMEM" in flags and "HighMem" in order:
        return "HighMem"
    return "Normal"


def cause_of(report: OomReport) -> Cause:
    """Why the request of `report` failed, by its own figures."""
    found = Cause(request=request_of(report))
    _swap(report, found)
    constraint, _ = constraint_of(report)
    if constraint == MEMCG:
        _group(report, found)
        return found
    order = zone_order(report)
    highest = found.request.highest_zone
    reach = order.index(highest) if highest in order else len(order) - 1
    allowed = _allowed_nodes(report)
    zones = report.mem_info.zones if report.mem_info is not None else []
    found.zones = [_zone(report, zone, order, reach, found.request, allowed) for zone in zones]
    _sentences(report, found)
    return found


def _allowed_nodes(report: OomReport) -> set[int] | None:
    """The nodes of a request that is held to some; None: all."""
    verdict, asker = report.verdict, report.invocation
    texts = [
        verdict.nodemask if verdict is not None else None,
        asker.nodemask if asker is not None else None,
    ]
    if verdict is not None and verdict.constraint == "CONSTRAINT_CPUSET":
        texts.insert(0, verdict.mems_allowed)
    for text in texts:
        if text and text != "(null)":
            return node_list(text) or None
    return None


def _zone(
    report: OomReport, zone: ZoneText, order: list[str], reach: int, request: Request,
    allowed: set[int] | None,
) -> ZoneVerdict:  # fmt: skip
    """mm/page_alloc.c __zone_watermark_ok(), v6.12, against the min mark."""
    index = order.index(zone.name) if zone.name in order else 0
    reachable = index <= reach and (allowed is None or zone.node is None or zone.node in allowed)
    found = ZoneVerdict(node=zone.node, name=zone.name, reachable=reachable)
    kib, page = zone.kib, report.page_bytes
    if not reachable:
        found.why = "the request may not use it"
        return found
    if "free" not in kib or "min" not in kib:
        found.why = "its figures are not in the text"
        return found
    reserve = zone.lowmem_reserve_pages or ()
    kept = reserve[reach] if reach < len(reserve) else (reserve[-1] if reserve else 0)
    found.free_bytes, found.min_bytes = kib["free"] << 10, kib["min"] << 10
    found.reserve_bytes = kept * page
    # since 6.13 the free part of the reserve is named; before, all of it counts as kept
    held = kib.get("free_highatomic", kib.get("reserved_highatomic", 0))
    usable = found.free_bytes - (held << 10)
    if "MOVABLE" not in request.flags:
        usable -= kib.get("free_cma", 0) << 10
    found.usable_bytes = max(usable, 0)
    over = found.usable_bytes - found.min_bytes - found.reserve_bytes
    wanted = request.order or 0
    if over <= 0:
        found.serves, found.why = False, _short(found, report, kib)
    elif wanted > 0 and zone.blocks and not any(zone.blocks[wanted:]):
        found.serves = False
        found.why = f"free memory is in pieces: no block of order {wanted} or more"
    elif wanted > 0 and zone.blocks and not _usable_block(zone, wanted, request.flags):
        found.serves = False
        found.why = f"blocks of order {wanted} are left only where this request may not take them"
    else:
        found.serves, found.why = True, "it had room when the report was printed"
    return found


def _short(found: ZoneVerdict, report: OomReport, kib: dict[str, int]) -> str:
    assert found.min_bytes is not None
    assert found.free_bytes is not None
    if found.free_bytes <= found.min_bytes:
        return "free memory is below its min mark"
    if found.reserve_bytes and found.free_bytes <= found.min_bytes + found.reserve_bytes:
        return "what is above min is kept for requests that can use no other zone (lowmem_reserve)"
    if kib.get("free_cma") and found.usable_bytes != found.free_bytes:
        return "most of what is free is CMA, which this request may not take"
    return "free memory is held back for high-order requests"


def _usable_block(zone: ZoneText, order: int, flags: tuple[str, ...]) -> bool:
    """Whether a block of `order` or more lies in page blocks that are not CMA, isolated or kept."""
    barred = {"H", "I"} | (set() if "MOVABLE" in flags else {"C"})
    return any(
        count and (not types or set(types) - barred)
        for count, types in zip(zone.blocks[order:], zone.block_types[order:], strict=False)
    )


def _swap(report: OomReport, found: Cause) -> None:
    info = report.mem_info
    if info is not None and info.swap_total_kib is not None:
        found.swap_total_bytes = info.swap_total_kib << 10
        if info.swap_total_kib == 0:
            found.swap = "none"
        elif info.swap_free_kib is not None:
            found.swap_free_bytes = info.swap_free_kib << 10
            found.swap = "full" if _full(info.swap_free_kib, info.swap_total_kib) else "free"
    group = report.memcg
    if group is not None and group.swap is not None:
        limit_kib = group.swap.limit_kib
        if limit_kib is not None:
            found.swap_total_bytes = limit_kib << 10
            found.swap_free_bytes = max(limit_kib - group.swap.usage_kib, 0) << 10
            found.swap = "limited" if limit_kib == 0 else "free"
            if limit_kib and _full(limit_kib - group.swap.usage_kib, limit_kib):
                found.swap = "full"


def _full(free_kib: int, total_kib: int) -> bool:
    return free_kib <= max(total_kib * FULL_SWAP_SHARE, FULL_SWAP_KIB)


def _group(report: OomReport, found: Cause) -> None:
    group = report.memcg
    if group is None or group.memory is None:
        found.sentences.append(
            "A memory cgroup was over its limit; the text does not have its counters."
        )
        return
    path = group.limit_path or (report.verdict.oom_memcg if report.verdict else None) or "?"
    usage = format_size(group.memory.usage_kib << 10)
    if group.memory.limit_kib is not None:
        limit = format_size(group.memory.limit_kib << 10)
        found.group_over_bytes = (group.memory.limit_kib - group.memory.usage_kib) << 10
        found.sentences.append(
            f"The memory cgroup {path} held {usage} of the {limit} it may hold, and reclaim found"
            " nothing more to take from it."
        )
    else:
        found.sentences.append(
            f"The memory cgroup {path} held {usage}; its limit is not what stopped it."
        )
    memsw = group.memsw
    if memsw is not None and memsw.limit_kib is not None and memsw.usage_kib >= memsw.limit_kib:
        limit = format_size(memsw.limit_kib << 10)
        found.sentences.append(
            f"With swap it was at its limit of {limit}, so nothing could go out."
        )
        found.swap = "full"
    elif memsw is not None and memsw.limit_kib is not None:
        left = format_size((memsw.limit_kib - memsw.usage_kib) << 10)
        found.sentences.append(
            f"Its limit with swap would have let it swap {left} more: swap is absent or full, or"
            " memory.swappiness is 0."
        )
        return
    if found.swap == "limited":
        found.sentences.append("It may not swap (memory.swap.max is 0).")
    elif found.swap == "full" and group.swap is not None:
        found.sentences.append("The swap that it may use is full.")
    elif found.swap == "":
        found.sentences.append("Whether the machine has swap is not in a report of this kind.")


def _sentences(report: OomReport, found: Cause) -> None:
    say = found.sentences.append
    reachable = [zone for zone in found.zones if zone.reachable]
    failing = [zone for zone in reachable if zone.serves is False]
    barred = [zone for zone in found.zones if not zone.reachable and zone.why.startswith("the req")]
    if not found.zones:
        say("The zones are not in the text, so why it failed cannot be told.")
    for zone in failing:
        say(
            f"Zone {_called(zone)} could not serve it: {zone.why} (free"
            f" {format_size(zone.free_bytes or 0)}, min {format_size(zone.min_bytes or 0)}"
            f"{', reserve ' + format_size(zone.reserve_bytes) if zone.reserve_bytes else ''})."
        )
    for zone in reachable:
        if zone.serves:
            say(
                f"Zone {_called(zone)} had room when the report was printed (free"
                f" {format_size(zone.free_bytes or 0)}, min {format_size(zone.min_bytes or 0)}):"
                " memory came free after the failure, or the request had another bound."
            )
    if barred:
        names = ", ".join(_called(zone) for zone in barred)
        say(f"The request may not use {names}.")
    # one zone with pages enough is enough: others (DMA, mostly) are kept back or full as always
    found.fragmented = not any(zone.serves for zone in reachable) and any(
        "pieces" in zone.why or "blocks of order" in zone.why for zone in failing
    )
    wanted = found.request.order or 0
    if found.fragmented:
        say(
            f"There was free memory, but not {format_size(found.request.size_bytes or 0)} of it in"
            " one piece: this is fragmentation, not a lack of memory."
        )
    elif 0 < wanted <= COSTLY_ORDER and failing:
        say(f"Order {wanted} makes it harder, but free memory was short for any order.")
    _say_swap(found)


def _called(zone: ZoneVerdict) -> str:
    return zone.name if zone.node is None else f"{zone.name} of node {zone.node}"


def _say_swap(found: Cause) -> None:
    total = format_size(found.swap_total_bytes or 0)
    free = format_size(found.swap_free_bytes or 0)
    if found.swap == "none":
        found.sentences.append("There is no swap: a program's own memory cannot go anywhere.")
    elif found.swap == "full":
        found.sentences.append(f"Swap is full ({free} of {total} free).")
    elif found.swap == "free" and found.request.may_do_io is False:
        found.sentences.append(f"Swap has {free} free, but this request may not start any I/O.")
    elif found.swap == "free":
        found.sentences.append(
            f"Swap has {free} of {total} free: what was left could not be swapped (locked, the"
            " kernel's own, or not of the zone in need), or swap was too slow."
        )
