"""A database load: an SQLite table in a file, filled, indexed, then read and updated at random.

Usage: key_value.py FILE ROWS OPERATIONS. Deterministic; prints one checksum.
"""

import os
import sqlite3
import sys

from group_by import MASK, draws


def main() -> None:
    path, rows, operations = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if os.path.exists(path):
        os.unlink(path)
    stream = draws(2)
    base = sqlite3.connect(path)
    base.execute("pragma journal_mode = off")
    base.execute("pragma synchronous = off")
    base.execute("pragma cache_size = -8192")
    base.execute("create table store (key integer primary key, value text)")
    base.executemany(
        "insert into store values (?, ?)",
        ((key, f"{next(stream):016x}" * 12) for key in range(rows)),
    )
    base.commit()
    checksum = 0
    for number in range(operations):
        word = next(stream)
        key = (word >> 8) % max(1, rows >> (word % 5))
        (value,) = base.execute("select value from store where key = ?", (key,)).fetchone()
        checksum = (checksum * 31 + len(value) + ord(value[0])) & MASK
        if number % 10 == 0:
            base.execute("update store set value = ? where key = ?", (f"{word:016x}" * 12, key))
    base.commit()
    base.close()
    os.unlink(path)
    print(checksum)


if __name__ == "__main__":
    main()
