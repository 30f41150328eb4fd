"""The daemon's own metrics: client-go's meaning, and every label value from the start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from reconvirt.controller.workqueue import Priority, WorkQueue
from reconvirt.metrics.daemon_metrics import DaemonMetrics
from reconvirt.metrics.fleet import CONDITIONS, FleetCollector, FleetStatus, Managed, Migration


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry, clock: Clock) -> DaemonMetrics:
    return DaemonMetrics(
        registry, workers=4, event_kinds=["lifecycle"], clock=clock, wall_clock=clock
    )


def value(registry: CollectorRegistry, name: str, **labels: str) -> Any:
    """The value of a series, whose labels of the controller are implied."""
    full = f"reconvirt_{name}"
    for implied in ({}, {"controller": "virtual_server"}):
        for also in ({}, {"name": "virtual_server"}):
            found = registry.get_sample_value(full, {**labels, **implied, **also})
            if found is not None:
                return found
    return None


def test_everything_is_there_from_the_first_scrape(
    registry: CollectorRegistry, metrics: DaemonMetrics
) -> None:
    """A counter that appears with its first event has no rate for it."""
    assert metrics
    for result in ("success", "error", "requeue", "requeue_after"):
        assert 0 == value(registry, "reconcile_total", result=result)
    for name in (
        "workqueue_adds_total",
        "workqueue_retries_total",
        "workqueue_queue_duration_seconds_count",
        "workqueue_work_duration_seconds_count",
        "workqueue_unfinished_work_seconds",
        "workqueue_longest_running_processor_seconds",
        "reconcile_errors_total",
        "terminal_reconcile_errors_total",
        "reconcile_panics_total",
        "reconcile_timeouts_total",
        "reconcile_time_seconds_count",
        "active_workers",
        "convergence_seconds_count",
        "libvirt_event_lag_seconds_count",
    ):
        assert 0 == value(registry, name), name
    for priority in ("change", "resync"):
        assert 0 == value(registry, "workqueue_depth", priority=priority)
    for result in ("success", "error", "timeout"):
        assert 0 == value(registry, "libvirt_stats_collections_total", result=result)
    assert 0 == value(registry, "libvirt_events_total", kind="lifecycle")
    assert 4 == value(registry, "max_concurrent_reconciles")
    assert "reconvirt_build_info{" in generate_latest(registry).decode()


def test_a_real_queue_is_followed(
    registry: CollectorRegistry, metrics: DaemonMetrics, clock: Clock
) -> None:
    queue: WorkQueue[str] = WorkQueue(clock=clock, observer=metrics)
    queue.add("a", Priority.RESYNC)
    queue.add("b", Priority.RESYNC)
    queue.add("a", Priority.CHANGE)
    assert 1 == value(registry, "workqueue_depth", priority="change")
    assert 1 == value(registry, "workqueue_depth", priority="resync")
    assert 2 == value(registry, "workqueue_adds_total"), "a raised priority is no add"

    clock.now += 3
    assert "a" == queue.get()
    assert 3 == value(registry, "workqueue_queue_duration_seconds_sum")
    assert 1 == value(registry, "active_workers")
    clock.now += 2
    assert "b" == queue.get()
    clock.now += 5
    assert 12 == value(registry, "workqueue_unfinished_work_seconds")
    assert 7 == value(registry, "workqueue_longest_running_processor_seconds")

    queue.add("a", Priority.CHANGE)
    assert 0 == value(registry, "workqueue_depth", priority="change"), "it waits for the work"
    queue.done("a")
    assert 1 == value(registry, "workqueue_depth", priority="change")
    queue.done("b")
    assert 12 == value(registry, "workqueue_work_duration_seconds_sum")
    assert 12 == value(registry, "reconcile_time_seconds_sum")
    assert 0 == value(registry, "reconcile_timeouts_total")
    queue.add_rate_limited("b")
    assert 1 == value(registry, "workqueue_retries_total")

    assert "a" == queue.get()
    clock.now += 61
    queue.done("a")
    assert 1 == value(registry, "reconcile_timeouts_total")


def test_how_reconciles_end(registry: CollectorRegistry, metrics: DaemonMetrics) -> None:
    metrics.reconciled("a", "success", converged=True)
    metrics.reconciled("a", "requeue_after")
    metrics.reconciled("a", "error", terminal=True)
    metrics.panicked("a")
    assert 1 == value(registry, "reconcile_total", result="success")
    assert 1 == value(registry, "reconcile_total", result="requeue_after")
    assert 2 == value(registry, "reconcile_total", result="error")
    assert 2 == value(registry, "reconcile_errors_total")
    assert 1 == value(registry, "terminal_reconcile_errors_total")
    assert 1 == value(registry, "reconcile_panics_total")


def test_latencies(registry: CollectorRegistry, metrics: DaemonMetrics, clock: Clock) -> None:
    metrics.wanted("a", 990.0)
    metrics.reconciled("a", "success", converged=False)
    clock.now += 2
    metrics.reconciled("a", "success", converged=True)
    metrics.reconciled("a", "success", converged=True)
    assert (1, 12) == (
        value(registry, "convergence_seconds_count"),
        value(registry, "convergence_seconds_sum"),
    )
    metrics.heard("other", "lifecycle", managed=False)
    metrics.heard("a", "lifecycle", managed=True)
    clock.now += 1
    metrics.heard("a", "lifecycle", managed=True)
    clock.now += 1
    metrics.taken("other")
    metrics.taken("a")
    metrics.wanted("gone", 1.0)
    metrics.unmanaged("gone")
    metrics.reconciled("gone", "success", converged=True)
    assert 1 == value(registry, "convergence_seconds_count")
    assert 3 == value(registry, "libvirt_events_total", kind="lifecycle")
    assert (1, 2) == (
        value(registry, "libvirt_event_lag_seconds_count"),
        value(registry, "libvirt_event_lag_seconds_sum"),
    )
    metrics.collected("timeout", 5.0)
    assert 1 == value(registry, "libvirt_stats_collections_total", result="timeout")


def test_the_fleet(registry: CollectorRegistry) -> None:
    status = FleetStatus(
        (
            Managed(
                "web1",
                "abc",
                "web1.yaml:1:1",
                {"env": "prod", "team/owner": "x"},
                "waiting for a restart",
                {"RestartRequired": True},
                2,
                ("vcpu.maximum", "memory"),
            ),
            Managed("db1", held="paused", diverged=2),
        ),
        {"valid": 2, "invalid": 1},
        "rev2",
        "rev1",
        connected=True,
        migrations=(
            Migration("web1", "out", "running", 5.0, None, 100, 50, 12.5),
            Migration("db1", "out", "failed"),
        ),
        migrations_ended={"moved": 3, "stayed": 1},
        state_unreadable=1,
    )
    registry.register(FleetCollector(lambda: status, ["env", "team/owner"]))

    def server(name: str, **labels: str) -> Any:
        wanted = {"virtual_server": "web1", **labels}
        return registry.get_sample_value(f"reconvirt_virtual_server_{name}", wanted)

    states = {each: server("condition", type=each) for each in CONDITIONS}
    assert {**dict.fromkeys(CONDITIONS, 0), "RestartRequired": 1} == states
    assert 2 == server("drift")
    assert 1 == server("restart_required", field="vcpu.maximum")
    assert 1 == server("labels_info", label_env="prod", label_team_owner="x")
    assert 1 == registry.get_sample_value(
        "reconvirt_virtual_server_held", {"virtual_server": "db1", "reason": "paused"}
    )
    assert [0, 2] == [
        registry.get_sample_value(
            "reconvirt_virtual_server_diverged_disks", {"virtual_server": each}
        )
        for each in ("web1", "db1")
    ]
    assert [2, 1, 0] == [
        registry.get_sample_value("reconvirt_manifests", {"validity": each})
        for each in ("valid", "invalid", "retained")
    ]
    assert 1 == registry.get_sample_value(
        "reconvirt_manifests_revision_info", {"revision": "rev2", "applied": "rev1"}
    )
    assert 1 == registry.get_sample_value("reconvirt_state_unreadable")
    out = {"virtual_server": "web1", "direction": "out"}
    assert [3, 1] == [
        registry.get_sample_value("reconvirt_migrations_total", {"result": each})
        for each in ("moved", "stayed")
    ]
    assert [12.5, None] == [
        registry.get_sample_value(
            "reconvirt_migration_expected_end_seconds", {**out, "virtual_server": each}
        )
        for each in ("web1", "db1")
    ]
    phase = "reconvirt_migration_phase"
    assert 1 == registry.get_sample_value(phase, {**out, "phase": "running"})
    assert 0 == registry.get_sample_value(phase, {**out, "phase": "failed"})
    assert 100 == registry.get_sample_value("reconvirt_migration_data_bytes", out)
    assert None is registry.get_sample_value("reconvirt_migration_downtime_seconds", out)


def test_it_can_be_parsed(registry: CollectorRegistry, metrics: DaemonMetrics) -> None:
    assert metrics
    registry.register(FleetCollector(FleetStatus))
    text = generate_latest(registry).decode()
    assert all(each.documentation for each in text_string_to_metric_families(text))
    assert "_created" not in text
