"""Owns the words of the commands about processes: ps, maps and pmap.

Imports cli/declared and cli/view_words; what a command does stands in its own module.
"""

from __future__ import annotations

from typing import Annotated

from memtwin.cli.declared import argument, option
from memtwin.cli.view_words import (
    PRINTED,
    SHOWN,
    Count,
    MapFilter,
    NoHeader,
    Printed,
    ProcessFilter,
    Shown,
    Totals,
    UserFilter,
)

Human = Annotated[bool, option("-k", "--abbreviate", help="Sizes as 12.3M instead of KiB.")]
Budget = Annotated[
    str | None,
    option(
        metavar="PERCENT",
        help="Of one CPU, for walking page tables; or none. Repeated or live: 1%.",
    ),
]


def ps(
    by: Annotated[str, option(help="process, program, user or cgroup.")] = "process",
    users: Annotated[bool, option("-u", "--users", help="As --by user.")] = False,
    mappings: Annotated[
        bool, option("-m", "--mappings", help="By mapping, over all processes.")
    ] = False,
    columns: Annotated[
        str | None, option("-c", "--columns", metavar="NAMES", help='As "pid pss command".')
    ] = None,
    sort: Annotated[
        str | None, option("-s", "--sort", metavar="NAME", help="A column; pss if not said.")
    ] = None,
    reverse: Annotated[
        bool, option("-r", "--reverse", help="The largest first (live: the smallest).")
    ] = False,
    human: Human = False,
    percent: Annotated[
        bool, option("-p", "--percent", help="Sizes as percent of the memory.")
    ] = False,
    totals: Totals = False,
    no_header: NoHeader = False,
    process_filter: ProcessFilter = None,
    map_filter: MapFilter = None,
    user_filter: UserFilter = None,
    budget: Budget = None,
    shown: Shown = SHOWN,
    count: Count = None,
) -> None:
    """What processes use: VSS, RSS, PSS, USS and swap.

    By process, program, user, cgroup or mapping; flags as those of smem.
    """
    from memtwin.cli import ps_choice, view

    how = shown.how(count=count)
    words = ps_choice.Words(
        by="user" if users else by,
        mappings=mappings,
        columns=columns,
        sort=sort,
        reverse=reverse,
        human=human,
        percent=percent,
        totals=totals,
        no_header=no_header,
        process_filter=process_filter,
        map_filter=map_filter,
        user_filter=user_filter,
        budget=budget,
    )
    view.show(ps_choice.look_for(words, shown.root, how), how)


def maps(
    pid: Annotated[int, argument(metavar="PID", help="The process.")],
    by: Annotated[str, option(help="area, file or kind.")] = "area",
    human: Human = False,
    shown: Shown = SHOWN,
) -> None:
    """What each mapping of a process uses, or all of a file or kind; the last line is the sum."""
    from memtwin.cli import maps_view, ps_columns, view

    unit = ps_columns.HUMAN_UNIT if human else ps_columns.KIB_UNIT
    view.show(maps_view.maps_look(shown.root, pid, by, unit), shown.how())


def pmap(
    pids: Annotated[list[int], argument(metavar="PID...", help="The processes.")],
    extended: Annotated[bool, option("-x", "--extended", help="RSS and dirty too.")] = False,
    device: Annotated[bool, option("-d", "--device", help="Offset and device.")] = False,
    more: Annotated[int, option("-X", count=True, help="What smaps tells; -XX: all of it.")] = 0,
    quiet: Annotated[bool, option("-q", "--quiet", help="No head and no sums.")] = False,
    show_path: Annotated[bool, option("-p", "--show-path", help="Whole paths.")] = False,
    within: Annotated[
        str, option("-A", "--range", metavar="LOW[,HIGH]", help="Only such addresses.")
    ] = "",
    shown: Printed = PRINTED,
) -> None:
    """The mappings of processes, as procps' pmap shows them."""
    from memtwin.cli import maps_view, view
    from memtwin.cli.pmap_text import Frame, Names, PmapLayout

    layout = PmapLayout.EXTENDED if extended else PmapLayout.PLAIN
    layout = PmapLayout.DEVICE if device else layout
    layout = (layout, PmapLayout.MORE, PmapLayout.EVERYTHING)[min(more, 2)]
    words = maps_view.PmapWords(
        layout,
        Frame.QUIET if quiet else Frame.FULL,
        Names.WHOLE_PATH if show_path else Names.LAST_PART,
        maps_view.range_of(within),
    )
    view.show(maps_view.pmap_look(shown.root, pids, words), shown.how())
