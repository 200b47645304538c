"""Owns which texts of a machine are saved for looking at it elsewhere, and saves them as a tree.

Imports observe/cgroup_tree, observe/reading, observe/source and observe/vm_sysctl. Only texts that
the kernel makes on reading are read: no file whose reading acts, blocks, or copies memory. What
could not be read stands with its reason in the manifest, which a look at the tree repeats.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from memtwin.errors import Absent, UserError
from memtwin.observe.cgroup_tree import INTERFACE, memory_hierarchy
from memtwin.observe.reading import Reading
from memtwin.observe.source import TreeSource, printable
from memtwin.observe.vm_sysctl import ACTIONS

MANIFEST = "memtwin-manifest.json"
ARCHIVE_SUFFIX = ".tar.zst"
# paths and globs, one part at a time; a part with * is matched against the names of its directory
_SYSTEM = (
    "/proc/meminfo", "/proc/vmstat", "/proc/zoneinfo", "/proc/buddyinfo", "/proc/pagetypeinfo",
    "/proc/slabinfo", "/proc/swaps", "/proc/iomem", "/proc/stat", "/proc/diskstats",
    "/proc/loadavg", "/proc/uptime", "/proc/version", "/proc/mounts", "/proc/vmallocinfo",
    "/proc/cpuinfo", "/proc/modules", "/proc/filesystems", "/proc/cgroups", "/proc/pressure/*",
    "/proc/sys/vm/*", "/proc/sys/kernel/osrelease", "/proc/sys/kernel/hostname",
    "/proc/sys/fs/dentry-state", "/proc/sys/fs/inode-nr", "/sys/kernel/mm/transparent_hugepage/*",
    "/sys/kernel/mm/transparent_hugepage/hugepages-*/*", "/sys/kernel/mm/ksm/*",
    "/sys/kernel/mm/lru_gen/*", "/sys/kernel/mm/swap/*", "/sys/kernel/mm/hugepages/*/*",
    "/sys/kernel/mm/cma/*/*", "/sys/kernel/debug/extfrag/*", "/sys/kernel/debug/zswap/*",
    "/sys/kernel/debug/lru_gen", "/sys/kernel/debug/bdi/*/stats", "/sys/module/zswap/parameters/*",
    "/sys/block/*/size", "/sys/block/*/queue/rotational", "/sys/block/*/queue/read_ahead_kb",
    "/sys/devices/system/node/node*/meminfo", "/sys/devices/system/node/node*/vmstat",
    "/sys/devices/system/node/node*/numastat", "/sys/devices/system/node/node*/cpulist",
    "/sys/devices/system/node/node*/distance", "/sys/devices/system/node/node*/hugepages/*/*",
    "/sys/devices/system/cpu/online", "/sys/devices/system/cpu/possible",
)  # fmt: skip
_ZRAM = (
    "disksize", "initstate", "comp_algorithm", "recomp_algorithm", "backing_dev", "mm_stat",
    "io_stat", "bd_stat", "debug_stat", "writeback_limit",
)  # fmt: skip
_PROCESS = (
    "stat", "statm", "status", "smaps_rollup", "maps", "comm", "cgroup", "oom_score",
    "oom_score_adj", "io", "numa_maps",
)  # fmt: skip
_MAPPINGS = "smaps"  # several times the size of all others together
_COMMAND_LINES = ("/proc/cmdline", "cmdline")
# of a cgroup: reading these fails, waits, or walks every object
# (mm/memcontrol.c mem_cgroup_legacy_files[], v6.1)
_NEVER = frozenset({"memory.kmem.slabinfo", "memory.force_empty", "memory.pressure_level",
                    "memory.reclaim", "cgroup.event_control"})  # fmt: skip
_CGROUP_PREFIXES = ("memory.", "cgroup.")
_PRESSURES = ("cpu.pressure", "io.pressure", "irq.pressure")


class Choice(msgspec.Struct, kw_only=True):
    """What is saved besides the system's own texts."""

    processes: bool = False
    mappings: bool = False  # of processes: what each of their mappings uses
    command_lines: bool = True
    oom_log: str | None = None  # the kernel's log, of which only OOM reports are kept


class Manifest(msgspec.Struct, kw_only=True):
    """What a captured tree says of itself."""

    schema: str = "memtwin.tree"
    version: int = 1
    taken_s: float
    kernel: str
    reader_uid: int
    files: int = 0
    size_bytes: int = 0
    processes: int = 0
    processes_readable: int = 0
    command_lines: bool = True
    absent: list[Absent] = []


def texts_of(source: TreeSource, choice: Choice, manifest: Manifest) -> Iterator[tuple[str, bytes]]:
    """(path, text) of everything that is saved; `manifest` counts along."""
    paths = [*_system_paths(source, choice), *_cgroup_paths(source)]
    for path in dict.fromkeys(paths):
        yield from _read(source, path, manifest)
    for pid in _pids(source) if choice.processes else ():
        manifest.processes += 1
        yield from _process(source, pid, choice, manifest)
    if choice.oom_log:
        yield "/oom.log", choice.oom_log.encode(errors="surrogateescape")


def _system_paths(source: TreeSource, choice: Choice) -> Iterator[str]:
    for pattern in _SYSTEM:
        yield from (source.glob(pattern) if "*" in pattern else [pattern])
    for device in source.names("/sys/block"):
        if device.startswith("zram"):
            yield from (f"/sys/block/{device}/{name}" for name in _ZRAM)
    if choice.command_lines:
        yield _COMMAND_LINES[0]


def _cgroup_paths(source: TreeSource) -> Iterator[str]:
    _, point = memory_hierarchy(Reading(source))
    todo = [] if point is None else [point]
    while todo:
        folder = todo.pop()
        for name in source.names(folder):
            if not INTERFACE.fullmatch(name):
                todo.append(f"{folder}/{name}")
            elif name in _PRESSURES or (name.startswith(_CGROUP_PREFIXES) and name not in _NEVER):
                yield f"{folder}/{name}"


def _pids(source: TreeSource) -> list[str]:
    return sorted((name for name in source.names("/proc") if name.isdecimal()), key=int)


def _process(
    source: TreeSource, pid: str, choice: Choice, manifest: Manifest
) -> Iterator[tuple[str, bytes]]:
    names = [*_PROCESS, *(_COMMAND_LINES[1:] if choice.command_lines else ())]
    names += [_MAPPINGS] if choice.mappings else []
    readable = True
    for name in names:
        path = f"/proc/{pid}/{name}"
        text = source.read_bytes(path)
        if text is not None:
            yield path, text
            continue
        why = source.reasons.get(path, "")
        if why not in ("No such process", "No such file or directory"):  # gone, or a kernel thread
            readable = False
            manifest.absent.append(Absent(path, why))
    manifest.processes_readable += readable


def _read(source: TreeSource, path: str, manifest: Manifest) -> Iterator[tuple[str, bytes]]:
    if path.rpartition("/")[2] in ACTIONS and path.startswith("/proc/sys/vm/"):
        return
    text = source.read_bytes(path)
    if text is not None:
        yield path, text
        return
    why = source.reasons.get(path, "")
    if why not in ("No such file or directory", "Is a directory", "a directory, not a file"):
        manifest.absent.append(Absent(printable(path), why))


def capture_tree(source: TreeSource, out: Path, choice: Choice) -> Manifest:
    """Save a tree at `out`: a directory, or an archive if its name ends with .tar.zst.

    Written beside and renamed, so that `out` is whole or not there. Raises UserError when there is
    something at `out` already.
    """
    if out.exists():
        raise UserError(f"--tree: found {str(out)!r}, allowed is a name that nothing has yet")
    release = (source.read("/proc/sys/kernel/osrelease") or "").strip()
    manifest = Manifest(
        taken_s=time.time(),
        kernel=printable(release or (source.read("/proc/version") or "unknown").strip()),
        reader_uid=os.geteuid(),
        command_lines=choice.command_lines,
    )
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        if out.name.endswith(ARCHIVE_SUFFIX):
            _archive(part, texts_of(source, choice, manifest), manifest)
        else:
            _folder(part, texts_of(source, choice, manifest), manifest)
        part.rename(out)
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)
    return manifest


def _folder(part: Path, texts: Iterator[tuple[str, bytes]], manifest: Manifest) -> None:
    part.mkdir(parents=True, mode=0o700)  # command lines and maps are private
    for path, text in texts:
        file = part / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text)
        _count(manifest, text)
    (part / MANIFEST).write_bytes(encoded(manifest))
    part.chmod(0o755 if not manifest.processes else 0o700)


def _archive(part: Path, texts: Iterator[tuple[str, bytes]], manifest: Manifest) -> None:
    import pyarrow as pa  # type: ignore[import-untyped]

    part.parent.mkdir(parents=True, exist_ok=True)
    part.touch(mode=0o600)
    with (
        pa.OSFile(str(part), "wb") as file,
        pa.CompressedOutputStream(file, "zstd") as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path, text in texts:
            _add(tar, path.lstrip("/"), text, manifest)
            _count(manifest, text)
        _add(tar, MANIFEST, encoded(manifest), manifest)


def _add(tar: tarfile.TarFile, name: str, text: bytes, manifest: Manifest) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = len(text), int(manifest.taken_s), 0o644
    tar.addfile(member, io.BytesIO(text))


def _count(manifest: Manifest, text: bytes) -> None:
    manifest.files += 1
    manifest.size_bytes += len(text)


def encoded(manifest: Manifest) -> bytes:
    """The manifest as JSON."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decoded(text: bytes) -> Manifest:
    """The manifest that `text` holds. Raises UserError when it is none."""
    try:
        return msgspec.json.decode(text, type=Manifest)
    except msgspec.MsgspecError as fault:
        raise UserError(f"{MANIFEST}: found {fault}, allowed is what capture wrote") from None


def oom_reports(log: str) -> str:
    """Of a kernel log, the lines from each OOM kill's first to its last."""
    kept: list[str] = []
    inside = False
    for line in log.splitlines(keepends=True):
        # mm/oom_kill.c dump_header() begins, __oom_kill_process() ends a report, v6.12
        inside = inside or "invoked oom-killer" in line
        if inside:
            kept.append(line)
        if "Killed process" in line or "oom_reaper: reaped" in line:
            inside = False
    return "".join(kept)
