"""Owns /proc/meminfo: its record, its reader and its writer.

Imports units and observe/scan. Knows nothing of where a figure comes from. Figures are KiB as
printed; those of HugePages_* are pages. A field is None when the text has no such line. Lines we
have no field for are kept in `other`, and `order` keeps the text's order, so that rendering gives
the same bytes.
"""

from __future__ import annotations

import msgspec

from memtwin.observe.scan import keyed_lines, whole_of_unit

PATH = "/proc/meminfo"

# printed name -> field (fs/proc/meminfo.c meminfo_proc_show(), v6.12, and what hugetlb and x86 add)
FIELDS: dict[str, str] = {
    "MemTotal": "mem_total_kib",
    "MemFree": "mem_free_kib",
    "MemAvailable": "mem_available_kib",
    "Buffers": "buffers_kib",
    "Cached": "cached_kib",
    "SwapCached": "swap_cached_kib",
    "Active": "active_kib",
    "Inactive": "inactive_kib",
    "Active(anon)": "active_anon_kib",
    "Inactive(anon)": "inactive_anon_kib",
    "Active(file)": "active_file_kib",
    "Inactive(file)": "inactive_file_kib",
    "Unevictable": "unevictable_kib",
    "Mlocked": "mlocked_kib",
    "HighTotal": "high_total_kib",
    "HighFree": "high_free_kib",
    "LowTotal": "low_total_kib",
    "LowFree": "low_free_kib",
    "SwapTotal": "swap_total_kib",
    "SwapFree": "swap_free_kib",
    "Zswap": "zswap_kib",
    "Zswapped": "zswapped_kib",
    "Dirty": "dirty_kib",
    "Writeback": "writeback_kib",
    "AnonPages": "anon_pages_kib",
    "Mapped": "mapped_kib",
    "Shmem": "shmem_kib",
    "KReclaimable": "kreclaimable_kib",
    "Slab": "slab_kib",
    "SReclaimable": "sreclaimable_kib",
    "SUnreclaim": "sunreclaim_kib",
    "KernelStack": "kernel_stack_kib",
    "PageTables": "page_tables_kib",
    "SecPageTables": "sec_page_tables_kib",
    "NFS_Unstable": "nfs_unstable_kib",
    "Bounce": "bounce_kib",
    "WritebackTmp": "writeback_tmp_kib",
    "CommitLimit": "commit_limit_kib",
    "Committed_AS": "committed_as_kib",
    "VmallocTotal": "vmalloc_total_kib",
    "VmallocUsed": "vmalloc_used_kib",
    "VmallocChunk": "vmalloc_chunk_kib",
    "Percpu": "percpu_kib",
    "HardwareCorrupted": "hardware_corrupted_kib",
    "AnonHugePages": "anon_huge_pages_kib",
    "ShmemHugePages": "shmem_huge_pages_kib",
    "ShmemPmdMapped": "shmem_pmd_mapped_kib",
    "FileHugePages": "file_huge_pages_kib",
    "FilePmdMapped": "file_pmd_mapped_kib",
    "CmaTotal": "cma_total_kib",
    "CmaFree": "cma_free_kib",
    "Unaccepted": "unaccepted_kib",
    "Balloon": "balloon_kib",
    "GPUActive": "gpu_active_kib",
    "GPUReclaim": "gpu_reclaim_kib",
    "HugePages_Total": "hugepages_total_pages",
    "HugePages_Free": "hugepages_free_pages",
    "HugePages_Rsvd": "hugepages_rsvd_pages",
    "HugePages_Surp": "hugepages_surp_pages",
    "Hugepagesize": "hugepagesize_kib",
    "Hugetlb": "hugetlb_kib",
    "DirectMap4k": "direct_map_4k_kib",
    "DirectMap2M": "direct_map_2m_kib",
    "DirectMap4M": "direct_map_4m_kib",
    "DirectMap1G": "direct_map_1g_kib",
}
_VALUE_END = 24  # column where a figure that fits its width ends


class MemInfo(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One reading of /proc/meminfo, in KiB (fields named *_pages: huge pages)."""

    mem_total_kib: int | None = None
    mem_free_kib: int | None = None
    mem_available_kib: int | None = None
    buffers_kib: int | None = None
    cached_kib: int | None = None
    swap_cached_kib: int | None = None
    active_kib: int | None = None
    inactive_kib: int | None = None
    active_anon_kib: int | None = None
    inactive_anon_kib: int | None = None
    active_file_kib: int | None = None
    inactive_file_kib: int | None = None
    unevictable_kib: int | None = None
    mlocked_kib: int | None = None
    high_total_kib: int | None = None
    high_free_kib: int | None = None
    low_total_kib: int | None = None
    low_free_kib: int | None = None
    swap_total_kib: int | None = None
    swap_free_kib: int | None = None
    zswap_kib: int | None = None
    zswapped_kib: int | None = None
    dirty_kib: int | None = None
    writeback_kib: int | None = None
    anon_pages_kib: int | None = None
    mapped_kib: int | None = None
    shmem_kib: int | None = None
    kreclaimable_kib: int | None = None
    slab_kib: int | None = None
    sreclaimable_kib: int | None = None
    sunreclaim_kib: int | None = None
    kernel_stack_kib: int | None = None
    page_tables_kib: int | None = None
    sec_page_tables_kib: int | None = None
    nfs_unstable_kib: int | None = None
    bounce_kib: int | None = None
    writeback_tmp_kib: int | None = None
    commit_limit_kib: int | None = None
    committed_as_kib: int | None = None
    vmalloc_total_kib: int | None = None
    vmalloc_used_kib: int | None = None
    vmalloc_chunk_kib: int | None = None
    percpu_kib: int | None = None
    hardware_corrupted_kib: int | None = None
    anon_huge_pages_kib: int | None = None
    shmem_huge_pages_kib: int | None = None
    shmem_pmd_mapped_kib: int | None = None
    file_huge_pages_kib: int | None = None
    file_pmd_mapped_kib: int | None = None
    cma_total_kib: int | None = None
    cma_free_kib: int | None = None
    unaccepted_kib: int | None = None
    balloon_kib: int | None = None
    gpu_active_kib: int | None = None
    gpu_reclaim_kib: int | None = None
    hugepages_total_pages: int | None = None
    hugepages_free_pages: int | None = None
    hugepages_rsvd_pages: int | None = None
    hugepages_surp_pages: int | None = None
    hugepagesize_kib: int | None = None
    hugetlb_kib: int | None = None
    direct_map_4k_kib: int | None = None
    direct_map_2m_kib: int | None = None
    direct_map_4m_kib: int | None = None
    direct_map_1g_kib: int | None = None
    other: dict[str, int] = {}  # printed name -> figure, for lines without a field
    order: tuple[str, ...] = ()  # printed names as the text has them


def parse_meminfo(text: str) -> MemInfo:
    """The record of a /proc/meminfo text.

    >>> parse_meminfo("MemTotal:         221316 kB\\n").mem_total_kib
    221316
    """
    figures: dict[str, int] = {}
    for key, value, line in keyed_lines(text):
        figures[key] = whole_of_unit(value, " kB", PATH, line)
    return meminfo_of(figures)


def meminfo_of(figures: dict[str, int]) -> MemInfo:
    """The record that holds `figures` (printed name -> KiB or huge pages), in their order."""
    info = MemInfo(
        order=tuple(figures), other={k: v for k, v in figures.items() if k not in FIELDS}
    )
    for key, value in figures.items():
        if key in FIELDS:
            setattr(info, FIELDS[key], value)
    return info


def render_meminfo(info: MemInfo) -> str:
    """The text of `info`, in its order (fs/proc/meminfo.c show_val_kb(), v6.12)."""
    lines = []
    for key in info.order:
        figure = getattr(info, FIELDS[key]) if key in FIELDS else info.other[key]
        label = f"{key}:".ljust(16)
        unit = "" if key.startswith("HugePages_") else " kB"
        lines.append(f"{label}{figure:>{max(_VALUE_END - len(label), 0)}}{unit}\n")
    return "".join(lines)
