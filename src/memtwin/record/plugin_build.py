"""Owns the compiled plugin of the recorder: which sources and flags, for which emulator.

Imports host_compiler. Knows nothing of what the plugin does.
"""

from __future__ import annotations

from pathlib import Path

from memtwin.host_compiler import built

_SOURCES = Path(__file__).parent / "plugin"
_FLAGS = ("-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wno-override-init")


def plugin_path(emulator_version: str) -> Path:
    """The built plugin for `emulator_version`; built now if it wasn't.

    Raises UserError when there is no compiler, it fails, or the cache can't be written.
    """
    return built("the recorder's plugin", "recorder.so", _SOURCES, _FLAGS, emulator_version)
