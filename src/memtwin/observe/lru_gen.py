"""Owns debugfs lru_gen: the generations of each memcg and node; records, reader and writer.

Imports observe/scan. Knows nothing of ageing. Sizes are pages; an age is milliseconds.
"""

from __future__ import annotations

import re

import msgspec

from memtwin.observe.scan import no_match, whole

PATH = "/sys/kernel/debug/lru_gen"
_MEMCG = re.compile(r"memcg ( *)(\d{1,19}) ?(.*)")
_NODE = re.compile(r" node +(\d{1,9})")
_GENERATION = re.compile(r" +(\d{1,19}) +(\d{1,19}) +(-?\d{1,19})(\D?) +(-?\d{1,19})(\D?)")


class Generation(msgspec.Struct, frozen=True):
    """One generation; the oldest comes first."""

    seq: int
    age_ms: int
    anon_pages: int
    file_pages: int


class MemcgGenerations(msgspec.Struct):
    """The generations of one memcg on one node."""

    memcg: int  # its number in this boot
    path: str
    node: int
    generations: list[Generation] = []
    width: int = 5  # of the number as printed: 0 since 7.x


def parse_lru_gen(text: str) -> list[MemcgGenerations]:
    """The rows of a debugfs lru_gen text, in its order."""
    found: list[MemcgGenerations] = []
    memcg, path, width = 0, "", 5
    for line in filter(str.strip, text.splitlines()):
        head, node = _MEMCG.fullmatch(line), _NODE.fullmatch(line)
        generation = _GENERATION.fullmatch(line.rstrip())
        if head:
            memcg, path = whole(head[2], PATH, line), head[3]
            width = len(head[1] + head[2]) if head[1] else 0
        elif node:
            found.append(MemcgGenerations(memcg, path, int(node[1]), [], width))
        elif generation and found:
            seq, age_ms = whole(generation[1], PATH, line), whole(generation[2], PATH, line)
            anon, file = whole(generation[3], PATH, line), whole(generation[5], PATH, line)
            found[-1].generations.append(Generation(seq, age_ms, anon, file))
        elif not line.startswith("       "):  # lru_gen_full adds lines of tiers and walks
            raise no_match(PATH, line, "'memcg N PATH', ' node N' or ' SEQ AGE ANON FILE'")
    return found


def render_lru_gen(rows: list[MemcgGenerations]) -> str:
    """The text of `rows` (mm/vmscan.c lru_gen_seq_show(), v6.12)."""
    out, last = [], None
    for row in rows:
        if (row.memcg, row.path) != last:
            last = (row.memcg, row.path)
            out.append(f"memcg {row.memcg:>{row.width}} {row.path}\n")
        out.append(f" node {row.node:>5}\n")
        for one in row.generations:
            out.append(
                f" {one.seq:>10} {one.age_ms:>10} {one.anon_pages:>10}  {one.file_pages:>10} \n"
            )
    return "".join(out)
