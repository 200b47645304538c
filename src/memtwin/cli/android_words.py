"""Owns the words of the commands that people know from phones.

Imports cli/declared and cli/view_words; what a command does stands in its own module.
"""

from __future__ import annotations

from typing import Annotated

from memtwin.cli.declared import argument, option
from memtwin.cli.view_words import LIVE_HOST, Csv, Json, Root

Pid = Annotated[int, argument(metavar="PID", help="The process.")]
Reverse = Annotated[bool, option("-R", "--reverse", help="The smallest first.")]
ByVss = Annotated[bool, option("-v", help="By VSS.")]
ByRss = Annotated[bool, option("-r", help="By RSS.")]
ByPss = Annotated[bool, option("-p", help="By PSS, as it is unless said.")]
ByUss = Annotated[bool, option("-u", help="By USS.")]
BySwap = Annotated[bool, option("-s", help="By swap.")]
ByOom = Annotated[bool, option("-o", help="By oom_score_adj, which is shown.")]


def procrank(
    by_vss: ByVss = False,
    by_rss: ByRss = False,
    by_pss: ByPss = False,
    by_uss: ByUss = False,
    by_swap: BySwap = False,
    by_oom: ByOom = False,
    reverse: Reverse = False,
    root: Root = LIVE_HOST,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Processes by PSS, with swap and zram, as Android's procrank shows them."""
    from memtwin.cli import android_view, view

    sort = _one_of(vss=by_vss, rss=by_rss, pss=by_pss, uss=by_uss, swap=by_swap, oom=by_oom)
    how = view.showing(as_json=as_json, as_csv=as_csv, once=True, live=False)
    view.show(android_view.procrank_look(root, sort, reverse=reverse), how)


def librank(
    by_vss: ByVss = False,
    by_rss: ByRss = False,
    by_pss: ByPss = False,
    by_uss: ByUss = False,
    by_swap: BySwap = False,
    by_oom: ByOom = False,
    reverse: Reverse = False,
    all_mappings: Annotated[bool, option("-a", help="Stack and heap too.")] = False,
    prefix: Annotated[str, option("-P", metavar="PATH", help="Only mappings that begin so.")] = "",
    root: Root = LIVE_HOST,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """What is mapped, and by which processes, as Android's librank shows it."""
    from memtwin.cli import android_maps_view, view

    sort = _one_of(vss=by_vss, rss=by_rss, pss=by_pss, uss=by_uss, swap=by_swap, oom=by_oom)
    ranking = android_maps_view.Ranking(sort, reverse, all_mappings, prefix)
    how = view.showing(as_json=as_json, as_csv=as_csv, once=True, live=False)
    view.show(android_maps_view.librank_look(root, ranking), how)


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
    root: Root = LIVE_HOST,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Each mapping of a process, as Android's procmem shows them."""
    from memtwin.cli import android_view, view

    sort = _one_of(pss=by_pss, uss=by_uss) if by_pss or by_uss else "map"
    how = view.showing(as_json=as_json, as_csv=as_csv, once=True, live=False)
    view.show(android_view.procmem_look(root, pid, sort, resident_only=resident_only), how)


def showmap(
    pid: Pid,
    addresses: Annotated[bool, option("-a", help="By address.")] = False,
    terse: Annotated[bool, option("-t", help="Only what has private pages.")] = False,
    verbose: Annotated[bool, option("-v", help="Mappings of one name apart.")] = False,
    root: Root = LIVE_HOST,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """The mappings of a process summed by name, as Android's showmap shows them."""
    from memtwin.cli import android_maps_view, view
    from memtwin.cli.android_maps_view import ShowMap

    flags = ShowMap.ADDRESSES if addresses else ShowMap.USUAL
    flags |= ShowMap.TERSE if terse else ShowMap.USUAL
    flags |= ShowMap.VERBOSE if verbose else ShowMap.USUAL
    how = view.showing(as_json=as_json, as_csv=as_csv, once=True, live=False)
    view.show(android_maps_view.showmap_look(root, pid, flags), how)


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
    root: Root = LIVE_HOST,
    as_json: Json = False,
    as_csv: Csv = False,
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
    how = view.showing(as_json=as_json, as_csv=as_csv, once=True, live=False)
    if pid is None:
        view.show(dumpsys_view.machine_look(root, detail), how)
    else:
        view.show(dumpsys_view.app_look(root, pid, detail), how)
