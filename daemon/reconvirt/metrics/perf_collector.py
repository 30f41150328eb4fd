"""Recording KVM exits on a schedule, what they add up to, and what that costs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector as RegistryCollector

from reconvirt.hypervisor.supervision import Beat
from reconvirt.metrics.perf_record import Window, record_window
from reconvirt.metrics.perf_report import Exit, ReportError, Trouble
from reconvirt.metrics.settings import PerfSettings

_FIRST_SECONDS = 5.0

_log = structlog.get_logger(__name__)

Record = Callable[[PerfSettings, Mapping[str, int], Callable[[], bool]], Window]


class PerfCollector(RegistryCollector):
    """Records a window now and then, and adds up what it saw.

    Only what happens in a window is counted: a rate is the growth of a counter divided by the
    growth of ``reconvirt_perf_window_seconds_total``.

    Args:
        settings: how often, how long, and what it may cost.
        processes: gives the QEMUs of the running virtual servers, by name.
        record: records one window.
    """

    def __init__(
        self,
        settings: PerfSettings,
        processes: Callable[[], Mapping[str, int]],
        record: Record = record_window,
    ) -> None:
        self._settings = settings
        self._processes = processes
        self._record = record
        self.beat = Beat()
        self._lock = threading.Lock()
        self._counts: dict[str, dict[str, tuple[int, float]]] = {}
        self._last: dict[str, tuple[Exit, ...]] = {}
        self._seconds = self._cpu_seconds = 0.0
        self._windows = {"success": 0, "error": 0}
        self._lost = self._bytes = 0
        self._cost = 0.0
        self._stopped = False
        self._trouble: Trouble | None = None

    def run(self, stop: threading.Event) -> None:
        """Record until ``stop``, or until it has become too dear; the body of a thread."""
        self.beat.wait(stop, min(_FIRST_SECONDS, self._settings.every_seconds))
        while not stop.is_set() and not self._stopped:
            began = time.monotonic()
            self.look(stop.is_set)
            took = time.monotonic() - began
            self.beat.wait(stop, max(self._settings.every_seconds - took, 1.0))

    def look(self, stopping: Callable[[], bool]) -> None:
        """Record one window and add it up."""
        try:
            processes = self._processes()
            self._forget(processes)
            if not processes:
                return
            window = self._record(self._settings, processes, stopping)
        except (ReportError, OSError) as error:
            self._failed(error)
            return
        with self._lock:
            self._windows["success"] += 1
            self._trouble = None
            self._seconds += window.seconds
            self._cpu_seconds += window.cpu_seconds
            self._lost += window.lost
            self._bytes = window.bytes
            for name, report in window.reports.items():
                self._last[name] = report.exits
                counts = self._counts.setdefault(name, {})
                for each in report.exits:
                    count, seconds = counts.get(each.reason, (0, 0.0))
                    counts[each.reason] = (count + each.count, seconds + each.seconds)
            self._cost = window.cpu_seconds / self._settings.every_seconds
            self._stopped = self._cost > self._settings.most_cost
        if self._stopped:
            _log.error(
                "perf costs too much and is not run any more",
                cost=round(self._cost, 4),
                most=self._settings.most_cost,
            )

    def _failed(self, error: Exception) -> None:
        trouble = error.trouble if isinstance(error, ReportError) else Trouble.UNKNOWN
        with self._lock:
            self._windows["error"] += 1
            before, self._trouble = self._trouble, trouble
        if trouble is not before:
            _log.warning("exits not recorded", trouble=str(trouble), error=str(error))

    def _forget(self, processes: Mapping[str, int]) -> None:
        """Of a virtual server that has stopped nothing is left."""
        with self._lock:
            for name in [name for name in self._counts if name not in processes]:
                del self._counts[name]
                self._last.pop(name, None)

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry must not collect in order to know the names."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The families; called at every scrape."""
        with self._lock:
            yield from self._exits()
            yield from self._own()

    def _exits(self) -> Iterable[Metric]:
        prefix, labels = "reconvirt_virtual_server_exit", ["virtual_server", "reason"]
        counts = CounterMetricFamily(
            f"{prefix}s_recorded", "KVM exits in the windows that were recorded.", labels=labels
        )
        seconds = CounterMetricFamily(
            f"{prefix}_recorded_seconds", "Time in these exits.", labels=labels
        )
        for name, reasons in self._counts.items():
            for reason, (count, time_spent) in reasons.items():
                counts.add_metric([name, reason], count)
                seconds.add_metric([name, reason], time_spent)
        yield from (counts, seconds)
        for field, word in (("least", "Shortest"), ("most", "Longest"), ("mean", "Mean")):
            family = GaugeMetricFamily(
                f"{prefix}_{field}_seconds", f"{word} exit in the last window.", labels=labels
            )
            for name, exits in self._last.items():
                for each in exits:
                    if (value := getattr(each, field)) is not None:
                        family.add_metric([name, each.reason], value)
            yield family

    def _own(self) -> Iterable[Metric]:
        windows = CounterMetricFamily(
            "reconvirt_perf_windows", "Windows by how they ended.", labels=["result"]
        )
        for result, count in self._windows.items():
            windows.add_metric([result], count)
        trouble = GaugeMetricFamily(
            "reconvirt_perf_trouble", "1 for why perf gives nothing.", labels=["trouble"]
        )
        for each in Trouble:
            trouble.add_metric([each], each is self._trouble)
        yield from (windows, trouble)
        for name, text, value in (
            ("window_seconds", "Time that was recorded.", self._seconds),
            ("cpu_seconds", "CPU time that perf has used.", self._cpu_seconds),
            ("lost_events", "Pieces of recordings that were lost.", self._lost),
        ):
            yield CounterMetricFamily(f"reconvirt_perf_{name}", text, value)
        for name, text, value in (
            ("cost_ratio", "Share of one CPU that perf uses over all the time.", self._cost),
            ("recording_bytes", "Size of the last recording.", self._bytes),
            ("stopped", "Whether it costs too much and is not run any more.", self._stopped),
        ):
            yield GaugeMetricFamily(f"reconvirt_perf_{name}", text, value)
