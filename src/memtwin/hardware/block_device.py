"""Owns a block device: when a request put to it ends, and which pages are under way.

Imports columns. Has never heard of what a page is for: it carries frame numbers, a direction and
times. Requests are served first in, first out; pages of adjacent blocks put in one after another
make one request until `issue`, as a plugged block layer merges them.
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, grown, zeros

COLUMNS = (
    Column(
        "ring_pfn",
        "i4",
        "block_device",
        "frame of each page under way; -1 for a request without page",
    ),
    Column("ring_op", "i1", "block_device", "IO_READ 0 or IO_WRITE 1"),
    Column(
        "ring_end_ns", "i8", "block_device", "when its request ends; 0 while it is still plugged"
    ),
    Column("ring_last", "i1", "block_device", "1: the last entry of its request"),
)
_FIRST_ROOM = 256


@cython.final
@cython.cclass
class BlockDevice:
    """One device: latency, bandwidth and operations a second, and its requests."""

    def __init__(
        self, name: str, latency_ns: int, bytes_per_s: int, iops: int = 0,
        rotational: int = 0, burst_ns: int = 0, max_request_pages: int = 320,
        nr_requests: int = 0, write_bytes_per_s: int = -1,
    ) -> None:  # fmt: skip
        self.name = name
        self.latency_ns = latency_ns
        self.bytes_per_s = bytes_per_s  # 0: no limit
        self.write_bytes_per_s = bytes_per_s if write_bytes_per_s < 0 else write_bytes_per_s
        self.iops = iops  # 0: no limit
        self.rotational = rotational
        # a throttled virtual disk lets this much work through at full speed (QEMU: 100 ms); 0: a
        # plain device, whose requests take their transfer time
        self.burst_ns = burst_ns
        self.max_request_pages = max_request_pages  # block/blk-settings.c: 1280 KiB, v6.1
        self.nr_requests = nr_requests  # that it takes at once, who has more waits; 0: any
        self.nr_in_flight = 0  # requests issued and not ended
        self.bytes_until_ns = 0  # the byte budget is used up until then
        self.ops_until_ns = 0
        self.nr_reads = 0  # requests and pages so far
        self.nr_writes = 0
        self.pages_read = 0
        self.pages_written = 0
        self.ring_room = _FIRST_ROOM
        self.head = 0  # entries head .. tail - 1 are under way; a place is entry % ring_room
        self.tail = 0
        self.plugged = 0  # of these, the last so many are not issued yet
        self.plugged_pages = 0
        self.plugged_op = 0
        self.plugged_next_block = 0
        self.ring_pfn = zeros(_FIRST_ROOM, "i4")
        self.ring_op = zeros(_FIRST_ROOM, "i1")
        self.ring_end_ns = zeros(_FIRST_ROOM, "i8")
        self.ring_last = zeros(_FIRST_ROOM, "i1")

    @cython.ccall
    def submit(
        self, now_ns: cython.longlong, op: cython.int, pfn: cython.int, block: cython.longlong,
        nr_pages: cython.int,
    ) -> cython.int:  # fmt: skip
        """Put in one frame at `block` (in pages), or a bare transfer of `nr_pages` (pfn -1); 0."""
        if self.plugged > 0 and (
            op != self.plugged_op
            or block != self.plugged_next_block
            or self.plugged_pages + nr_pages > self.max_request_pages
        ):
            self.issue(now_ns)
        if self.tail - self.head == self.ring_room:
            self._grow()
        place: cython.longlong = self.tail % self.ring_room
        self.ring_pfn[place] = pfn
        self.ring_op[place] = op
        self.ring_end_ns[place] = 0
        self.ring_last[place] = 0
        self.tail += 1
        self.plugged += 1
        self.plugged_pages += nr_pages
        self.plugged_op = op
        self.plugged_next_block = block + nr_pages
        return 0

    @cython.ccall
    def issue(self, now_ns: cython.longlong) -> cython.longlong:
        """Send what is plugged as one request; when it ends (0: nothing was plugged)."""
        if self.plugged == 0:
            return 0
        end_ns: cython.longlong = self._serve(now_ns, self.plugged_op, self.plugged_pages)
        at: cython.longlong
        for at in range(self.tail - self.plugged, self.tail):
            self.ring_end_ns[at % self.ring_room] = end_ns
        self.ring_last[(self.tail - 1) % self.ring_room] = 1
        self.nr_in_flight += 1
        if self.plugged_op == 0:
            self.nr_reads += 1
            self.pages_read += self.plugged_pages
        else:
            self.nr_writes += 1
            self.pages_written += self.plugged_pages
        self.plugged = 0
        self.plugged_pages = 0
        return end_ns

    @cython.cfunc
    @cython.exceptval(check=False)
    def _serve(
        self, now_ns: cython.longlong, op: cython.int, nr_pages: cython.longlong
    ) -> cython.longlong:
        # MODEL: two leaky buckets, bytes and operations, as QEMU's throttle (util/throttle.c); with
        # burst_ns 0 it is a server with one queue.
        start_ns: cython.longlong = now_ns
        service_ns: cython.longlong = 0
        bytes_per_s: cython.longlong = self.bytes_per_s if op == 0 else self.write_bytes_per_s
        if bytes_per_s > 0:
            service_ns = nr_pages * 4096 * 1_000_000_000 // bytes_per_s
            if self.bytes_until_ns - self.burst_ns > start_ns:
                start_ns = self.bytes_until_ns - self.burst_ns
        if self.iops > 0 and self.ops_until_ns - self.burst_ns > start_ns:
            start_ns = self.ops_until_ns - self.burst_ns
        if self.bytes_until_ns < start_ns:
            self.bytes_until_ns = start_ns
        self.bytes_until_ns += service_ns
        if self.iops > 0:
            if self.ops_until_ns < start_ns:
                self.ops_until_ns = start_ns
            self.ops_until_ns += 1_000_000_000 // self.iops
        if self.burst_ns > 0:
            return start_ns + self.latency_ns
        return start_ns + service_ns + self.latency_ns

    @cython.ccall
    def next_end_ns(self) -> cython.longlong:
        """When the first request under way ends, or -1 when none is (issue first)."""
        if self.head == self.tail - self.plugged:
            return -1
        return self.ring_end_ns[self.head % self.ring_room]

    @cython.cfunc
    @cython.exceptval(check=False)
    def is_full(self) -> cython.int:
        """1 when who has a further request waits until one under way ends."""
        return 1 if self.nr_requests > 0 and self.nr_in_flight >= self.nr_requests else 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def take(self) -> cython.longlong:
        """Remove the first entry under way: frame * 2 + op (frame -1: a bare transfer)."""
        place: cython.longlong = self.head % self.ring_room
        self.head += 1
        self.nr_in_flight -= self.ring_last[place]
        pfn: cython.longlong = self.ring_pfn[place]
        return pfn * 2 + self.ring_op[place]

    def _grow(self) -> None:
        # unroll the ring so that entry e again lies at e % room
        count = self.tail - self.head
        old_room = self.ring_room
        order = [(self.head + i) % old_room for i in range(count)]
        for name in ("ring_pfn", "ring_op", "ring_end_ns", "ring_last"):
            old = getattr(self, name)
            values = [old[place] for place in order]
            new = grown(old, old_room * 2)
            for i, value in enumerate(values):
                new[i] = value
            setattr(self, name, new)
        self.ring_room = old_room * 2
        self.head, self.tail = 0, count

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        names = "bytes_until_ns ops_until_ns nr_reads nr_writes pages_read pages_written plugged"
        found: list[tuple[str, object]] = [(name, getattr(self, name)) for name in names.split()]
        under_way = [
            (int(self.ring_pfn[at]), int(self.ring_op[at]), int(self.ring_end_ns[at]))
            for at in (entry % self.ring_room for entry in range(self.head, self.tail))
        ]
        return [*found, ("under_way", [part for entry in under_way for part in entry])]
