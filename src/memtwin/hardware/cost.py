"""Owns the price of each primitive in virtual ns, and where each figure comes from.

Imports nothing. Knows nothing of who pays. A machine description may replace any figure.
"""

from __future__ import annotations

import cython

# name -> (ns, source). MODEL figures are orders of magnitude for a 3 GHz x86-64 server.
COSTS: dict[str, tuple[int, str]] = {
    "touch_ns": (1, "MODEL: a load or store that hits the TLB and a cache"),
    "instruction_ps": (400, "MODEL: 2.5 instructions a ns, where a trace was not timed"),
    "minor_fault_ns": (500, "MODEL: trap, walk, allocate and map, without clearing the page"),
    "clear_page_ns": (100, "MODEL: 4 KiB at 40 GB/s"),
    "copy_page_ns": (200, "MODEL: 4 KiB read and written at 20 GB/s each way"),
    "major_fault_ns": (2000, "MODEL: software part of a fault that waits for a device"),
    "fault_around_page_ns": (30, "MODEL: one further page mapped by filemap_map_pages"),
    "syscall_ns": (150, "MODEL: entry and exit"),
    "read_page_ns": (300, "MODEL: look up and copy one page in read()"),
    "write_page_ns": (400, "MODEL: look up, copy and dirty one page in write()"),
    "scan_page_ns": (150, "MODEL: one page through shrink_folio_list without I/O"),
    "rmap_walk_ns": (100, "MODEL: one mapping found and tested or cleared"),
    "submit_io_ns": (2000, "MODEL: build a request, hand it to the device and take its interrupt"),
    "swap_slot_ns": (100, "MODEL: allocate or free one slot"),
    "swap_page_ns": (1000, "MODEL: unmap or cache one page and build its part of a request"),
    "zram_compress_ns": (4000, "MODEL: lzo-rle, 4 KiB at 1 GB/s"),
    "zram_decompress_ns": (1500, "MODEL: lzo-rle, 4 KiB at 2.7 GB/s"),
    "context_switch_ns": (1500, "MODEL: block and wake"),
    "fork_ns": (60000, "MODEL: fork without page tables"),
    "fork_pte_ns": (15, "MODEL: one entry copied at fork"),
    "checkpoint_ns": (0, "MODEL: reading all files of /proc for a checkpoint of a script"),
    "unmap_page_ns": (60, "MODEL: one page unmapped and freed"),
}


@cython.final
@cython.cclass
class CostTable:
    """The figures in force on one machine, as fields named like the keys of COSTS."""

    def __init__(self, changes: dict[str, int] | None = None) -> None:
        for name, (cost_ns, _) in COSTS.items():
            setattr(self, name, (changes or {}).get(name, cost_ns))
