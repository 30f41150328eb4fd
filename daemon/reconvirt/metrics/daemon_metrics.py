"""The daemon's own metrics.

Its queue and its reconciles under client-go's and controller-runtime's names, and how long
libvirt's events and changed manifests take.
"""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector as RegistryCollector

from reconvirt import __version__
from reconvirt.hypervisor.in_flight import IN_FLIGHT, STUCK_SECONDS
from reconvirt.hypervisor.supervision import THREADS
from reconvirt.metrics.observer import Observer, Result

CONTROLLER = "virtual_server"
_THREADS = (  # whose counters begin at 0
    "api",
    "call",
    "endpoint",
    "etcd-lease",
    "glances",
    "hosts",
    "libvirt-events",
    "libvirt-link",
    "main",
    "metrics",
    "migration",
    "perf",
    "pruner",
    "source",
    "worker",
    "workers",
)
PRIORITIES = ("change", "resync")

_QUEUE_BUCKETS = tuple(10.0**power for power in range(-6, 4))
_RECONCILE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_CONVERGENCE_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
_LONG = 60.0


class DaemonMetrics(Observer, RegistryCollector):
    """Counts what it is told; what is a state now is worked out at a scrape.

    Args:
        registry: where the metrics are registered.
        workers: how many reconciles there are at a time at most.
        event_kinds: the kinds of libvirt's events, whose counters begin at 0.
        clock: seconds that never go back.
        wall_clock: seconds since 1970.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        workers: int,
        event_kinds: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock, self._wall_clock = clock, wall_clock
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, tuple[float, str]] = {}
        self._working: dict[Hashable, float] = {}
        self._events: dict[str, float] = {}
        self._written: dict[str, float] = {}
        self._make_queue(registry)
        self._make_reconcile(registry, workers)
        self._make_others(registry, event_kinds)
        registry.register(self)

    def _make_queue(self, registry: CollectorRegistry) -> None:
        names = ["name", "controller"]
        both = {"name": CONTROLLER, "controller": CONTROLLER}
        self._adds = Counter(
            "reconvirt_workqueue_adds", "Keys put into the queue.", names, registry=registry
        ).labels(**both)
        self._retries = Counter(
            "reconvirt_workqueue_retries", "Keys tried again.", names, registry=registry
        ).labels(**both)
        self._queue_time = Histogram(
            "reconvirt_workqueue_queue_duration_seconds",
            "How long keys waited for a worker.",
            names,
            registry=registry,
            buckets=_QUEUE_BUCKETS,
        ).labels(**both)
        self._work_time = Histogram(
            "reconvirt_workqueue_work_duration_seconds",
            "How long workers kept keys.",
            names,
            registry=registry,
            buckets=_QUEUE_BUCKETS,
        ).labels(**both)

    def _make_reconcile(self, registry: CollectorRegistry, workers: int) -> None:
        def counter(name: str, text: str) -> Counter:
            made = Counter(f"reconvirt_{name}", text, ["controller"], registry=registry)
            return made.labels(CONTROLLER)

        results = Counter(
            "reconvirt_reconcile",
            "Reconciles by how they ended.",
            ["controller", "result"],
            registry=registry,
        )
        self._results = {each: results.labels(CONTROLLER, each) for each in get_args(Result)}
        self._errors = counter("reconcile_errors", "Reconciles that failed.")
        self._terminal = counter(
            "terminal_reconcile_errors",
            "Reconciles that failed and are not tried again before something changes.",
        )
        self._panics = counter("reconcile_panics", "Reconciles that ended in an unforeseen error.")
        self._timeouts = counter(
            "reconcile_timeouts", f"Reconciles that took more than {_LONG:.0f} s."
        )
        self._reconcile_time = Histogram(
            "reconvirt_reconcile_time_seconds",
            "How long reconciles took.",
            ["controller"],
            registry=registry,
            buckets=_RECONCILE_BUCKETS,
        ).labels(CONTROLLER)
        Gauge(
            "reconvirt_max_concurrent_reconciles",
            "How many reconciles there are at a time at most.",
            ["controller"],
            registry=registry,
        ).labels(CONTROLLER).set(workers)

    def _make_others(self, registry: CollectorRegistry, event_kinds: Iterable[str]) -> None:
        self._convergence = Histogram(
            "reconvirt_convergence_seconds",
            "How long after its manifest was written a virtual server was as wanted.",
            registry=registry,
            buckets=_CONVERGENCE_BUCKETS,
        )
        self._heard = Counter(
            "reconvirt_libvirt_events", "Events of libvirt.", ["kind"], registry=registry
        )
        for kind in event_kinds:
            self._heard.labels(kind)
        self._event_lag = Histogram(
            "reconvirt_libvirt_event_lag_seconds",
            "How long after an event of libvirt its virtual server was looked at.",
            registry=registry,
            buckets=_QUEUE_BUCKETS,
        )
        collections = Counter(
            "reconvirt_libvirt_stats_collections",
            "Collections of statistics by how they ended.",
            ["result"],
            registry=registry,
        )
        self._collections = {
            each: collections.labels(each) for each in ("success", "error", "timeout")
        }
        self._collection_time = Histogram(
            "reconvirt_libvirt_stats_collection_seconds",
            "How long collections of statistics took.",
            registry=registry,
            buckets=_RECONCILE_BUCKETS,
        )
        build = {"version": __version__, "python_version": platform.python_version()}
        Info("reconvirt_build", "The program.", registry=registry).info(build)

    # The observer

    def queued(self, key: Hashable, priority: str) -> None:
        """Count an add; one that only raises the priority is none."""
        with self._lock:
            known = self._waiting.get(key)
            self._waiting[key] = (known[0] if known else self._clock(), priority)
        if known is None:
            self._adds.inc()

    def taken(self, key: Hashable) -> None:
        """Measure how long it waited."""
        now = self._clock()
        with self._lock:
            known = self._waiting.pop(key, None)
            self._working[key] = now
            event = self._events.pop(str(key), None)
        if known is not None:
            self._queue_time.observe(now - known[0])
        if event is not None:
            self._event_lag.observe(now - event)

    def finished(self, key: Hashable) -> None:
        """Measure how long it was worked on."""
        with self._lock:
            began = self._working.pop(key, None)
        if began is None:
            return
        took = self._clock() - began
        self._work_time.observe(took)
        self._reconcile_time.observe(took)
        if took > _LONG:
            self._timeouts.inc()

    def retried(self, key: Hashable) -> None:
        """Count a retry."""
        del key
        self._retries.inc()

    def reconciled(
        self, name: str, result: Result, *, converged: bool = False, terminal: bool = False
    ) -> None:
        """Count how it ended; with the first success after a change its latency is known."""
        self._results[result].inc()
        if result == "error":
            self._errors.inc()
        if terminal:
            self._terminal.inc()
        if converged and (written := self._written.pop(name, None)) is not None:
            self._convergence.observe(max(self._wall_clock() - written, 0.0))

    def panicked(self, name: str) -> None:
        """Count an unforeseen error."""
        del name
        self._results["error"].inc()
        self._errors.inc()
        self._panics.inc()

    def heard(self, name: str, kind: str, *, managed: bool) -> None:
        """Count an event, and remember the first that has not been looked into yet."""
        self._heard.labels(kind).inc()
        if not managed:
            return
        with self._lock:
            self._events.setdefault(name, self._clock())

    def wanted(self, name: str, written_at: float) -> None:
        """Remember when the manifest was written."""
        self._written[name] = written_at

    def unmanaged(self, name: str) -> None:
        """Forget what was awaited of a virtual server that is not managed any more."""
        self._written.pop(name, None)
        with self._lock:
            self._events.pop(name, None)

    def collected(self, result: str, seconds: float) -> None:
        """Count a collection of statistics."""
        self._collections[result].inc()
        self._collection_time.observe(seconds)

    # What is a state now

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry must not collect in order to know the names."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The gauges that change by themselves; called at every scrape."""
        with self._lock:
            waiting = [priority for _, priority in self._waiting.values()]
            began = list(self._working.values())
        now = self._clock()
        both = [CONTROLLER, CONTROLLER]
        depth = GaugeMetricFamily(
            "reconvirt_workqueue_depth",
            "Keys that wait for a worker.",
            labels=["name", "controller", "priority"],
        )
        for priority in PRIORITIES:
            depth.add_metric([*both, priority], waiting.count(priority))
        yield depth
        for name, text, value in (
            (
                "unfinished_work_seconds",
                "How long the work in hand has been going on, all together; large: stuck workers.",
                sum(now - each for each in began),
            ),
            (
                "longest_running_processor_seconds",
                "How long the oldest work in hand has been going on.",
                now - min(began, default=now),
            ),
        ):
            family = GaugeMetricFamily(
                f"reconvirt_workqueue_{name}", text, labels=["name", "controller"]
            )
            family.add_metric(both, value)
            yield family
        failures = CounterMetricFamily(
            "reconvirt_thread_failures",
            "Unexpected errors that ended a thread of the daemon, which was started again.",
            labels=["thread"],
        )
        for kind, count in sorted({**dict.fromkeys(_THREADS, 0), **THREADS.failures}.items()):
            failures.add_metric([kind], count)
        yield failures
        yield GaugeMetricFamily(
            "reconvirt_libvirt_stuck_calls",
            f"Calls to libvirt that have not come back for more than {STUCK_SECONDS:.0f} s.",
            len(IN_FLIGHT.older_than()),
        )
        active = GaugeMetricFamily(
            "reconvirt_active_workers", "Workers that are at work.", labels=["controller"]
        )
        active.add_metric([CONTROLLER], len(began))
        yield active
