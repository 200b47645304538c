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

# All that the emulator knows: programs built for newer machines than its default would refuse.
_CPU_MODEL = "max"
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
) -> RunResult:
    """Run `program` under the emulator; events go to the block file `part`.

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
    part.write_bytes(part_header(new_metadata(command, recorder)))
    control = Control(part)
    option = (
        f"{_doubled(str(plugin))},part={_doubled(str(part))},plugin={_doubled(str(plugin))},"
        f"window={window_refs},cpu={_CPU_MODEL}"
    )
    argv = [emulator, "-cpu", _CPU_MODEL, "-plugin", option, "-0", program.argv[0]]

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
