"""Builds wheels with the extensions in them. All other facts of the package are in pyproject.toml.

An editable install builds nothing: there `make build` puts the extensions beside their sources.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


class BuildExtensions(build_ext):
    """Hands the work to tools/build_ext.py, then copies what it built."""

    def run(self) -> None:
        if self.editable_mode:
            return
        sys.path.insert(0, str(ROOT / "tools"))
        from build_ext import SRC, build, extensions

        build("", "-O2", os.cpu_count() or 1)
        for built in (SRC / extensions.PACKAGE).rglob(f"*{extensions.EXTENSION_SUFFIXES[0]}"):
            target = Path(self.build_lib) / built.relative_to(SRC)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(built, target)

    def get_outputs(self) -> list[str]:
        return []

    def get_output_mapping(self) -> dict[str, str]:
        return {}


# one name is enough to mark the wheel as belonging to a platform
setup(ext_modules=[Extension("memtwin._cyutility", [])], cmdclass={"build_ext": BuildExtensions})
