"""The snapshot of the virtual servers as a collector of Prometheus' client, and its rendering."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector as RegistryCollector

from reconvirt.metrics.collector import Collector
from reconvirt.metrics.servers import make_families

# Series that tell when a counter began would double the number of series; Prometheus sees a
# counter begin anew by its value.
disable_created_metrics()  # type: ignore[no-untyped-call]


class ServersCollector(RegistryCollector):
    """Renders the last snapshot; a series whose virtual server is gone is gone with it.

    Args:
        collector: has the snapshot.
        host: the name of the host.
    """

    def __init__(self, collector: Collector, host: str | None = None) -> None:
        self._collector = collector
        self._host = host or socket.gethostname()

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry must not collect in order to know the names."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The families of the snapshot; called at every scrape."""
        age = GaugeMetricFamily(
            "reconvirt_libvirt_stats_age_seconds",
            "How old the last collection of statistics is; no sample before the first.",
        )
        stuck = GaugeMetricFamily(
            "reconvirt_libvirt_stats_stuck_calls",
            "Calls for statistics that libvirt or a QEMU has not answered and that were given up.",
            self._collector.stuck,
        )
        snapshot = self._collector.snapshot
        if snapshot is not None:
            now = self._collector.now
            age.add_metric([], now - snapshot.taken_at)
            yield from make_families(snapshot, now, self._host)
        yield age
        yield stuck


def write_textfile(registry: CollectorRegistry, path: Path) -> None:
    """Write all metrics to a file for node_exporter, which never sees it half-written.

    Raises:
        OSError: it cannot be written.
    """
    handle, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(generate_latest(registry))
        Path(aside).chmod(0o644)
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
