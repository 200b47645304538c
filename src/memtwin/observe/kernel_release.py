"""Owns which modelled kernel stands for a real one, and the shape of its texts.

Imports nothing. The twin models 6.1 (601) and 6.12 (612); any other release is mapped to the
nearest and a sentence says so. A layout names the shape of the /proc texts: "6.1", "6.12", "7.3",
or "6.1-686" for 32 bits.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_RELEASE = re.compile(r"(\d+)\.(\d+)")


class KernelMatch(NamedTuple):
    """The modelled kernel that stands for a release."""

    kernel: int  # 601 or 612
    layout: str
    arch: str
    exact: bool
    sentence: str


def match_release(release: str, machine: str = "") -> KernelMatch:
    """The modelled kernel for `uname -r` text `release` (and `uname -m` text `machine`).

    >>> match_release("6.18.1-amd64").sentence
    'kernel 6.18 is not modelled: 6.12 stands for it'
    """
    match = _RELEASE.search(release)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    arch = "i686" if "686" in release or machine in ("i386", "i686") else "x86_64"
    kernel = 612 if version >= (6, 7) else 601  # the half way between 6.1 and 6.12 is 6.6
    nearest = "6.12" if kernel == 612 else "6.1"
    layout = "7.3" if version >= (6, 14) else nearest
    if arch == "i686":
        layout, kernel, nearest = "6.1-686", 601, "6.1"
    exact = version in ((6, 1), (6, 12))
    name = f"{version[0]}.{version[1]}" if match else repr(release)
    sentence = (
        f"kernel {name} is modelled"
        if exact
        else f"kernel {name} is not modelled: {nearest} stands for it"
    )
    return KernelMatch(kernel, layout, arch, exact, sentence)
