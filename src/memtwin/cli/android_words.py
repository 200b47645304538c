"""Owns the words of the commands that people know from phones.

Imports cli/declared and cli/view_words; what a command does stands in its own module.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from memtwin.cli.declared import argument, option
from memtwin.cli.view_words import PRINTED, Printed

Pid = Annotated[int, argument(metavar="PID", help="The process.")]


class Ranked(NamedTuple):
    """The words that put processes in an order."""

    by_vss: Annotated[bool, option("-v", help="By VSS.")] = False
    by_rss: Annotated[bool, option("-r", help="By RSS.")] = False
    by_pss: Annotated[bool, option("-p", help="By PSS, as it is unless said.")] = False
    by_uss: Annotated[bool, option("-u", help="By USS.")] = False
    by_swap: Annotated[bool, option("-s", help="By swap.")] = False
    by_oom: Annotated[bool, option("-o", help="By oom_score_adj, which is shown.")] = False
    reverse: Annotated[bool, option("-R", "--reverse", help="The smallest first.")] = False

    def by(self) -> str:
        """What they ask to sort by. Raises UserError for more than one of them."""
        flags = self._asdict()
        del flags["reverse"]
        return _one_of(**{name.removeprefix("by_"): asked for name, asked in flags.items()})


BY_PSS = Ranked()


def procrank(
    ranked: Ranked = BY_PSS,
    shown: Printed = PRINTED,
) -> None:
    """Processes by PSS, with swap and zram, as Android's procrank shows them."""
    from memtwin.cli import android_view, view

    view.show(
        android_view.procrank_look(shown.root, ranked.by(), reverse=ranked.reverse), shown.how()
    )


def librank(
    ranked: Ranked = BY_PSS,
    all_mappings: Annotated[bool, option("-a", help="Stack and heap too.")] = False,
    prefix: Annotated[str, option("-P", metavar="PATH", help="Only mappings that begin so.")] = "",
    shown: Printed = PRINTED,
) -> None:
    """What is mapped, and by which processes, as Android's librank shows it."""
    from memtwin.cli import android_maps_view, view

    ranking = android_maps_view.Ranking(ranked.by(), ranked.reverse, all_mappings, prefix)
    view.show(android_maps_view.librank_look(shown.root, ranking), shown.how())


def _one_of(**chosen: bool) -> str:
    from memtwin.errors import UserError

    found = [name for name, is_chosen in chosen.items() if is_chosen]
    if len(found) > 1:
        raise UserError(f"sorting: found {' and '.join(found)}, allowed is one of them")
    return found[0] if found else "pss"


def procmem(
    pid: Pid,
    by_pss: Annotated[bool, option("-p", help="By PSS.")] = False,
    by_uss: Annotated[bool, option("-u", help="By USS.")] = False,
    resident_only: Annotated[bool, option("-h", help="Only what is resident.")] = False,
    shown: Printed = PRINTED,
) -> None:
    """Each mapping of a process, as Android's procmem shows them."""
    from memtwin.cli import android_view, view

    sort = _one_of(pss=by_pss, uss=by_uss) if by_pss or by_uss else "map"
    view.show(
        android_view.procmem_look(shown.root, pid, sort, resident_only=resident_only), shown.how()
    )


def showmap(
    pid: Pid,
    addresses: Annotated[bool, option("-a", help="By address.")] = False,
    terse: Annotated[bool, option("-t", help="Only what has private pages.")] = False,
    verbose: Annotated[bool, option("-v", help="Mappings of one name apart.")] = False,
    shown: Printed = PRINTED,
) -> None:
    """The mappings of a process summed by name, as Android's showmap shows them."""
    from memtwin.cli import android_maps_view, view
    from memtwin.cli.android_maps_view import ShowMap

    flags = ShowMap.ADDRESSES if addresses else ShowMap.USUAL
    flags |= ShowMap.TERSE if terse else ShowMap.USUAL
    flags |= ShowMap.VERBOSE if verbose else ShowMap.USUAL
    view.show(android_maps_view.showmap_look(shown.root, pid, flags), shown.how())


def dumpsys_meminfo(
    pid: Annotated[
        int | None, argument(metavar="PID", help="A process; the whole phone without.")
    ] = None,
    all_columns: Annotated[
        bool, option("-a", help="All columns, details of Dalvik, and SwapPss.")
    ] = False,
    dalvik: Annotated[bool, option("-d", help="Details of Dalvik.")] = False,
    summary: Annotated[bool, option("-s", help="Only the summary of an app.")] = False,
    swap_pss: Annotated[bool, option("-S", help="SwapPss too.")] = False,
    oom_only: Annotated[bool, option("--oom", help="Only by OOM adjustment.")] = False,
    shown: Printed = PRINTED,
) -> None:
    """An app's memory by category, or a whole phone's, as Android's dumpsys meminfo shows it."""
    from memtwin.cli import dumpsys_view, view
    from memtwin.cli.dumpsys_view import Detail

    detail = Detail.USUAL
    for chosen, what in (
        (all_columns, Detail.ALL_COLUMNS | Detail.DALVIK | Detail.SWAP_PSS),
        (dalvik, Detail.DALVIK),
        (summary, Detail.SUMMARY_ONLY),
        (swap_pss, Detail.SWAP_PSS),
        (oom_only, Detail.OOM_ONLY),
    ):
        detail |= what if chosen else Detail.USUAL
    if pid is None:
        view.show(dumpsys_view.machine_look(shown.root, detail), shown.how())
    else:
        view.show(dumpsys_view.app_look(shown.root, pid, detail), shown.how())
