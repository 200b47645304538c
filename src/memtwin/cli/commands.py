"""Owns which words name a command, and where each command's function stands.

Imports nothing of the house until a function is asked for. The order is that of the help.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple


class Group(NamedTuple):
    """Commands below one word. `alone`: what runs without a further one; `of_number`: before a
    number in its place."""

    help: str
    commands: dict[str, str]
    alone: str = ""
    of_number: str = ""
    shows_help_alone: bool = False


# word -> module of cli and function
COMMANDS: dict[str, str] = {
    **dict.fromkeys(
        ("record", "replay", "size", "run", "capture", "machines", "demo"), "replay_words"
    ),
    "free": "free_words",
    **dict.fromkeys(("mount", "inside"), "mount_words"),
    "delays": "oom_words",
    **dict.fromkeys(("ps", "maps", "pmap"), "process_words"),
    "smem": "smem_words",
    **dict.fromkeys(
        ("procrank", "procmem", "librank", "showmap", "dumpsys-meminfo"), "android_words"
    ),
    **dict.fromkeys(
        (
            "vmstat", "slabtop", "meminfo", "buddyinfo", "zoneinfo", "vmallocinfo", "cgroups",
            "zram", "dirty", "pressure",
        ),
        "system_words",
    ),
    **dict.fromkeys(("thp", "ksm", "zswap", "hugepages", "numa"), "kernel_mm_words"),
    **dict.fromkeys(("ledger", "leaks", "watch"), "watch_words"),
}  # fmt: skip
GROUPS: dict[str, Group] = {
    "trace": Group(
        "Look into a trace: info or head.", dict.fromkeys(("info", "head"), "replay_words")
    ),
    "heap": Group(
        "The C library's malloc: record it, replay it otherwise, look into it.",
        dict.fromkeys(("record", "replay", "show"), "heap_words"),
    ),
    "leak": Group(
        "Find leaks: `leak PID` gives a verdict; scan, run, read and kernel show the evidence.",
        dict.fromkeys(("verdict", "scan", "run", "read", "kernel"), "leak_words"),
        of_number="verdict",
        shows_help_alone=True,
    ),
    "oom": Group(
        "Who would be killed next for lack of memory, and why; or explain a kill that was.",
        {"explain": "oom_words"},
        alone="oom_words",
    ),
}
TAKE_A_COMMAND = ("record", "size", "watch", "inside", "delays", "heap", "leak")


def function_of(module: str, word: str) -> Callable[..., Any]:
    """The function of command `word` in `module` of cli."""
    found: Callable[..., Any] = getattr(
        import_module(f"memtwin.cli.{module}"), word.replace("-", "_")
    )
    return found


def named(own: list[str]) -> tuple[Callable[..., Any], list[str]] | None:
    """The function that a command line names and the words that are its own; None for none."""
    if not own:
        return None
    word, words = own[0], own[1:]
    if word in COMMANDS:
        return function_of(COMMANDS[word], word), words
    group = GROUPS.get(word)
    if group is None:
        return None
    if words and words[0] in group.commands:
        return function_of(group.commands[words[0]], words[0]), words[1:]
    if group.of_number and words and words[0].isdigit():
        return function_of(group.commands[group.of_number], group.of_number), words
    if group.alone and (not words or words[0].startswith("-")):
        return function_of(group.alone, word), words
    return None
