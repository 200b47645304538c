"""Owns the lines of other killers: daemons and drivers that end processes for memory's sake.

Imports the room's records and observe's log_lines. They are told apart from the
kernel's OOM killer, whose reports are `report`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from memtwin.observe.log_lines import LogLine, Origin
from memtwin.observe.oom.records import OtherKill

KERNEL_DRIVER = "lowmemorykiller (kernel driver)"

_OOMD = re.compile(
    r"Killed (?P<name>/\S+?)(?: \([^)]*\))? due to"
    r" (?P<why>(?:memory pressure|memory used|swap used).*)"
)
_OOMD_UNIT = re.compile(
    r"(?P<name>\S+): systemd-oomd killed (?P<why>\d+ process\(es\) in this unit)"
)
_LMKD = re.compile(
    r"Kill(?:ing)? '(?P<name>[^']{0,256})' \((?P<pid>\d{1,10})\),? ?(?P<why>uid \d+,? .*)"
)
_LMKD_DRIVER = re.compile(
    r"(?:lowmemorykiller: )?Killing '(?P<name>[^']{0,64})' \((?P<pid>\d{1,10})\)(?: \(tgid \d+\))?,"
    r" (?P<why>adj -?\d+.*)"
)
_LMKD_OLD = re.compile(
    r"(?:lowmem_shrink |lowmemorykiller: )?send sigkill to (?P<pid>\d{1,10})"
    r" \((?P<name>.{0,64}?)\), (?P<why>(?:oom_)?(?:score_)?adj .*)"
)
_EARLYOOM = re.compile(
    r"sending SIG(?:TERM|KILL) to process (?P<pid>\d{1,10}) (?:uid \d+ )?"
    r"\"?(?P<name>[^\":]{0,64})\"?:? (?P<why>.*)"
)


def _of(killer: str, pattern: re.Pattern[str]) -> Callable[[LogLine], OtherKill | None]:
    def read(line: LogLine) -> OtherKill | None:
        match = pattern.search(line.text)
        if match is None:
            return None
        found = match.groupdict()
        return OtherKill(
            killer=killer,
            text=line.text.strip(),
            line=line.number,
            stamp=line.stamp,
            name=found["name"],
            pid=int(found["pid"]) if found.get("pid") else None,
            why=found["why"],
        )

    return read


_BY_PROGRAM = {
    "systemd-oomd": _of("systemd-oomd", _OOMD),
    "systemd": _of("systemd-oomd", _OOMD_UNIT),
    "lmkd": _of("lmkd", _LMKD),
    "lowmemorykiller": _of("lmkd", _LMKD),
    "earlyoom": _of("earlyoom", _EARLYOOM),
}
_BY_KERNEL = (_of(KERNEL_DRIVER, _LMKD_DRIVER), _of(KERNEL_DRIVER, _LMKD_OLD))


def other_kill(line: LogLine) -> OtherKill | None:
    """What `line` says of a kill by somebody else than the kernel's OOM killer, or None."""
    if line.origin is Origin.PROGRAM:
        reader = _BY_PROGRAM.get(line.program)
        return reader(line) if reader is not None else None
    if "illing '" not in line.text and "send sigkill" not in line.text:
        return None
    return next((found for read in _BY_KERNEL if (found := read(line)) is not None), None)
