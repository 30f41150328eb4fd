"""All of the metrics together: what collects, what counts, what serves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from reconvirt.hypervisor.events import EVENT_KINDS
from reconvirt.hypervisor.stats import StatisticsConnection
from reconvirt.hypervisor.supervision import THREADS
from reconvirt.metrics.collector import Collector
from reconvirt.metrics.daemon_metrics import DaemonMetrics
from reconvirt.metrics.emulators import find_emulators
from reconvirt.metrics.endpoint import Endpoint, EndpointError
from reconvirt.metrics.exposition import Ages, Exposition, write_textfile
from reconvirt.metrics.fleet import FleetCollector, FleetStatus
from reconvirt.metrics.perf_collector import PerfCollector
from reconvirt.metrics.perf_report import ReportError, Trouble
from reconvirt.metrics.settings import MetricsSettings

_STOP_SECONDS = 3.0

_log = structlog.get_logger(__name__)


class MetricsService:
    """Collects and serves for as long as the daemon runs.

    Args:
        settings: how.
        uri: where libvirt is.
        status: gives the controller's state; must not wait for anything.
        workers: how many reconciles there are at a time at most.
    """

    def __init__(
        self,
        settings: MetricsSettings,
        uri: str,
        status: Callable[[], FleetStatus],
        *,
        workers: int,
    ) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self.registry = CollectorRegistry()
        self.observer = DaemonMetrics(self.registry, workers=workers, event_kinds=EVENT_KINDS)
        self.collector = Collector(
            lambda: StatisticsConnection(uri),
            interval=settings.interval_seconds,
            timeout=settings.timeout_seconds,
            refresh=settings.refresh_seconds,
            on_collected=self.observer.collected,
        )
        self.registry.register(Ages(self.collector))
        self.exposition = Exposition(self.registry, self.collector)
        self.registry.register(FleetCollector(status, settings.labels))
        self._perf: PerfCollector | None = None
        if settings.perf.enabled:
            self._perf = PerfCollector(settings.perf, self._processes)
            self.registry.register(self._perf)
        ProcessCollector(registry=self.registry)
        GCCollector(self.registry)
        self._endpoint: Endpoint | None = None
        self._threads: list[threading.Thread] = []

    @property
    def wanted(self) -> bool:
        """Whether anybody gets to see what would be collected."""
        return bool(self._settings.listen or self._settings.textfile)

    def start(self) -> None:
        """Start collecting and serving; what cannot be served is said and does no harm."""
        if self._settings.listen:
            try:
                self._endpoint = Endpoint(self._settings, self.exposition)
            except EndpointError as error:
                _log.error("metrics are not served", error=str(error))
            else:
                self._endpoint.start()
                _log.info(
                    "metrics are served", listen=self._settings.listen, port=self._endpoint.port
                )
        if not self.wanted:
            return
        collector, stop = self.collector, self._stop
        self._threads = [THREADS.start("metrics", self._collect, stop, beat=collector.beat)]
        if (perf := self._perf) is not None:
            may_take = self._settings.perf.window_seconds
            self._threads.append(
                THREADS.start(
                    "perf", lambda: perf.run(stop), stop, beat=perf.beat, may_take=may_take
                )
            )

    def stop(self) -> None:
        """Serve nobody any more, and let the threads end."""
        self._stop.set()
        if self._endpoint is not None:
            self._endpoint.stop()
        for thread in self._threads:
            # One that waits for a libvirt that hangs does not keep the daemon from ending.
            thread.join(_STOP_SECONDS)

    def heard(self, name: str, kind: str, *, managed: bool) -> None:
        """libvirt has sent an event; called on its thread."""
        self.observer.heard(name, kind, managed=managed)
        self.collector.heard(name)

    def _processes(self) -> dict[str, int]:
        """The QEMUs of the virtual servers in the last snapshot, by name.

        Raises:
            ReportError: some run, and none of them can be seen.
        """
        snapshot = self.collector.snapshot
        if snapshot is None:
            return {}
        found = find_emulators()
        readings = [each.reading for each in snapshot.servers]
        active = [each for each in readings if each.domain_id is not None]
        processes = {each.name: found[each.uuid] for each in active if each.uuid in found}
        if active and not processes:
            raise ReportError(
                Trouble.NOT_PERMITTED,
                "no process of QEMU can be seen: they run on another host, or the service hides "
                "those of other users (ProtectProc=; the drop-in kvm-exits.conf shows them)",
            )
        return processes

    def _collect(self) -> None:
        self.collector.run(self._stop, self._collected)

    def _collected(self) -> None:
        self.exposition.prepare()
        if not self._settings.textfile:
            return
        path = Path(self._settings.textfile)
        try:
            write_textfile(self.exposition.text(), path)
        except OSError as error:
            _log.error("metrics not written", file=str(path), error=str(error))
