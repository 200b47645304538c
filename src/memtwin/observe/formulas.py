"""Owns how the kernel derives printed figures from its counters: meminfo's sums, smaps' shares.

Imports units. Pure arithmetic over plain numbers: the twin and the tests on recorded texts use
the same lines.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from memtwin.units import pages_to_kib


class MemTotals(msgspec.Struct, kw_only=True):
    """What /proc/meminfo needs beyond the counters of /proc/vmstat; in pages by default."""

    total_pages: int
    available_pages: int
    buffers_pages: int = 0  # page cache of block devices
    high_total_pages: int = 0
    high_free_pages: int = 0
    swap_total_pages: int = 0
    swap_free_pages: int = 0
    zswap_pages: int = 0
    zswapped_pages: int = 0
    commit_limit_pages: int = 0
    committed_pages: int = 0
    cma_total_pages: int = 0
    vmalloc_total_kib: int = (1 << 35) - 1  # arch/x86 VMALLOC_SIZE_TB_L4: 32 TiB less a byte, v6.12
    vmalloc_used_pages: int = 0
    percpu_pages: int = 0
    hugepagesize_kib: int = 2048
    direct_map_2m_kib: int = 0
    direct_map_4k_kib: int = 0


def meminfo_figures(vm: Mapping[str, int], totals: MemTotals) -> dict[str, int]:
    """printed name -> KiB (HugePages_*: pages) from the counters `vm` (by /proc/vmstat name).

    fs/proc/meminfo.c meminfo_proc_show(), v6.1 and v6.12.
    """

    def count(name: str) -> int:
        return vm.get(name, 0)

    # 7.x splits what a node's page cache says; every version: cache less swap cache less buffers
    cached = count("nr_file_pages") - count("nr_swapcached") - totals.buffers_pages
    reclaimable, unreclaimable = count("nr_slab_reclaimable"), count("nr_slab_unreclaimable")
    pages = {
        "MemTotal": totals.total_pages,
        "MemFree": count("nr_free_pages"),
        "MemAvailable": totals.available_pages,
        "Buffers": totals.buffers_pages,
        "Cached": max(cached, 0),
        "SwapCached": count("nr_swapcached"),
        "Active": count("nr_active_anon") + count("nr_active_file"),
        "Inactive": count("nr_inactive_anon") + count("nr_inactive_file"),
        "Active(anon)": count("nr_active_anon"),
        "Inactive(anon)": count("nr_inactive_anon"),
        "Active(file)": count("nr_active_file"),
        "Inactive(file)": count("nr_inactive_file"),
        "Unevictable": count("nr_unevictable"),
        "Mlocked": count("nr_mlock"),
        "HighTotal": totals.high_total_pages,
        "HighFree": totals.high_free_pages,
        "LowTotal": totals.total_pages - totals.high_total_pages,
        "LowFree": count("nr_free_pages") - totals.high_free_pages,
        "SwapTotal": totals.swap_total_pages,
        "SwapFree": totals.swap_free_pages,
        "Zswap": totals.zswap_pages,
        "Zswapped": totals.zswapped_pages,
        "Dirty": count("nr_dirty"),
        "Writeback": count("nr_writeback"),
        "AnonPages": count("nr_anon_pages"),
        "Mapped": count("nr_mapped"),
        "Shmem": count("nr_shmem"),
        "KReclaimable": reclaimable + count("nr_kernel_misc_reclaimable"),
        "Slab": reclaimable + unreclaimable,
        "SReclaimable": reclaimable,
        "SUnreclaim": unreclaimable,
        "PageTables": count("nr_page_table_pages"),
        "SecPageTables": count("nr_sec_page_table_pages"),
        "NFS_Unstable": 0,
        "Bounce": count("nr_bounce"),
        "WritebackTmp": count("nr_writeback_temp"),
        "CommitLimit": totals.commit_limit_pages,
        "Committed_AS": totals.committed_pages,
        "VmallocUsed": totals.vmalloc_used_pages,
        "VmallocChunk": 0,
        "Percpu": totals.percpu_pages,
        "HardwareCorrupted": 0,
        "CmaTotal": totals.cma_total_pages,
        "CmaFree": count("nr_free_cma"),
        "Unaccepted": count("nr_unaccepted"),
        "Balloon": count("nr_balloon_pages"),
        "GPUActive": count("nr_gpu_active"),
        "GPUReclaim": count("nr_gpu_reclaim"),
    }
    found = {name: pages_to_kib(figure) for name, figure in pages.items()}
    found.update(_meminfo_in_other_units(vm, totals))
    return found


def _meminfo_in_other_units(vm: Mapping[str, int], totals: MemTotals) -> dict[str, int]:
    # vmstat prints huge pages, meminfo their size: mm/vmstat.c vmstat_item_print_in_thp(), v6.12
    huge = {
        "AnonHugePages": "nr_anon_transparent_hugepages",
        "ShmemHugePages": "nr_shmem_hugepages",
        "ShmemPmdMapped": "nr_shmem_pmdmapped",
        "FileHugePages": "nr_file_hugepages",
        "FilePmdMapped": "nr_file_pmdmapped",
    }
    found = {name: vm.get(item, 0) * totals.hugepagesize_kib for name, item in huge.items()}
    return {
        **found,
        "KernelStack": vm.get("nr_kernel_stack", 0),
        "VmallocTotal": totals.vmalloc_total_kib,
        "HugePages_Total": 0,
        "HugePages_Free": 0,
        "HugePages_Rsvd": 0,
        "HugePages_Surp": 0,
        "Hugepagesize": totals.hugepagesize_kib,
        "Hugetlb": 0,
        "DirectMap4k": totals.direct_map_4k_kib,
        "DirectMap2M": totals.direct_map_2m_kib,
    }


def si_mem_available(vm: Mapping[str, int], wmark_low_pages: int, totalreserve_pages: int) -> int:
    """Pages a new program could have without swapping (mm/show_mem.c si_mem_available(), v6.12)."""
    cache = vm.get("nr_active_file", 0) + vm.get("nr_inactive_file", 0)
    reclaimable = vm.get("nr_slab_reclaimable", 0) + vm.get("nr_kernel_misc_reclaimable", 0)
    available = vm["nr_free_pages"] - totalreserve_pages
    available += cache - min(cache // 2, wmark_low_pages)
    available += reclaimable - min(reclaimable // 2, wmark_low_pages)
    return max(available, 0)


def commit_limit_pages(
    total_pages: int, swap_pages: int, overcommit_ratio: int, overcommit_kbytes: int
) -> int:
    """Pages that strict overcommit would allow (mm/util.c vm_commit_limit(), v6.12)."""
    if overcommit_kbytes:
        return overcommit_kbytes // 4 + swap_pages
    return total_pages * overcommit_ratio // 100 + swap_pages
