"""Owns running a program inside a twin: its /proc and /sys are the twin's, all else is the host's.

Imports mount's other files and sweep's C calls. Three processes:

    memtwin (waits) --fork--> server: answers FUSE, in the host's own view
                    \\-fork--> command: a mount namespace of its own (and a user namespace unless
                              root), the twin bound over /proc and /sys, then exec

The namespace is the guardian: its mounts exist nowhere else and go with its last process, and the
command and the server are ended by the kernel when this process is. The host is never written to.

/proc/self must be the program itself, which the twin does not run: so the host's /proc stays
reachable as /proc/.host, and /proc/self leads there. A program that asks for its own number (or a
child's) gets it too, but no listing shows it, so sums over processes are the twin's alone. Where
the twin has a process of the same number, that one is shown.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from memtwin.errors import UserError
from memtwin.mount.fuse import load_mfusepy, serve
from memtwin.mount.nodes import Kind, Node, Nodes
from memtwin.mount.serve import FUSE_DEVICE
from memtwin.mount.wanted import Opened
from memtwin.mount.written import fill

# include/uapi/linux/sched.h, mount.h and prctl.h, v6.12
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT = 1, 2, 4, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
PR_SET_PDEATHSIG = 1
CANNOT_RUN, NOT_FOUND = 126, 127  # as shells answer
_WAITING_SIGNALS = (signal.SIGINT, signal.SIGQUIT)  # of the terminal: meant for the command
_PASSED_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
HOST_PROC = ".host"
_TWIN = "/sys"  # where the tree stands until its parts are in place: in the namespace alone
_PROC_LINKS = {"self": f"{HOST_PROC}/self", "thread-self": f"{HOST_PROC}/thread-self"}
_libc = ctypes.CDLL(None, use_errno=True)


class Way(enum.Enum):
    """How the tree comes into the namespace."""

    SERVED = "FUSE"
    COPIED = "a file system in memory"


class InsideNodes(Nodes):
    """A tree as a program inside it sees it: with what leads to the program itself."""

    namespace = ""  # the program's mount namespace, as readlink of /proc/PID/ns/mnt tells it

    def names(self, directory: str) -> list[str]:
        """What lies in `directory`; the host's /proc is there but not listed."""
        found = self.tree.names(directory)
        return sorted([*found, *_PROC_LINKS]) if directory == "/proc" else found

    def node(self, path: str) -> Node | None:
        """What `path` is, or None."""
        name = path.removeprefix("/proc/")
        if path == f"/proc/{HOST_PROC}":
            return Node(Kind.DIRECTORY)
        if path.startswith("/proc/") and name in _PROC_LINKS:
            return Node(Kind.LINK, target=_PROC_LINKS[name])
        found = super().node(path)
        if found is None and path.startswith("/proc/") and name.isdigit() and self._is_own(name):
            return Node(Kind.LINK, target=f"{HOST_PROC}/{name}")
        return found

    def _is_own(self, pid: str) -> bool:
        """Whether the host's process `pid` runs inside the twin."""
        try:
            return os.readlink(f"/proc/{pid}/ns/mnt") == self.namespace
        except OSError:
            return False


def run_inside(opened: Opened, command: list[str], note: Callable[[str], None]) -> int:
    """Run `command` with the twin's /proc and /sys: its exit status (128 + number of a signal).

    `note` is told what had to be done another way. Raises UserError when this host allows no mount
    namespace, or where time is to run on and FUSE is missing.
    """
    way = Way.SERVED if _fuse_is_here() else Way.COPIED
    if way is Way.COPIED:
        if opened.player is not None:
            raise UserError("--play: needs /dev/fuse and libfuse, which this host has not")
        note("no FUSE on this host: the tree is copied, and programs do not find themselves in it")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        parent_pid = os.getpid()
        command_pid = os.fork()
        if command_pid == 0:
            try:
                ours.close()
                _die_with(parent_pid)
                _become_command(InsideNodes(opened.tree), command, theirs, way)
            except BaseException:  # whatever it is, this process is not to go on as memtwin
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(CANNOT_RUN)
        theirs.close()
        return _wait_for(opened, command_pid, ours, note)


def _fuse_is_here() -> bool:
    try:
        load_mfusepy()
    except UserError:
        return False
    return os.access(FUSE_DEVICE, os.R_OK | os.W_OK)


# the waiting side -------------------------------------------------------------------------------


def _wait_for(
    opened: Opened, command_pid: int, link: socket.socket, note: Callable[[str], None]
) -> int:
    server_pid = 0
    kept = {number: signal.getsignal(number) for number in (*_WAITING_SIGNALS, *_PASSED_SIGNALS)}
    for number in _WAITING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    for number in _PASSED_SIGNALS:
        signal.signal(number, lambda got, frame: _pass_on(got, command_pid))
    try:
        answer, fds, _, _ = socket.recv_fds(link, 4096, 1)
        if answer.startswith(b"!"):
            os.waitpid(command_pid, 0)
            raise UserError(answer[1:].decode(errors="replace"))
        if fds:
            server_pid = _start_server(opened, command_pid, fds[0], link, note)
        _, status = os.waitpid(command_pid, 0)
    finally:
        if server_pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(server_pid, signal.SIGKILL)
            os.waitpid(server_pid, 0)
        for number, handler in kept.items():
            signal.signal(number, handler)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _pass_on(number: int, pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended just now
        os.kill(pid, number)


def _start_server(
    opened: Opened,
    command_pid: int,
    fuse_fd: int,
    link: socket.socket,
    note: Callable[[str], None],
) -> int:
    """Fork who answers FUSE on `fuse_fd`: its pid."""
    parent_pid = os.getpid()
    pid = os.fork()
    if pid:
        os.close(fuse_fd)
        return pid
    try:
        link.close()
        _die_with(parent_pid)
        os.setpgid(0, 0)  # Ctrl-C is for the command
        for number in (*_WAITING_SIGNALS, *_PASSED_SIGNALS):
            signal.signal(number, signal.SIG_IGN)
        nodes = InsideNodes(opened.tree)
        nodes.namespace = os.readlink(f"/proc/{command_pid}/ns/mnt")
        opened.start(note)
        serve(nodes, opened.gate, f"/dev/fd/{fuse_fd}")
    except BaseException:  # whatever it is, this process is not to go on as memtwin
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(0)


def _die_with(parent_pid: int) -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # it went before the call
        os._exit(1)


# the command's side -----------------------------------------------------------------------------


def _become_command(nodes: InsideNodes, command: list[str], link: socket.socket, way: Way) -> None:
    """Enter the namespace, put the twin in place, and become the command. Never returns."""
    told = False  # whether the waiting side listens no more
    try:
        _enter_namespace()
        if way is Way.SERVED:
            fd = os.open(FUSE_DEVICE, os.O_RDWR | os.O_CLOEXEC)
            options = f"fd={fd},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
            _mount(
                "memtwin", _TWIN, "fuse", MS_RDONLY | MS_NOSUID | MS_NODEV, options + ",allow_other"
            )
            socket.send_fds(link, [b"."], [fd])
            os.close(fd)
        else:
            _mount("memtwin", _TWIN, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
            fill(nodes, "/", Path(_TWIN))
            Path(f"{_TWIN}/proc/{HOST_PROC}").mkdir()
            _mount("", _TWIN, "", MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
            link.send(b".")
        told = True
        _mount("/proc", f"{_TWIN}/proc/{HOST_PROC}", "", MS_BIND | MS_REC)
        _mount(f"{_TWIN}/proc", "/proc", "", MS_BIND | MS_REC)
        _mount(f"{_TWIN}/sys", "/sys", "", MS_BIND)
    except (OSError, UserError) as fault:
        if told:
            os.write(2, f"memtwin: {fault}\n".encode())
        else:
            link.send(f"!{fault}".encode())
        os._exit(UserError.exit_status)
    link.close()
    for number in (*_WAITING_SIGNALS, *_PASSED_SIGNALS, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)
    except OSError as fault:
        os.write(2, f"memtwin: {command[0]}: {fault.strerror}\n".encode())
        os._exit(NOT_FOUND if isinstance(fault, FileNotFoundError) else CANNOT_RUN)


def try_namespace() -> str:
    """Why this host would not let `run_inside` work; empty when it would."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _enter_namespace()
            _mount("memtwin", _TWIN, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
        except (OSError, UserError) as fault:
            os.write(writing, str(fault).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        reason = told.read().decode(errors="replace")
    os.waitpid(pid, 0)
    return reason


def _enter_namespace() -> None:
    """A mount namespace of its own; for a normal user inside a user namespace that maps only it."""
    uid, gid = os.geteuid(), os.getegid()
    flags = CLONE_NEWNS if uid == 0 else CLONE_NEWNS | CLONE_NEWUSER
    if _libc.unshare(flags) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise UserError(
            f"inside: this host allows user {uid} no {'mount' if uid == 0 else 'user'} namespace"
            f" ({reason}); `memtwin mount --write` makes a tree for tools that take a root"
        )
    if uid != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    _mount("", "/", "", MS_REC | MS_PRIVATE)  # nothing mounted from here on is seen outside


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    words = [os.fsencode(word) or None for word in (source, target, kind)]
    if _libc.mount(*words, ctypes.c_ulong(flags), options.encode() or None) != 0:
        raise UserError(f"inside: mounting at {target}: {os.strerror(ctypes.get_errno())}")
