"""Owns the metrics that a Prometheus server scrapes: their names, and the HTTP server.

Imports prometheus_client, analysis/ledger and observe's records. Sizes are bytes, times seconds.
The server listens where it is told; loopback is the default of the command line, not of this.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

from memtwin.analysis.ledger import make_ledger
from memtwin.errors import UserError
from memtwin.observe.ledger_texts import read_ledger_counters
from memtwin.observe.meminfo import FIELDS, parse_meminfo
from memtwin.observe.processes.files import parse_process_stat, parse_smaps_rollup, parse_statm
from memtwin.observe.samples.moment import StoredMoment
from memtwin.observe.slabinfo import parse_slabinfo
from memtwin.observe.system import PRESSURE_PATHS, parse_pressure
from memtwin.observe.vmstat import parse_vmstat

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

# counters of /proc/vmstat that only grow; the others are gauges of pages
_GROWING = ("pg", "psw", "allocstall", "oom_kill", "workingset_", "thp_", "compact_", "slabs_",
            "kswapd_", "pageoutrun", "drop_", "numa_", "unevictable_", "swap_ra", "zsw", "balloon_",
            "nr_dirtied", "nr_written")  # fmt: skip
_NOW = Callable[[], StoredMoment | None]


class MomentCollector(Collector):
    """Metrics of the newest sample."""

    def __init__(self, now: _NOW, page_bytes: int) -> None:
        self.now, self.page_bytes = now, page_bytes

    def collect(self) -> Iterator[Metric]:
        """All metrics of the newest sample; none before the first."""
        moment = self.now()
        if moment is None:
            return
        taken = GaugeMetricFamily("memtwin_sample_timestamp_seconds", "When the sample was taken.")
        taken.add_metric([], moment.taken_ns / 1e9)
        yield taken
        yield from _meminfo(moment)
        yield from _ledger(moment)
        yield from _vmstat(moment)
        yield from _pressure(moment)
        yield _slabs(moment, self.page_bytes)
        yield from _processes(moment, self.page_bytes)


def _meminfo(moment: StoredMoment) -> Iterator[Metric]:
    text = moment.read("/proc/meminfo")
    info = parse_meminfo(text) if text else None
    for printed, field in FIELDS.items() if info is not None else ():
        value = getattr(info, field)
        if value is not None and field.endswith("_kib"):
            name = f"memtwin_meminfo_{field.removesuffix('_kib')}_bytes"
            yield GaugeMetricFamily(name, f"{printed} of /proc/meminfo.", value * 1024)


def _ledger(moment: StoredMoment) -> Iterator[Metric]:
    try:
        ledger = make_ledger(read_ledger_counters(moment))
    except UserError:
        return
    family = GaugeMetricFamily(
        "memtwin_ledger_bytes", "MemTotal, each page in one row.", labels=["row"]
    )
    for row in ledger.rows:
        family.add_metric([row.row], row.size_bytes)
    yield family


def _vmstat(moment: StoredMoment) -> Iterator[Metric]:
    text = moment.read("/proc/vmstat")
    for name, value in (parse_vmstat(text).figures if text else {}).items():
        told = f"{name} of /proc/vmstat."
        if name.startswith(_GROWING):
            yield CounterMetricFamily(f"memtwin_vmstat_{name}", told, value)
        else:
            yield GaugeMetricFamily(f"memtwin_vmstat_{name}", told, value)


def _pressure(moment: StoredMoment) -> Iterator[Metric]:
    family = CounterMetricFamily(
        "memtwin_pressure_stalled_seconds",
        "Time that tasks waited for a resource.",
        labels=["resource", "tasks"],
    )
    for path in PRESSURE_PATHS:
        text = moment.read(path)
        if text:
            pressure, resource = parse_pressure(text), path.rpartition("/")[2]
            for tasks, row in (("some", pressure.some), ("full", pressure.full)):
                if row is not None:
                    family.add_metric([resource, tasks], row.total_us / 1e6)
    yield family


def _slabs(moment: StoredMoment, page_bytes: int) -> Metric:
    family = GaugeMetricFamily("memtwin_slab_bytes", "Memory of a slab cache.", labels=["cache"])
    text = moment.read("/proc/slabinfo")
    for row in parse_slabinfo(text) if text else ():
        family.add_metric([row.name], row.num_slabs * row.pages_per_slab * page_bytes)
    return family


def _processes(moment: StoredMoment, page_bytes: int) -> Iterator[Metric]:
    labels = ["pid", "comm"]
    resident = GaugeMetricFamily("memtwin_process_resident_bytes", "RSS.", labels=labels)
    unique = GaugeMetricFamily("memtwin_process_unique_bytes", "USS, last read.", labels=labels)
    share = GaugeMetricFamily("memtwin_process_proportional_bytes", "PSS, last.", labels=labels)
    for pid in moment.names("/proc"):
        statm = moment.read(f"/proc/{pid}/statm") if pid.isdigit() else None
        stat = moment.read(f"/proc/{pid}/stat") if statm else None
        if not statm or not stat or statm.startswith("0 "):
            continue
        label = [pid, parse_process_stat(stat).comm.encode(errors="replace").decode()]
        resident.add_metric(label, parse_statm(statm).resident_pages * page_bytes)
        text = moment.read(f"/proc/{pid}/smaps_rollup")
        rollup = parse_smaps_rollup(text) if text else None
        if rollup is not None:
            private = (rollup.private_clean_kib or 0) + (rollup.private_dirty_kib or 0)
            unique.add_metric(label, private * 1024)
            share.add_metric(label, (rollup.pss_kib or 0) * 1024)
    yield from (resident, unique, share)


class MetricsServer:
    """Serves metrics until it is closed; a context. `address` is where it listens."""

    def __init__(self, listen: str, now: _NOW, page_bytes: int) -> None:
        host, port = parse_listen(listen)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(MomentCollector(now, page_bytes))
        self._server = _bound(host, port)
        self._server.set_app(make_wsgi_app(registry))
        self.address = f"{host}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(self, *fault: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _bound(host: str, port: int) -> WSGIServer:
    from wsgiref.simple_server import WSGIRequestHandler

    class Quiet(WSGIRequestHandler):
        """Says nothing of each request."""

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    class Server(ThreadingWSGIServer):
        """Of the family of its address."""

        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    try:
        return Server((host, port), Quiet)
    except (OSError, OverflowError) as fault:
        why = fault.strerror if isinstance(fault, OSError) else str(fault)
        raise UserError(
            f"--listen: found {host}:{port}, which can't be listened on: {why}"
        ) from None


def parse_listen(text: str) -> tuple[str, int]:
    """(address, port) of "127.0.0.1:9843" or "[::1]:9843". Raises UserError.

    >>> parse_listen("[::1]:9843")
    ('::1', 9843)
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or int(port) > 65535:
        raise UserError(f"--listen: found {text!r}, allowed is ADDRESS:PORT, as 127.0.0.1:9843")
    return host, int(port)
