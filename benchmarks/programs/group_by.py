"""A Python data job: builds a table of records, groups it by a skewed key, then looks keys up
again.

Usage: group_by.py RECORDS LOOKUPS. Deterministic; prints one checksum.
"""

import sys

MASK = (1 << 64) - 1


def draws(seed: int):
    """An endless stream of 64-bit numbers (splitmix64)."""
    state = seed
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield z ^ (z >> 31)


def main() -> None:
    records, lookups = int(sys.argv[1]), int(sys.argv[2])
    stream = draws(1)
    groups: dict[int, list[tuple[int, str]]] = {}
    for number in range(records):
        word = next(stream)
        bits = word % 17
        groups.setdefault((word >> 8) % (1 << bits), []).append((number, f"row-{word:016x}"))
    totals = {key: sum(row[0] for row in rows) for key, rows in groups.items()}
    keys = sorted(groups)
    checksum = 0
    for _ in range(lookups):
        word = next(stream)
        key = keys[(word >> 8) % max(1, len(keys) >> (word % 4))]
        rows = groups[key]
        checksum = (checksum + len(rows[word % len(rows)][1]) + totals[key]) & MASK
    print(checksum)


if __name__ == "__main__":
    main()
