"""A rule taken from the kernel names file, function and version where it is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import house

KERNEL_FILE = re.compile(
    r"\b(?:mm|fs|include|kernel|arch|block|drivers|lib|init|net)/[\w./-]+\.(?:c|h|S|rst)\b"
)
VERSION = re.compile(r"\bv[3-7]\.\d{1,2}\b")
# what stands between the file and its version: a function, macro, enum, table or section
NAMED = re.compile(r"[A-Za-z_]\w+")


def _faults_of(text: str, code: str = "") -> list[str]:
    faults = []
    found = list(KERNEL_FILE.finditer(text))
    for number, match in enumerate(found):
        end = found[number + 1].start() if number + 1 < len(found) else len(text)
        tail = text[match.end() : end]
        version = VERSION.search(text, match.end())
        if version is None and not match.group().startswith("include/uapi/"):  # ABI: never changes
            faults.append(f"{match.group()}: no version")
        elif not NAMED.search(code or VERSION.sub(" ", tail)):
            faults.append(f"{match.group()}: no function or name")
    return faults


@pytest.mark.parametrize("path", house.sources(".py"), ids=house.shown)
def test_citations_name_file_function_and_version(path: Path) -> None:
    wrong = [
        f"{house.shown(path)}:{comment.line}: {fault}"
        for comment in house.comments(path)
        for fault in _faults_of(comment.text, comment.code)
    ]
    assert not wrong, "write `mm/page_alloc.c rmqueue(), v6.12`:\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("mm/page_alloc.c __rmqueue(), v6.1 and v6.12", 0),
        ("mm/internal.h page_is_buddy(), mm/page_alloc.c expand(), v6.12", 0),
        ("include/linux/mmzone.h enum lru_list, v6.12: in this order", 0),
        ("mm/page_alloc.c __rmqueue()", 1),
        ("mm/page_alloc.c, v6.12", 1),
        ("include/uapi/linux/prctl.h PR_SET_PDEATHSIG", 0),
        ("the memory map, as everyone knows", 0),
    ],
)
def test_the_reader_of_citations_tells_whole_ones_from_broken_ones(text: str, faults: int) -> None:
    assert len(_faults_of(text)) == faults


def test_a_constant_that_is_cited_on_its_own_line_needs_no_second_name() -> None:
    assert not _faults_of("include/linux/mmzone.h, v6.12", "MAX_NR_GENS = 4")
    assert _faults_of("include/linux/mmzone.h, v6.12")
