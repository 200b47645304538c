"""Owns importing msgspec, of which every record is made, without a library it can do without.

Imports msgspec. msgspec asks typing_extensions for three names before it takes them from typing,
which has had them since Python 3.11, our oldest; loading it took a fifth of what `free` costs.
"""

from __future__ import annotations

import sys
from typing import Any, cast

_UNNEEDED = "typing_extensions"


def import_msgspec() -> None:
    """Import msgspec if that was not done yet; whoever wants typing_extensions gets it after."""
    if "msgspec" in sys.modules or _UNNEEDED in sys.modules:
        return
    modules = cast("dict[str, Any]", sys.modules)
    modules[_UNNEEDED] = None  # as if it were not installed (the import system, reference 5.3.1)
    try:
        import msgspec  # noqa: F401
    finally:
        del modules[_UNNEEDED]
