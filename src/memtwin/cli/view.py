"""Owns how a view reaches its reader: text, JSON or CSV, once, repeated or live.

Imports errors; msgspec and textual only when something is shown. A view is a function that looks
once and returns a `Snapshot`; what it shows, and where the figures come from, is not known here.
"""

from __future__ import annotations

import contextlib
import enum
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from memtwin.errors import Absent, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import msgspec

__all__ = ["Absent", "Form", "Pace", "Showing", "Snapshot", "rendered", "show", "showing"]

DEFAULT_INTERVAL_S = 2.0
MIN_INTERVAL_S, MAX_INTERVAL_S = 0.1, 86_400.0


class Form(enum.Enum):
    """What a snapshot is printed as."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"


class Pace(enum.Enum):
    """How often a view looks."""

    ONCE = "once"
    REPEAT = "repeat"  # print again and again, for pipes
    LIVE = "live"  # a full screen that renews itself


class Showing(NamedTuple):
    """How a view is to be shown. `looks`: how many, None without end; `between`: texts of two."""

    form: Form = Form.TEXT
    pace: Pace = Pace.ONCE
    interval_s: float = DEFAULT_INTERVAL_S
    looks: int | None = None
    between: str = ""


class Snapshot(NamedTuple):
    """One look of a view.

    `rows` are records of one struct, its fields named with their units; `totals` are figures of
    the whole. `text` is what a terminal shows, with `notes` and `absent` below it as `notes_text`
    puts them.
    """

    name: str  # names the schema: "free" is memtwin.free
    rows: Sequence[msgspec.Struct]
    text: str
    totals: Mapping[str, Any] = {}
    absent: Sequence[Absent] = ()
    notes: Sequence[str] = ()
    root: str = "/"
    taken_s: float | None = None  # seconds since 1970; None where a look has no time of its own
    version: int = 1  # of the schema


Look = Callable[[], Snapshot]


class SortableLook:
    """A look whose rows a key sorts anew on the live screen.

    `keys`: key -> what it sorts by, in words for the reader; no q, r, plus, minus or space.
    """

    def __init__(
        self, look: Callable[[str], Snapshot], keys: Mapping[str, str], chosen: str
    ) -> None:
        self.look = look
        self.keys = keys
        self.chosen = chosen

    def __call__(self) -> Snapshot:
        return self.look(self.chosen)

    def sort_by(self, key: str) -> bool:
        """Sort by `key` from now on, if it is one of the keys."""
        if key not in self.keys:
            return False
        self.chosen = self.keys[key]
        return True


def showing(
    *,
    as_json: bool,
    as_csv: bool,
    once: bool,
    live: bool,
    interval_s: float | None = None,
    count: int | None = None,
    between: str = "",
) -> Showing:
    """The `Showing` that a command line asks for.

    Raises UserError when two of its words contradict each other, or the interval is out of range.
    """
    if as_json and as_csv:
        raise UserError("--json: found with --csv, allowed is one of them")
    if live and (as_json or as_csv or once):
        other = "--json" if as_json else "--csv" if as_csv else "--once"
        raise UserError(f"--live: found with {other}, allowed is one of them")
    if interval_s is not None and not MIN_INTERVAL_S <= interval_s <= MAX_INTERVAL_S:
        raise UserError(
            f"interval: found {interval_s:g}, allowed is {MIN_INTERVAL_S:g} to"
            f" {MAX_INTERVAL_S:g} seconds"
        )
    if count is not None and count < 1:
        raise UserError(f"count: found {count}, allowed is 1 or more")
    form = Form.JSON if as_json else Form.CSV if as_csv else Form.TEXT
    pace = Pace.ONCE
    if live:
        pace = Pace.LIVE
    elif not once and (interval_s is not None or (count or 1) > 1):
        pace = Pace.REPEAT
    return Showing(form, pace, interval_s or DEFAULT_INTERVAL_S, count, between)


def show(look: Look, how: Showing) -> None:
    """Print what `look` sees, as `how` says."""
    if how.pace is Pace.LIVE:
        if not sys.stdout.isatty():
            raise UserError("--live: found no terminal, allowed is --once or an interval")
        from memtwin.cli.live import run_live

        run_live(look, how.interval_s)
        return
    for number, snapshot in enumerate(_looks(look, how)):
        if _told:
            snapshot = snapshot._replace(root=_told[-1][0], taken_s=_told[-1][1])
        before = how.between if number and how.form is Form.TEXT else ""
        print(before + rendered(snapshot, how.form, first=number == 0), end="", flush=True)


_told: list[tuple[str, float]] = []  # what `shown_as` says, innermost last


@contextlib.contextmanager
def shown_as(root: str, taken_s: float) -> Iterator[None]:
    """Let what is shown meanwhile say that it was taken at `taken_s` from `root`."""
    _told.append((root, taken_s))
    try:
        yield
    finally:
        _told.pop()


def _looks(look: Look, how: Showing) -> Iterator[Snapshot]:
    yield look()
    if how.pace is Pace.ONCE:
        return
    done, due_s = 1, time.monotonic()
    while how.looks is None or done < how.looks:
        due_s += how.interval_s
        time.sleep(max(due_s - time.monotonic(), 0.0))
        yield look()
        done += 1


def rendered(snapshot: Snapshot, form: Form, *, first: bool = True) -> str:
    """`snapshot` as `form`; of CSV, the header stands only in the `first` one."""
    if form is Form.JSON:
        return _json(snapshot)
    if form is Form.CSV:
        return encodable(_csv(snapshot, with_header=first))
    return encodable(snapshot.text + notes_text(snapshot))


def encodable(text: str) -> str:
    r"""`text` with bytes that are no UTF-8, which a name may hold, as \xNN.

    >>> print(encodable("caf\udce9"))
    caf\xe9
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return text


def notes_text(snapshot: Snapshot) -> str:
    """The lines below a view: its notes, then what is absent and why.

    >>> print(notes_text(Snapshot("x", [], "", absent=[Absent("swap", "no such file")])), end="")
    absent: swap (no such file)
    """
    lines = [*snapshot.notes, *(f"absent: {one.what} ({one.why})" for one in snapshot.absent)]
    return "".join(f"{line}\n" for line in lines)


def _json(snapshot: Snapshot) -> str:
    import msgspec

    document = {
        "schema": f"memtwin.{snapshot.name}",
        "version": snapshot.version,
        "root": snapshot.root,
        "taken_s": snapshot.taken_s,
        "rows": snapshot.rows,
        "totals": snapshot.totals,
        "absent": [one._asdict() for one in snapshot.absent],
        "notes": snapshot.notes,
    }
    try:
        return msgspec.json.encode(document).decode() + "\n"
    except UnicodeEncodeError:
        return msgspec.json.encode(_all_encodable(msgspec.to_builtins(document))).decode() + "\n"


def _all_encodable(value: Any) -> Any:
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {_all_encodable(key): _all_encodable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_all_encodable(one) for one in value]
    return value


def _csv(snapshot: Snapshot, *, with_header: bool) -> str:
    """One line a row; an absent figure is an empty cell, a nested one is JSON in its cell."""
    import csv
    import io

    import msgspec

    if not snapshot.rows:
        return ""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    fields = snapshot.rows[0].__struct_fields__
    if with_header:
        writer.writerow(fields)
    for row in snapshot.rows:
        values = [getattr(row, field) for field in fields]
        writer.writerow(
            msgspec.json.encode(_all_encodable(one)).decode()
            if isinstance(one, (dict, list, tuple))
            else one
            for one in values
        )
    return out.getvalue()
