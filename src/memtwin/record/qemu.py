"""Owns the primary recorder: the program under QEMU user mode with our plugin.

Imports errors, host, part, plugin_build, program, schema, supervise. Leaves a block file; the
front door makes the trace of it.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from memtwin.errors import UserError
from memtwin.record import schema
from memtwin.record.host import new_metadata
from memtwin.record.part import SLOT_BYTES, Control, part_header
from memtwin.record.plugin_build import plugin_path
from memtwin.record.program import Program
from memtwin.record.supervise import RunResult, run_supervised

# What the emulated processor offers. x86_64: all of the second feature level (SSE4.2, POPCNT),
# which NumPy and newer distributions ask for, and no more: AVX is emulated by slow calls, and
# ERMS makes the C library copy by `rep movsb`, which is emulated byte by byte.
# DIFFERS: the program may choose other code than on this host's processor; its instruction counts
# and code pages differ a little; predicted CPU time and the pages of library code
_CPU_MODELS = {"x86_64": "Westmere"}
_CPU_MODEL = "max"  # of other architectures
_MISSES = (
    "memory the kernel touches for the program except buffers of read, write and their kin",
    "programs executed with setuid, or of an architecture other than x86_64, aarch64, riscv64",
    "io_uring and Linux AIO, which the emulator doesn't offer: programs fall back to read/write",
    "pages of the kernel's vdso, which the emulator doesn't map",
)


def emulator_for(arch: str) -> str | None:
    """Path of the user-mode emulator for `arch`, or None."""
    return shutil.which(f"qemu-{arch}")


def emulator_version(emulator: str) -> str:
    """First line that the emulator says of itself."""
    out = subprocess.run([emulator, "--version"], capture_output=True, text=True, check=False)
    return (out.stdout.splitlines() or [""])[0].strip()


def _doubled(text: str) -> str:
    return text.replace(",", ",,")  # a comma ends an option of -plugin


def record_qemu(
    program: Program,
    command: list[str],
    part: Path,
    window_refs: int,
    progress: Callable[[int, int], None] | None,
    cpu_model: str | None = None,
) -> RunResult:
    """Run `program` under the emulator; events go to the block file `part`.

    `cpu_model` is one of the emulator's (`qemu-x86_64 -cpu help`), None the usual one.
    `progress(elapsed_ns, written_bytes)` is called about ten times a second. Raises UserError
    when the emulator is missing or can't take the plugin, or the disk is full.
    """
    emulator = emulator_for(program.arch)
    if emulator is None:
        raise UserError(f"qemu-{program.arch} is not installed; apt install qemu-user")
    version = emulator_version(emulator)
    plugin = plugin_path(version)
    recorder = schema.Recorder(
        method="qemu",
        tool=version,
        window_refs=window_refs,
        clock="instructions of the thread, counted a translated block at a time",
        misses=_MISSES,
    )
    cpu = cpu_model or _CPU_MODELS.get(program.arch, _CPU_MODEL)
    part.write_bytes(part_header(new_metadata(command, recorder)))
    control = Control(part)
    option = (
        f"{_doubled(str(plugin))},part={_doubled(str(part))},plugin={_doubled(str(plugin))},"
        f"window={window_refs},cpu={_doubled(cpu)}"
    )
    argv = [emulator, "-cpu", cpu, "-plugin", option, "-0", program.argv[0]]

    def tick(elapsed_ns: int) -> bool:
        if progress is not None:
            progress(elapsed_ns, control.slots * SLOT_BYTES)
        return control.error == 0

    try:
        result = run_supervised([*argv, str(program.binary), *program.argv[1:]], tick=tick)
        control.stop()
        if control.error:
            _explain(control.error, part)
        if control.slots == 0:
            raise UserError(
                f"{emulator}: can't run the recorder's plugin (exit status "
                f"{result.exit_status}); found {version or 'an unknown version'}, "
                "allowed is one built with plugins, as Debian's qemu-user"
            )
        return result
    finally:
        control.stop()
        control.close()


def _explain(number: int, part: Path) -> None:
    if number in (errno.ENOSPC, errno.EDQUOT):
        raise UserError(f"{part.parent}: the disk is full; the recording was given up")
    raise UserError(f"{part}: can't be written ({os.strerror(number)}); the recording was given up")
