"""Looking into the heap of a running program: frozen, walked, marked, let go.

`scan_heap(pid)` gives a `HeapScan`; `Method` says how the program's memory is read. Nothing of the
program changes, and it runs on whatever becomes of us.
"""

from __future__ import annotations

from memtwin.observe.live_heap.heap_scan import HeapTrouble, scan_heap
from memtwin.observe.live_heap.records import Group, HeapScan, Tally
from memtwin.observe.live_heap.target import Method

__all__ = ["Group", "HeapScan", "HeapTrouble", "Method", "Tally", "scan_heap"]
