"""Owns the words of `memtwin free`.

Imports cli/declared and cli/view_words; the view itself only when it is asked for.
"""

from __future__ import annotations

from typing import Annotated

from memtwin.cli.declared import Option, option
from memtwin.cli.view_words import SHOWN, Shown
from memtwin.errors import UserError


def _unit(help_text: str, *names: str) -> Option:
    return option(*names, help=help_text, show_default=False)


def free(
    in_bytes: Annotated[bool, _unit("Show bytes.", "-b", "--bytes")] = False,
    kibi: Annotated[bool, _unit("Show KiB (the default).", "-k", "--kibi")] = False,
    mebi: Annotated[bool, _unit("Show MiB.", "-m", "--mebi")] = False,
    gibi: Annotated[bool, _unit("Show GiB.", "-g", "--gibi")] = False,
    tebi: Annotated[bool, _unit("Show TiB.", "--tebi")] = False,
    pebi: Annotated[bool, _unit("Show PiB.", "--pebi")] = False,
    kilo: Annotated[bool, _unit("Show kB.", "--kilo")] = False,
    mega: Annotated[bool, _unit("Show MB.", "--mega")] = False,
    giga: Annotated[bool, _unit("Show GB.", "--giga")] = False,
    tera: Annotated[bool, _unit("Show TB.", "--tera")] = False,
    peta: Annotated[bool, _unit("Show PB.", "--peta")] = False,
    human: Annotated[bool, _unit("Show sizes as people write them.", "-h", "--human")] = False,
    si: Annotated[bool, _unit("Powers of 1000, not 1024.", "--si")] = False,
    lohi: Annotated[bool, _unit("Low and high memory too.", "-l", "--lohi")] = False,
    total: Annotated[bool, _unit("Memory and swap together too.", "-t", "--total")] = False,
    committed: Annotated[
        bool, _unit("The commit limit and what is promised.", "-v", "--committed")
    ] = False,
    wide: Annotated[bool, _unit("Buffers and cache apart.", "-w", "--wide")] = False,
    old: Annotated[bool, _unit("The layout with -/+ buffers/cache.", "--old")] = False,
    used: Annotated[str, option("--used", help="Whose `used`: procps-3 or procps-4.")] = "procps-4",
    explain: Annotated[bool, _unit("Say how each figure is made.", "--explain")] = False,
    seconds: Annotated[
        float | None, option("-s", "--seconds", metavar="S", help="Look every S seconds.")
    ] = None,
    count: Annotated[int | None, option("-c", "--count", metavar="N", help="Look N times.")] = None,
    shown: Shown = SHOWN,
) -> None:
    """Total, used and free memory, as procps' free shows it."""
    from memtwin.analysis.free import UsedAs
    from memtwin.cli.free_view import Layout, look_at
    from memtwin.cli.procps_text import Scale
    from memtwin.cli.view import show

    exponents = [
        (in_bytes, 1, 1024), (kibi, 2, 1024), (mebi, 3, 1024), (gibi, 4, 1024), (tebi, 5, 1024),
        (pebi, 6, 1024), (kilo, 2, 1000), (mega, 3, 1000), (giga, 4, 1000), (tera, 5, 1000),
        (peta, 6, 1000),
    ]  # fmt: skip
    asked = [(exponent, base) for flag, exponent, base in exponents if flag]
    if len(asked) > 1:
        raise UserError(f"free: found {len(asked)} units, allowed is one of -b -k -m -g --kilo ...")
    if used not in [one.value for one in UsedAs]:
        raise UserError(f"--used: found {used!r}, allowed is procps-3 or procps-4")
    exponent, base = asked[0] if asked else (0, 1024)
    scale = Scale(exponent, 1000 if si else base, human)
    layout = Layout(old, wide, lohi, total, committed, explain)
    if seconds is None and count is not None and shown.interval is None:
        seconds = 1.0  # as procps
    how = shown.how(interval_s=seconds, count=count, between="\n")
    show(look_at(shown.root, layout, scale, UsedAs(used)), how)
