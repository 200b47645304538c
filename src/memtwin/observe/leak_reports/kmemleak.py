"""Owns /sys/kernel/debug/kmemleak: objects of the kernel that no pointer was found to.

Imports leak_reports/report. One format: Documentation/dev-tools/kmemleak.rst, and mm/kmemleak.c
print_unreferenced(), v6.12. Objects with the same backtrace are one record.
"""

from __future__ import annotations

import re

from memtwin.errors import Absent
from memtwin.observe.leak_reports.report import Frame, LeakReport, LossRecord, tallies_of

PATH = "/sys/kernel/debug/kmemleak"
_OBJECT = re.compile(r"^unreferenced (?:object )?(?:\(?percpu\)? )?(0x[0-9a-f]+) \(size (\d+)\):")
_OWNER = re.compile(r'^\s+comm "(.*)", pid (\d+), jiffies (\d+)')
_DUMP = re.compile(r"^\s+((?:[0-9a-f]{2} )+)\s*(.*)$")
_CALL = re.compile(r"^\s+(?:\[<[0-9a-fx]+>\] )?([\w.]+)\+0x[0-9a-f]+/0x[0-9a-f]+(?: \[(\w+)\])?")
_BARE = re.compile(r"^\s+\[<([0-9a-f]+)>\] (\S+)")
_TEXT = re.compile(r"[^.\s][^.]{3,}")  # a dump has dots where nothing can be printed


def is_kmemleak(text: str) -> bool:
    """Whether `text` looks like kmemleak's."""
    return bool(re.search(r"^unreferenced (object|percpu) ", text, re.M))


def parse_kmemleak(text: str) -> LeakReport:
    """The report in `text`; an empty one has no records."""
    found: dict[tuple[tuple[Frame, ...], int], list[tuple[str, str | None]]] = {}
    size, owner, stack, dump = 0, "", list[Frame](), ""

    def close() -> None:
        if size:
            found.setdefault((tuple(stack), size), []).append((owner, _text_in(dump)))

    for line in text.splitlines():
        if match := _OBJECT.match(line):
            close()
            size, owner, stack, dump = int(match[2]), "", [], ""
        elif match := _OWNER.match(line):
            owner = f"{match[1]} (PID {match[2]})"
        elif match := _CALL.match(line):
            stack.append(Frame(match[1], module=match[2]))
        elif match := _BARE.match(line):
            stack.append(Frame(match[2], vaddr=int(match[1], 16)))
        elif match := _DUMP.match(line):
            dump += match[2]
    close()
    records = []
    for (frames, size_bytes), objects in found.items():
        owners = sorted({name for name, _ in objects})
        text_seen = next((words for _, words in objects if words), None)
        content = f"by {', '.join(owners[:3])}" + (f': "{text_seen}"' if text_seen else "")
        records.append(
            LossRecord(
                "definite",
                len(objects),
                size_bytes * len(objects),
                None,
                None,
                list(frames),
                content,
            )
        )
    records.sort(key=lambda record: -record.bytes)
    kinds = tallies_of(records)
    kinds["indirect"] = kinds["possible"] = kinds["reachable"] = None
    return LeakReport(
        tool="kmemleak",
        kinds=kinds,
        records=records,
        notes=["unreferenced: no pointer was found; an object that is only just made may be named"],
        absent=[Absent("other kinds", "kmemleak reports unreferenced objects only")],
    )


def _text_in(dump: str) -> str | None:
    match = _TEXT.search(dump)
    return match[0].strip() if match else None
