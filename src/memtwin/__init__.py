"""memtwin: a digital twin of Linux memory management.

Front desk of the house. Imports only `extensions`, so that it costs nothing to import; the rooms
are imported by those who use them. See docs/ARCHITECTURE.md.
"""

from __future__ import annotations

from memtwin import extensions as _extensions

__version__ = "0.1.0"

_MODE = _extensions.install()


def compiled() -> bool:
    """Whether the hot rooms run as compiled extensions (else their sources are interpreted).

    Set MEMTWIN_INTERPRETED=1 before Python starts to interpret them even where they are built.
    """
    return _MODE is _extensions.Mode.COMPILED
