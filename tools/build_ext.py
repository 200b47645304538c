"""Builds the extensions: every `X.py` of src/memtwin with an `X.pxd` beside it, in place.

Owns how they are translated and compiled. Imports memtwin.extensions alone, for names and digests.
What is up to date (by content, never by time) is left alone. Run it by `make build`.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import subprocess
import sys
import sysconfig
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from enum import Enum
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src"
BUILD = ROOT / "build" / "cython"
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "binding": True,
    "auto_pickle": False,
    "show_performance_hints": False,  # --hints shows them
}
# -fwrapv as CPython itself: signed overflow wraps, it is not undefined
C_FLAGS = ["-fPIC", "-fwrapv", "-fno-strict-aliasing", "-DNDEBUG", "-w"]
RECIPE_MARK = "memtwin-build-recipe:"


class Hints(Enum):
    """Whether Cython's performance hints are printed: useful when writing, noise when building."""

    SHOWN = "shown"
    HIDDEN = "hidden"


def _load_extensions() -> ModuleType:
    # by path: the package itself may have extensions that are stale, which is why we are here
    path = SRC / "memtwin" / "extensions.py"
    spec = importlib.util.spec_from_file_location("memtwin_extensions", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["memtwin_extensions"] = module
    spec.loader.exec_module(module)
    return module


extensions = _load_extensions()


def recipe_digest(optimisation: str) -> str:
    """Names the way of building: tool versions, directives, flags."""
    import Cython

    parts = [Cython.__version__, sys.version, repr(DIRECTIVES), repr(C_FLAGS), optimisation]
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def _compiler() -> list[str]:
    return os.environ.get("CC", "gcc").split()


def compile_c(c_file: Path, extension: Path, optimisation: str) -> None:
    """Compile one C file to one extension, which appears under its name only when whole."""
    partial = extension.with_name(extension.name + f".{os.getpid()}.part")
    command = [
        *_compiler(), "-shared", optimisation, *C_FLAGS,
        f"-I{sysconfig.get_paths()['include']}", str(c_file), "-o", str(partial),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        partial.unlink(missing_ok=True)
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    os.replace(partial, extension)


def _embed(c_file: Path, source_digest: str, recipe: str) -> None:
    marks = {
        "source_digest": extensions.DIGEST_MARK.decode() + source_digest,
        "build_recipe": RECIPE_MARK + recipe,
    }
    with c_file.open("a", encoding="utf-8") as out:
        for name, text in marks.items():
            out.write(f'\n__attribute__((used)) static const char memtwin_{name}[] = "{text}";\n')


def build_shared(optimisation: str) -> None:
    """Build Cython's own helper code once for all extensions, instead of once in each."""
    from Cython.Build.SharedModule import generate_shared_module
    from Cython.Compiler.Main import CompilationOptions

    c_file = BUILD / f"{extensions.SHARED_UTILITY}.c"
    c_file.parent.mkdir(parents=True, exist_ok=True)
    generate_shared_module(
        CompilationOptions(
            shared_c_file_path=str(c_file),
            module_name=f"{extensions.PACKAGE}.{extensions.SHARED_UTILITY}",
            compiler_directives={"language_level": 3},
        )
    )
    _embed(c_file, "0" * 32, recipe_digest(optimisation))
    target = SRC / extensions.PACKAGE / f"{extensions.SHARED_UTILITY}.py"
    compile_c(c_file, extensions.extension_of(target), optimisation)


def build_one(source: Path, optimisation: str, hints: Hints) -> tuple[Path, float]:
    """Translate and compile one module; its path and the seconds it took."""
    from Cython.Compiler.Main import CompilationOptions, compile_single

    began = time.monotonic()
    digest = extensions.source_digest(source)  # before reading: an edit meanwhile makes it stale
    newest_ns = max(path.stat().st_mtime_ns for path in extensions.inputs_of(source))
    name = extensions.module_name(source)
    c_file = BUILD / f"{name}.c"
    c_file.parent.mkdir(parents=True, exist_ok=True)
    options = CompilationOptions(
        output_file=str(c_file),
        include_path=[str(SRC)],
        compiler_directives={**DIRECTIVES, "show_performance_hints": hints is Hints.SHOWN},
        shared_utility_qualified_name=f"{extensions.PACKAGE}.{extensions.SHARED_UTILITY}",
        emit_linenums=False,
    )
    result = compile_single(str(source), options, name)
    if result.num_errors:
        raise SystemExit(f"{source.relative_to(ROOT)}: {result.num_errors} errors by Cython")
    _embed(c_file, digest, recipe_digest(optimisation))
    extension = extensions.extension_of(source)
    compile_c(c_file, extension, optimisation)
    os.utime(extension, ns=(newest_ns, newest_ns))
    return source, time.monotonic() - began


def _is_up_to_date(extension: Path, digest: str, recipe: str) -> bool:
    if not extension.exists():
        return False
    content = extension.read_bytes()
    return extensions.DIGEST_MARK + digest.encode() in content and (
        (RECIPE_MARK + recipe).encode() in content
    )


def _sweep_orphans() -> None:
    # an extension whose source or header is gone would still be imported
    for extension in (SRC / extensions.PACKAGE).rglob("*.so"):
        stem = extension.name.split(".", 1)[0]
        if stem != extensions.SHARED_UTILITY and not (
            extension.with_name(stem + ".py").exists()
            and extension.with_name(stem + ".pxd").exists()
        ):
            extension.unlink()


def build(only: str, optimisation: str, jobs: int, hints: Hints = Hints.HIDDEN) -> int:
    """Build what is out of date; the number of extensions built. Raises SystemExit on errors."""
    recipe = recipe_digest(optimisation)
    _sweep_orphans()
    shared = extensions.extension_of(SRC / extensions.PACKAGE / f"{extensions.SHARED_UTILITY}.py")
    todo = []
    for source in extensions.compiled_sources():
        if only not in str(source):
            continue
        if _is_up_to_date(
            extensions.extension_of(source), extensions.source_digest(source), recipe
        ):
            newest_ns = max(path.stat().st_mtime_ns for path in extensions.inputs_of(source))
            os.utime(extensions.extension_of(source), ns=(newest_ns, newest_ns))
        else:
            todo.append(source)
    todo.sort(key=lambda source: -source.stat().st_size)  # longest first: both cores end at once
    with ProcessPoolExecutor(max_workers=jobs) as pool:
        waiting = [pool.submit(build_one, source, optimisation, hints) for source in todo]
        if not _is_up_to_date(shared, "0" * 32, recipe):
            waiting.append(pool.submit(build_shared, optimisation))  # type: ignore[arg-type]
        failures = []
        for number, future in enumerate(as_completed(waiting), 1):
            try:
                built = future.result()
            except (SystemExit, Exception) as error:
                failures.append(str(error))
                continue
            name = "Cython's shared helpers"
            if built is not None:
                name = f"{built[0].relative_to(SRC)} ({built[1]:.1f} s)"
            print(f"[{number}/{len(waiting)}] {name}", flush=True)
    if failures:
        raise SystemExit("\n".join(failures))
    return len(todo)


def main() -> None:
    """Command line of the build."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="only sources whose path contains this")
    parser.add_argument("--optimise", default="-O2", choices=["-O0", "-O1", "-O2", "-O3"])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--hints", action="store_true", help="show Cython's performance hints")
    arguments = parser.parse_args()
    began = time.monotonic()
    hints = Hints.SHOWN if arguments.hints else Hints.HIDDEN
    count = build(arguments.only, arguments.optimise, arguments.jobs, hints)
    print(f"built {count} extensions in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
