"""Owns opening a path so that it never leads out of a directory, whatever links a tree holds.

Imports nothing of memtwin. Knows nothing of what is read. A link is followed as long as it stays
below; one that leads out fails with EXDEV. Nothing but a regular file or a directory is ever opened
for reading, so that no FIFO blocks and no device is touched.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat

_SYS_OPENAT2 = 437  # include/uapi/asm-generic/unistd.h __NR_openat2, the same wherever Linux runs
# include/uapi/linux/openat2.h
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_BENEATH = 0x08
_MOST_LINKS = 40  # include/linux/namei.h MAXSYMLINKS, v6.12
_TRIES = 8  # a rename during the walk makes openat2 say EAGAIN
_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = ((stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"), (stat.S_ISDIR, "a directory"))


class NotAFile(OSError):
    """What stands at a path is neither a regular file nor, where one was asked for, a directory."""


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_PATH_ONLY = _OpenHow(os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long


def open_file(root: int, path: str) -> int:
    """A descriptor for reading the regular file `path` (relative) below directory `root`.

    Raises OSError: NotAFile for what is no file, EXDEV where a link leads out.
    """
    place = locate(root, path)
    try:
        mode = os.fstat(place).st_mode
        if not stat.S_ISREG(mode):
            kind = next((name for is_it, name in _KINDS if is_it(mode)), "a device")
            raise NotAFile(errno.EINVAL, f"{kind}, not a file")
        return _reopened(place, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    finally:
        os.close(place)


def open_directory(root: int, path: str) -> int:
    """A descriptor for listing directory `path` (relative, "" is the root itself) below `root`."""
    place = locate(root, path)
    try:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(".", flags, dir_fd=place)
    finally:
        os.close(place)


def locate(root: int, path: str) -> int:
    """An O_PATH descriptor of what `path` names below `root`; nothing is opened for reading."""
    path = path.strip("/") or "."
    for _ in range(_TRIES):
        try:
            return _openat2(root, path)
        except BlockingIOError:
            continue
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.EPERM):  # before 5.6, or barred by seccomp
                return walk(root, path)
            raise
    return walk(root, path)


def _openat2(root: int, path: str) -> int:
    name = os.fsencode(path)
    if b"\0" in name:
        raise OSError(errno.EINVAL, "a NUL in the name")
    how = _PATH_ONLY
    place: int = _syscall(
        ctypes.c_long(_SYS_OPENAT2),
        ctypes.c_int(root),
        ctypes.c_char_p(name),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )
    if place < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return place


def walk(root: int, path: str) -> int:
    """`locate` by one part after the other, each link read and judged, for kernels without openat2.

    No part is opened through a link, so that swapping one in during the walk gains nothing.
    """
    todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    places = [os.open(".", _STEP | os.O_DIRECTORY, dir_fd=root)]
    links = 0
    try:
        while todo:
            part = todo.pop()
            if part == "..":
                if len(places) == 1:
                    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
                os.close(places.pop())
                continue
            place = os.open(part, _STEP, dir_fd=places[-1])
            if not stat.S_ISLNK(os.fstat(place).st_mode):
                places.append(place)
                continue
            try:
                target = os.readlink("", dir_fd=place)
            finally:
                os.close(place)
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            if target.startswith("/"):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            todo += [step for step in reversed(target.split("/")) if step not in ("", ".")]
        return os.dup(places[-1])
    finally:
        for place in places:
            os.close(place)


def _reopened(place: int, flags: int) -> int:
    """`place` opened anew with `flags`: the same file, so that nothing can be put in between."""
    return os.open(f"/proc/self/fd/{place}", flags)
