"""Owns reading the running kernel's own log buffer. Imports nothing of the house.

Knows nothing of what a line means. The buffer is a ring: booting's lines may be gone.
"""

from __future__ import annotations

import os

KMSG_PATH = "/dev/kmsg"
_RECORD_BYTES = 8192  # kernel/printk/printk.c devkmsg_read(): a record fits, v6.12
_MAX_RECORDS = 20_000


def kernel_log() -> str | None:
    """The lines that the kernel still holds, oldest first; None without permission."""
    try:
        kmsg = os.open(KMSG_PATH, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    lines = []
    try:
        for _ in range(_MAX_RECORDS):
            record = os.read(kmsg, _RECORD_BYTES).decode(errors="replace")
            lines.append(record.partition(";")[2].partition("\n")[0])
    except BlockingIOError:
        pass  # all is read
    except OSError:
        return "\n".join(lines) or None  # the record was overwritten while we read
    finally:
        os.close(kmsg)
    return "\n".join(lines)
