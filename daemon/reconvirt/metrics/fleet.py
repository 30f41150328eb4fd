"""Metrics of what the controller knows of its virtual servers, asked for at every scrape."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector as RegistryCollector

CONDITIONS = (
    *("Ready", "Reconciling", "Stalled", "RestartRequired", "Drifted", "Held", "Paused"),
    *("Migrating", "HeldByOtherHost", "Diverged", "Overlay"),
)
VALIDITIES = ("valid", "invalid", "retained")
MIGRATION_PHASES = ("waiting", "running", "succeeded", "failed")


@dataclass(frozen=True, slots=True)
class Managed:
    """One virtual server that a manifest states.

    Attributes:
        name: its name.
        digest: of its manifest.
        file: where the manifest stands.
        labels: its manifest's labels.
        phase: how far it is, in the controller's words.
        conditions: whether each is true.
        drift: how many things are not as its manifest wants.
        restart_fields: what waits for its next start.
        held: why nothing is done about it; "" where it is not held.
        diverged: how many of its disks were moved to another source by something else.
    """

    name: str
    digest: str = ""
    file: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    phase: str = ""
    conditions: Mapping[str, bool] = field(default_factory=dict)
    drift: int = 0
    restart_fields: tuple[str, ...] = ()
    held: str = ""
    diverged: int = 0


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration that goes on, or the last one of a virtual server.

    Attributes:
        name: the virtual server.
        direction: ``out`` or ``in``.
        phase: one of :data:`MIGRATION_PHASES`.
        seconds: how long it has taken.
        downtime_seconds: how long the guest stood still; None while that is not known.
        data_bytes: what was moved.
        remaining_bytes: what is to be moved yet.
        expected_end_seconds: when all will have been moved at this speed, from now on; None where
            that cannot be told.
    """

    name: str
    direction: str
    phase: str
    seconds: float = 0.0
    downtime_seconds: float | None = None
    data_bytes: int = 0
    remaining_bytes: int = 0
    expected_end_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """What the controller knows at one moment.

    Attributes:
        servers: those that manifests state.
        manifests: how many there are, by validity.
        revision: SHA-256 over all manifests; "" before they were read.
        applied_revision: that of the last time all were as wanted; "" for never.
        prune_held: how many are not given up although their manifests are gone.
        connected: whether there is a connection to libvirt.
        migrations: those that are going on or have just ended.
        migrations_ended: how many have ended, by how.
        state_unreadable: how many files of the state directory cannot be read.
    """

    servers: tuple[Managed, ...] = ()
    manifests: Mapping[str, int] = field(default_factory=dict)
    revision: str = ""
    applied_revision: str = ""
    prune_held: int = 0
    connected: bool = False
    migrations: tuple[Migration, ...] = ()
    migrations_ended: Mapping[str, int] = field(default_factory=dict)
    state_unreadable: int = 0


class FleetCollector(RegistryCollector):
    """Renders the controller's status; what it does not tell any more is gone at once.

    Args:
        status: gives it; must not wait for anything.
        labels: the labels of manifests that are exported.
    """

    def __init__(self, status: Callable[[], FleetStatus], labels: Iterable[str] = ()) -> None:
        self._status = status
        self._labels = tuple(labels)

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry must not collect in order to know the names."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The families; called at every scrape."""
        status = self._status()
        yield from self._servers(status)
        yield from _manifests(status)
        connected = GaugeMetricFamily(
            "reconvirt_libvirt_connected", "Whether there is a connection to libvirt."
        )
        connected.add_metric([], status.connected)
        yield connected
        yield from _migrations(status.migrations)
        ended = CounterMetricFamily(
            "reconvirt_migrations", "Migrations away from here that have ended.", labels=["result"]
        )
        for result, count in status.migrations_ended.items():
            ended.add_metric([result], count)
        yield ended

    def _servers(self, status: FleetStatus) -> Iterable[Metric]:
        prefix = "reconvirt_virtual_server_"
        name = "virtual_server"
        conditions = GaugeMetricFamily(
            f"{prefix}condition", "Conditions: 1 true, 0 false.", labels=[name, "type"]
        )
        drift = GaugeMetricFamily(
            f"{prefix}drift", "How many things are not as the manifest wants.", labels=[name]
        )
        diverged = GaugeMetricFamily(
            f"{prefix}diverged_disks",
            "Disks that were moved to another source than its manifest states, and are left there.",
            labels=[name],
        )
        restart = GaugeMetricFamily(
            f"{prefix}restart_required", "Fields that wait for a start.", labels=[name, "field"]
        )
        held = GaugeMetricFamily(
            f"{prefix}held", "Whether nothing is done about it, and why.", labels=[name, "reason"]
        )
        manifest = InfoMetricFamily(f"{prefix}manifest", "Its manifest and how far it is.")
        own = InfoMetricFamily(f"{prefix}labels", "Labels of its manifest that are allowed here.")
        for each in status.servers:
            for kind in CONDITIONS:
                conditions.add_metric([each.name, kind], each.conditions.get(kind, False))
            drift.add_metric([each.name], each.drift)
            diverged.add_metric([each.name], each.diverged)
            for path in each.restart_fields:
                restart.add_metric([each.name, path], 1)
            if each.held:
                held.add_metric([each.name, each.held], 1)
            told = {"digest": each.digest, "file": each.file, "phase": each.phase}
            manifest.add_metric([], {name: each.name, **told})
            allowed = {_label(key): each.labels.get(key, "") for key in self._labels}
            if allowed:
                own.add_metric([], {name: each.name, **allowed})
        yield from (conditions, drift, diverged, restart, held, manifest, own)


def _label(key: str) -> str:
    """A manifest's label as a label of a metric, which has fewer characters to choose from."""
    return "label_" + re.sub(r"[^A-Za-z0-9_]", "_", key)


def _manifests(status: FleetStatus) -> Iterable[Metric]:
    manifests = GaugeMetricFamily("reconvirt_manifests", "Manifests.", labels=["validity"])
    for validity in VALIDITIES:
        manifests.add_metric([validity], status.manifests.get(validity, 0))
    yield manifests
    revision = InfoMetricFamily("reconvirt_manifests_revision", "The manifests that are in force.")
    revision.add_metric([], {"revision": status.revision, "applied": status.applied_revision})
    yield revision
    held = GaugeMetricFamily(
        "reconvirt_prune_held",
        "Virtual servers that are not given up although their manifests are gone.",
    )
    held.add_metric([], status.prune_held)
    yield held
    unreadable = GaugeMetricFamily(
        "reconvirt_state_unreadable",
        "Files of the state directory that cannot be read; what they say is taken carefully.",
    )
    unreadable.add_metric([], status.state_unreadable)
    yield unreadable


def _migrations(migrations: Iterable[Migration]) -> Iterable[Metric]:
    labels = ["virtual_server", "direction"]
    phases = GaugeMetricFamily(
        "reconvirt_migration_phase", "1 for the phase of a migration.", labels=[*labels, "phase"]
    )
    values = {
        name: GaugeMetricFamily(f"reconvirt_migration_{name}", text, labels=labels)
        for name, text in (
            ("seconds", "How long a migration has taken so far, or took."),
            (
                "downtime_seconds",
                "How long the guest stood still; known once it has moved.",
            ),
            ("data_bytes", "Data moved."),
            ("remaining_bytes", "Data to be moved yet."),
            ("expected_end_seconds", "How long it still takes at this speed."),
        )
    }
    for each in migrations:
        own = [each.name, each.direction]
        for phase in MIGRATION_PHASES:
            phases.add_metric([*own, phase], phase == each.phase)
        for name, family in values.items():
            value = getattr(each, name)
            if value is not None:
                family.add_metric(own, value)
    yield phases
    yield from values.values()
