"""Owns asking the kernel for taskstats: generic netlink by hand, without libraries.

Imports observe/taskstats_layout. Knows nothing of /proc.
"""

from __future__ import annotations

import os
import socket
import struct

from memtwin.observe import taskstats_layout

NETLINK_GENERIC = 16  # include/uapi/linux/netlink.h
GENL_ID_CTRL = 16  # include/uapi/linux/genetlink.h
CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 3, 1, 2
NLM_F_REQUEST, NLMSG_ERROR = 1, 2
# include/uapi/linux/taskstats.h TASKSTATS_CMD_GET, TASKSTATS_TYPE_*
CMD_GET, ATTR_PID, ATTR_TGID, ATTR_REGISTER_CPUMASK = 1, 1, 2, 3
TYPE_STATS, TYPE_AGGR_PID, TYPE_AGGR_TGID = 3, 4, 5
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_GENL = struct.Struct("=BBH")
_ATTR = struct.Struct("=HH")
_ANSWER_BYTES = 1 << 16
_PATIENCE_S = 2.0
_LISTENING_BYTES = 4 << 20  # of the socket: every exit on the machine passes through it


class TaskStats:
    """An open question line to the kernel. OSError (EPERM, ESRCH, ENOENT) says what is refused."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
        try:
            self.socket.bind((0, 0))
            self.socket.settimeout(_PATIENCE_S)
            self._sequence = 0
            name = [(CTRL_ATTR_FAMILY_NAME, b"TASKSTATS\0")]
            answer = self._ask(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, name)
            (self.family,) = struct.unpack("=H", answer[CTRL_ATTR_FAMILY_ID][:2])
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> TaskStats:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the line."""
        self.socket.close()

    def of_process(self, pid: int) -> dict[str, int | str]:
        """The sums over the threads of a process, those that have ended included.

        kernel/taskstats.c fill_stats_for_tgid(), v6.12, leaves the command, the faults and the
        high water marks empty.
        """
        return self._get(ATTR_TGID, pid)

    def of_thread(self, tid: int) -> dict[str, int | str]:
        """One thread's figures."""
        return self._get(ATTR_PID, tid)

    def listen(self, cpus: str) -> None:
        """Have the kernel tell of every thread that ends on `cpus` ("0-7")."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LISTENING_BYTES)
        self._send(self.family, CMD_GET, [(ATTR_REGISTER_CPUMASK, cpus.encode() + b"\0")])

    def next_exit(self, patience_s: float) -> dict[str, int | str] | None:
        """The figures of the next thread that ended; None when none does for so long.

        Raises OSError (ENOBUFS) when more ended than the socket holds.
        """
        self.socket.settimeout(patience_s)
        try:
            data = self.socket.recv(_ANSWER_BYTES)
        except TimeoutError:
            return None
        if len(data) < _HEADER.size or _HEADER.unpack_from(data)[1] == NLMSG_ERROR:
            (code,) = struct.unpack_from("=i", data, _HEADER.size)
            raise OSError(-code, os.strerror(-code))
        one = attributes(data[_HEADER.size + _GENL.size :]).get(TYPE_AGGR_PID, b"")
        return taskstats_layout.parse(attributes(one).get(TYPE_STATS, b""))

    def _get(self, attribute: int, number: int) -> dict[str, int | str]:
        answer = self._ask(self.family, CMD_GET, [(attribute, struct.pack("=I", number))])
        nested = answer.get(TYPE_AGGR_TGID) or answer.get(TYPE_AGGR_PID) or b""
        return taskstats_layout.parse(attributes(nested).get(TYPE_STATS, b""))

    def _ask(self, kind: int, command: int, words: list[tuple[int, bytes]]) -> dict[int, bytes]:
        self._send(kind, command, words)
        while True:
            data = self.socket.recv(_ANSWER_BYTES)
            if len(data) < _HEADER.size:
                continue
            _, answered, _, sequence, _ = _HEADER.unpack_from(data)
            if sequence != self._sequence:
                continue  # of a question that was given up
            if answered == NLMSG_ERROR:
                (code,) = struct.unpack_from("=i", data, _HEADER.size)
                raise OSError(-code, os.strerror(-code))
            return attributes(data[_HEADER.size + _GENL.size :])

    def _send(self, kind: int, command: int, words: list[tuple[int, bytes]]) -> None:
        self._sequence += 1
        body = _GENL.pack(command, 1, 0)
        for key, value in words:
            body += _ATTR.pack(len(value) + _ATTR.size, key) + value + bytes(-len(value) % 4)
        length = len(body) + _HEADER.size
        self.socket.send(_HEADER.pack(length, kind, NLM_F_REQUEST, self._sequence, 0) + body)


def attributes(data: bytes) -> dict[int, bytes]:
    """type -> value of a row of netlink attributes; a broken one ends it.

    >>> attributes(b"\\x06\\x00\\x01\\x00ab\\x00\\x00\\x04\\x00\\x02\\x00")
    {1: b'ab', 2: b''}
    """
    found: dict[int, bytes] = {}
    at = 0
    while at + _ATTR.size <= len(data):
        length, kind = _ATTR.unpack_from(data, at)
        if length < _ATTR.size:
            break
        found[kind & 0x3FFF] = data[at + _ATTR.size : at + length]
        at += -(-length // 4) * 4
    return found
