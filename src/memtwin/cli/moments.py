"""Owns how people write spans and moments of time: "10m", "12:03", "-5m". Imports errors."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta

from memtwin.errors import UserError

_UNITS_S = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?")


def parse_span(text: str, what: str) -> float:
    """Seconds that `text` names; `what` names it in the error. Raises UserError.

    >>> parse_span("10m", "--for"), parse_span("1.5", "--for")
    (600.0, 1.5)
    """
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise UserError(f"{what}: found {text!r}, allowed is a number with ms, s, m, h or d")
    return float(match[1]) * _UNITS_S[match[2] or ""]


def parse_moment_ns(text: str, what: str, span_ns: tuple[int, int]) -> int:
    """Nanoseconds since 1970 that `text` names within a store that spans `span_ns`.

    A clock time is the last such before the store's end, and covers all of its second or minute;
    "-5m" counts from the end; "@1700000000" is seconds since 1970; else an ISO date and time.
    Raises UserError.
    """
    text = text.strip()
    last_s = span_ns[1] / 1e9
    if text in ("begin", "end"):
        return span_ns[0] if text == "begin" else span_ns[1]
    if text.startswith("-"):
        return span_ns[1] - round(parse_span(text[1:], what) * 1e9)
    if text.startswith("@"):
        try:
            return round(float(text[1:]) * 1e9)
        except ValueError:
            raise _not_a_moment(text, what) from None
    clock = _CLOCK.fullmatch(text)
    try:
        if clock:
            return _last_clock_ns(clock, last_s)
        return round(datetime.fromisoformat(text).timestamp() * 1e9)
    except ValueError:
        raise _not_a_moment(text, what) from None


def _last_clock_ns(clock: re.Match[str], last_s: float) -> int:
    end = datetime.fromtimestamp(last_s)
    fraction = int((clock[4] or "").ljust(6, "0")) if clock[4] else 0
    moment = end.replace(
        hour=int(clock[1]), minute=int(clock[2]), second=int(clock[3] or 0), microsecond=fraction
    )
    if moment > end:
        moment -= timedelta(days=1)
    whole = timedelta() if clock[4] else timedelta(seconds=1 if clock[3] else 60)
    return round((moment + whole).timestamp() * 1e9) - (0 if clock[4] else 1)


def _not_a_moment(text: str, what: str) -> UserError:
    return UserError(
        f"{what}: found {text!r}, allowed is HH:MM, HH:MM:SS, -5m, @SECONDS or an ISO date and time"
    )


def clock_text(moment_ns: int) -> str:
    """`moment_ns` as a local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment_ns / 1e9))
