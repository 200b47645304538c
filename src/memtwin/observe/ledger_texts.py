"""Owns which texts a ledger of memory is made from, and how they become its counters.

Imports observe's records. Does no accounting: which counter lies within which other is known in
analysis/ledger.
"""

from __future__ import annotations

import enum
import math
import re

import msgspec

from memtwin.errors import UserError
from memtwin.observe import iomem, meminfo, zoneinfo
from memtwin.observe import vmstat as vmstat_text
from memtwin.observe.meminfo import MemInfo
from memtwin.observe.source import Source
from memtwin.observe.swaps import parse_mm_stat
from memtwin.observe.zoneinfo import ZoneText

ZSWAP_POOL_PATH = "/sys/module/zswap/parameters/zpool"
DMESG_PATHS = ("/dmesg", "/var/log/dmesg")  # of a captured tree
BALLOON_FEATURES = "/sys/bus/virtio/drivers/virtio_balloon/virtio{number}/features"
VIRTIO_BALLOON_F_DEFLATE_ON_OOM = 2  # include/uapi/linux/virtio_balloon.h, v6.12
_PAGE_KIB = (4, 8, 16, 32, 64, 256)  # arch/*/Kconfig PAGE_SIZE_*, v6.12
_MAX_ZRAMS = 16
_MAX_VIRTIO = 16
# mm/percpu.c pcpu_embed_first_chunk(), v6.12: "Embedded 53 pages/cpu s185496 r0 d31592 u1048576"
_EMBEDDED = re.compile(r"percpu: Embedded (\d+) pages/cpu")
_CPU_IDS = re.compile(r"nr_cpu_ids:(\d+)")
_KERNEL_IMAGE = ("Kernel code", "Kernel rodata", "Kernel data", "Kernel bss")


class VmapStacks(enum.Enum):
    """Whether kernel stacks are counted in VmallocUsed too."""

    YES = "yes"
    NO = "no"


class BalloonPlace(enum.Enum):
    """Whether pages in the balloon are still part of MemTotal."""

    INSIDE = "inside"
    OUTSIDE = "outside"


class OutsideCounters(msgspec.Struct, kw_only=True):
    """Memory that booting kept away from the page allocator, in pages; None: not told."""

    present: int | None = None
    spanned: int | None = None
    managed: int | None = None
    memmap_boot: int | None = None
    percpu_first_chunk: int | None = None
    kernel_image: int | None = None
    crash_kernel: int | None = None


class LedgerCounters(msgspec.Struct, kw_only=True):
    """What the kernel counted at one moment. `vmstat`: pages by the kernel's name."""

    page_bytes: int
    meminfo: MemInfo
    vmstat: dict[str, int] = {}
    percpu_lists: int | None = None  # pages on the lists of the CPUs, all zones
    zram: int | None = None  # pages that zram devices hold
    zswap_pool: str | None = None
    vmap_stacks: VmapStacks = VmapStacks.YES
    balloon_place: BalloonPlace = BalloonPlace.OUTSIDE
    outside: OutsideCounters = msgspec.field(default_factory=OutsideCounters)
    absent: dict[str, str] = {}  # what could not be read -> why


def read_ledger_counters(source: Source, dmesg: str | None = None) -> LedgerCounters:
    """Read one moment's counters from `source`.

    `dmesg`: the kernel's log where the source has none of its own. Raises UserError without
    /proc/meminfo; every other text may be missing, and `absent` says which were.
    """
    vm_text, mem_text = source.read(vmstat_text.PATH), source.read(meminfo.PATH)
    zone_text = source.read(zoneinfo.PATH)
    if mem_text is None:
        raise UserError(f"{meminfo.PATH}: found no such text, a ledger needs it")
    absent: dict[str, str] = {}
    info = meminfo.parse_meminfo(mem_text)
    if info.mem_total_kib is None:
        raise UserError(f"{meminfo.PATH}: found no line MemTotal, a ledger needs it")
    figures = vmstat_text.parse_vmstat(vm_text).figures if vm_text else {}
    zones = zoneinfo.parse_zoneinfo(zone_text).zones if zone_text else []
    if not figures:
        absent["vmstat"] = f"{vmstat_text.PATH} can't be read: meminfo's coarser figures are used"
    if not zones:
        absent["free on CPUs' lists"] = f"{zoneinfo.PATH} can't be read: within unaccounted"
    counters = LedgerCounters(
        page_bytes=page_bytes(info, figures, zones),
        meminfo=info,
        vmstat=figures,
        percpu_lists=sum(p.count_pages for z in zones for p in z.pagesets) if zones else None,
        zswap_pool=(source.read(ZSWAP_POOL_PATH) or "").strip() or None,
        vmap_stacks=_vmap_stacks(info),
        balloon_place=_balloon_place(source),
        absent=absent,
    )
    counters.zram = _zram_pages(source, counters.page_bytes)
    counters.outside = _outside(source, dmesg, zones, counters)
    return counters


def page_bytes(info: MemInfo, vmstat: dict[str, int], zones: list[ZoneText]) -> int:
    """The page size of the machine that the texts come from; 4096 where they can't tell.

    MemTotal is KiB and managed is pages of the same memory; where they disagree (memory that no
    zone manages), the caches and slabs are compared, which change little from text to text.
    """
    managed = sum(zone.pages.get("managed", 0) for zone in zones)
    for kib in _PAGE_KIB:
        if managed and managed * kib == info.mem_total_kib:
            return kib * 1024
    names = ("nr_file_pages", "nr_anon_pages", "nr_slab_reclaimable", "nr_slab_unreclaimable")
    pages = sum(vmstat.get(name, 0) for name in names)
    sizes = (info.cached_kib, info.buffers_kib, info.swap_cached_kib, info.anon_pages_kib)
    total_kib = sum(size or 0 for size in (*sizes, info.slab_kib))
    if not pages or not total_kib:
        return 4096
    return min(_PAGE_KIB, key=lambda kib: abs(math.log(pages * kib / total_kib))) * 1024


def _vmap_stacks(info: MemInfo) -> VmapStacks:
    # arch/x86/Kconfig HAVE_ARCH_VMAP_STACK, v6.12: of x86 only 64-bit; HighTotal is 32-bit
    if info.high_total_kib is not None:
        return VmapStacks.NO
    fits = (info.vmalloc_used_kib or 0) >= (info.kernel_stack_kib or 0)
    return VmapStacks.YES if fits else VmapStacks.NO


def _balloon_place(source: Source) -> BalloonPlace:
    """A balloon that gives back on OOM leaves MemTotal alone; every other one shrinks it.

    drivers/virtio/virtio_balloon.c fill_balloon(), v6.12.
    """
    for number in range(_MAX_VIRTIO):
        bits = source.read(BALLOON_FEATURES.format(number=number))
        if bits is not None:
            kept = bits[VIRTIO_BALLOON_F_DEFLATE_ON_OOM : VIRTIO_BALLOON_F_DEFLATE_ON_OOM + 1]
            return BalloonPlace.INSIDE if kept == "1" else BalloonPlace.OUTSIDE
    return BalloonPlace.OUTSIDE


def _zram_pages(source: Source, page_size_bytes: int) -> int | None:
    held: int | None = None
    for number in range(_MAX_ZRAMS):
        text = source.read(f"/sys/block/zram{number}/mm_stat")
        if text is None:
            break
        held = (held or 0) + parse_mm_stat(text).mem_used_bytes // page_size_bytes
    return held


def _outside(
    source: Source, dmesg: str | None, zones: list[ZoneText], counters: LedgerCounters
) -> OutsideCounters:
    found = OutsideCounters(memmap_boot=counters.vmstat.get("nr_memmap_boot_pages"))
    if zones:
        for name in ("present", "spanned", "managed"):
            setattr(found, name, sum(zone.pages.get(name, 0) for zone in zones))
    log = dmesg or next(filter(None, map(source.read, DMESG_PATHS)), None) or ""
    embedded, cpus = _EMBEDDED.search(log), _CPU_IDS.search(log)
    if embedded and cpus:
        found.percpu_first_chunk = int(embedded[1]) * int(cpus[1])
    text = source.read(iomem.PATH)
    ranges = iomem.parse_iomem(text) if text else []
    if not ranges:
        counters.absent["kernel image and crash kernel"] = f"{iomem.PATH} can't be read"
    elif iomem.is_hidden(ranges):
        counters.absent["kernel image and crash kernel"] = f"{iomem.PATH} hides its addresses"
    else:
        size = counters.page_bytes
        found.kernel_image = _pages_of(ranges, _KERNEL_IMAGE, size)
        found.crash_kernel = _pages_of(ranges, ("Crash kernel",), size)
    return found


def _pages_of(ranges: list[iomem.Resource], names: tuple[str, ...], size_bytes: int) -> int:
    return sum(-(-(r.end_paddr - r.start_paddr) // size_bytes) for r in ranges if r.name in names)
