"""Owns how the twin's answer about an OOM kill looks on a terminal.

Imports sweep's record and cli/columns_text. Does no arithmetic but sums of what is shown.
"""

from __future__ import annotations

import textwrap

from memtwin.cli.columns_text import Column, size, table
from memtwin.cli.oom_bound_words import bound_sentences
from memtwin.sweep.oom_what_if import Goal, WhatIf

WIDTH = 100


def what_if_text(found: WhatIf) -> str:
    """The answer in words and a table."""
    parts = ["What would have avoided it (in the twin):"]
    if found.bound is not None:
        said = bound_sentences(found.bound)
        parts += [_paragraph(sentence, "  ") for sentence in said]
        parts += ["", "  Assumed:", *(_paragraph(one, "    - ") for one in found.bound.assumptions)]
        return "\n".join(parts) + "\n"
    if not found.rebuilt:
        parts.append(_paragraph(f"The twin cannot rebuild this kill: {found.why_not}.", "  "))
        if found.assumptions:
            parts += ["  It was tried on these assumptions:"]
            parts += [_paragraph(one, "    - ") for one in found.assumptions]
        return "\n".join(parts) + "\n"
    parts.append(_paragraph(_rebuilt(found), "  "))
    parts += ["", _goals(found)]
    if found.cap_bytes is not None:
        parts.append(
            _paragraph(
                f"Or a memory cgroup for {found.grower} with memory.max of at most"
                f" {size(found.cap_bytes)}: then it alone reclaims, swaps or dies, and the machine"
                " never runs out.",
                "  ",
            )
        )
    parts += ["", "  Assumed:"]
    parts += [_paragraph(one, "    - ") for one in found.assumptions]
    parts.append(_paragraph(
        f"Answers are within {size(found.step_bytes)}, from {found.trials} runs.", "  "
    ))  # fmt: skip
    return "\n".join(parts) + "\n"


def _paragraph(text: str, lead: str) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _rebuilt(found: WhatIf) -> str:
    what = "a limit" if found.in_group else "RAM"
    off = found.off_percent or 0.0
    near = f"{what} {abs(off):.1f} % {'larger' if off > 0 else 'smaller'} than it was"
    if abs(off) < 0.05:
        near = f"{what} as large as it was"
    died = f"and kills {found.victim}"
    if found.victim_agrees is False:
        died += ", where the kernel took another"
    return (
        f"The twin rebuilds the kill: the report's state just fits into {near}; with a little less"
        f" it runs out {died}."
    )


def _goals(found: WhatIf) -> str:
    ram, swap = ("more memory.max", "or more memory.swap.max") if found.in_group else (
        "more RAM", "or more swap")  # fmt: skip
    columns = [Column(f"{found.grower} wants", "<"), Column(ram), Column(swap)]
    rows = [[f"{size(goal.growth_bytes)} more than it had", _more(goal.more_ram_bytes),
             _swap(found, goal)] for goal in found.goals]  # fmt: skip
    return textwrap.indent(table(columns, rows), "  ").rstrip("\n")


def _more(size_bytes: int | None) -> str:
    return "not found" if size_bytes is None else f"+{size(size_bytes)}"


def _swap(found: WhatIf, goal: Goal) -> str:
    if goal.more_swap_bytes is None:
        return "does not help"
    had = f" (to {size(found.swap_bytes + goal.more_swap_bytes)})"
    return f"+{size(goal.more_swap_bytes)}{had}"
