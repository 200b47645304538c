"""A small data job: a shop's orders in SQLite, its customers in a dict, five days of questions.

The recording shipped with memtwin (`src/memtwin/data/demo.trace`) is of this program. It has what
makes a program's need of memory a question: a database file read through a small cache (so the
kernel's page cache matters), records of its own on the heap, a hot part that is asked for all the
time and a cold part that is written once and hardly ever read again.

    python3 -S examples/orders.py [DATABASE] [ORDERS]
"""

from __future__ import annotations

import os
import random
import sqlite3
import sys
import tempfile
from collections.abc import Iterator

CUSTOMERS = 12_000
DAYS = 5
QUESTIONS_A_DAY = 1_500
HOT = 0.3  # the newest part of the orders, which nearly all questions are about


def orders(n: int, chance: random.Random) -> Iterator[tuple[int, int, int, bytes]]:
    """Rows of the table: number, customer, cents and a picture of the receipt."""
    for number in range(n):
        yield number, chance.randrange(CUSTOMERS), chance.randrange(100, 90_000), bytes(3600)


def main() -> None:
    """Fill the database, then answer questions, then write a report."""
    chance = random.Random(1)
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(tempfile.gettempdir(), "orders.db")
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 8_000
    if os.path.exists(path):
        os.unlink(path)
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode=OFF")
    database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer, cents, receipt)")
    database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", orders(n, chance))
    database.commit()
    customers = {i: bytearray(1000) for i in range(CUSTOMERS)}
    answered = 0
    for day in range(DAYS):
        for _ in range(QUESTIONS_A_DAY):
            share = HOT if chance.random() < 0.995 else 1.0
            number = n - 1 - int(chance.random() * n * share)
            row = database.execute("SELECT customer, cents FROM orders WHERE id=?", (number,))
            customer, cents = row.fetchone()
            customers[customer][day] = cents & 127
            answered += 1
        print(f"day {day}: {answered} questions")
    newest = "SELECT sum(cents) FROM orders WHERE id >= ?"
    (total,) = database.execute(newest, (int(n * (1 - HOT)),)).fetchone()
    print(f"{total / 100:.2f} in the newest orders of {n}")
    database.close()
    os.unlink(path)


if __name__ == "__main__":
    main()
