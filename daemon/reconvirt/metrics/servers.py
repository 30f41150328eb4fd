"""From what libvirt said of a virtual server to its series."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconvirt.domain.observed import State
from reconvirt.hypervisor.stats import Reading
from reconvirt.metrics import other_rows as other
from reconvirt.metrics.facts import Disk, Facts, Interface
from reconvirt.metrics.rows import Row
from reconvirt.metrics.table import (
    BLOCK_ROWS,
    INTERFACE_ROWS,
    IOTHREAD_ROWS,
    JOB_ROWS,
    SERVER_ROWS,
    VCPU_ROWS,
)

_VCPU_STATES = {0: "offline", 1: "running", 2: "blocked"}
_OPERATIONS = (
    "unknown",
    "start",
    "save",
    "restore",
    "incoming migration",
    "outgoing migration",
    "snapshot",
    "snapshot revert",
    "dump",
    "backup",
    "snapshot delete",
)
_VCPU_KEYS = frozenset({"state", *(row.key for row in VCPU_ROWS)})
_UNKNOWN_DISK = Disk("", "", "", "")
_UNKNOWN_INTERFACE = Interface("", "", "", "", "")


@dataclass(frozen=True, slots=True)
class Server:
    """One virtual server in a snapshot.

    Attributes:
        reading: its numbers; those that only QEMU knows may be older than the others.
        asked_at: when QEMU was last asked for them, by the clock of the snapshot; None for never.
        facts: what the numbers lack; None if it could not be read yet.
        job: the numbers of the job that is going on; {} for none.
    """

    reading: Reading
    asked_at: float | None
    facts: Facts | None = None
    job: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All virtual servers at one moment.

    Attributes:
        taken_at: when, by a clock that never goes back.
        servers: in libvirt's order.
    """

    taken_at: float
    servers: tuple[Server, ...] = ()


Add = Callable[[Row, dict[str, str], float], None]
"""Takes a series: its row, its labels and its value."""


def add_server(add: Add, server: Server, host: str) -> None:
    """All series of one virtual server, but for its age, which grows by itself.

    Args:
        add: takes them.
        server: what was collected.
        host: the name of the host.
    """
    reading = server.reading
    own = {"virtual_server": reading.name}
    running = reading.domain_id is not None
    add(other.STATE, {**own, "state": reading.state, "reason": reading.reason}, 1)
    add(other.RUNNING, own, reading.state in {State.RUNNING, State.BLOCKED})
    values = reading.values
    for row in SERVER_ROWS:
        value = values.get(row.key)
        if value is not None and (running or not row.running):
            labels = {**own, row.labels[0]: row.sort} if row.labels else own
            add(row, labels, value * row.scale)
    _add_vcpu_counts(add, own, server)
    if server.facts is not None:
        _add_facts(add, own, server, host)
    if running:
        _add_devices(add, own, server)
        _add_vcpus_and_kvm(add, own, values)
    if server.job:
        _add_job(add, own, server.job)


def _add_vcpu_counts(add: Add, own: dict[str, str], server: Server) -> None:
    values, running = server.reading.values, server.reading.domain_id is not None
    counts = dict(server.facts.vcpus) if server.facts else {}
    # The statistics are newer; for one that does not run they tell of its next start.
    for limit in ("current", "maximum"):
        if (count := values.get(f"vcpu.{limit}")) is not None:
            counts[limit, "live" if running else "config"] = count
    for (limit, scope), count in counts.items():
        if running or scope == "config":
            add(other.VCPUS, {**own, "limit": limit, "scope": scope}, count)


def _add_facts(add: Add, own: dict[str, str], server: Server, host: str) -> None:
    facts, reading = server.facts, server.reading
    if facts is None:
        return
    told = {
        "uuid": reading.uuid,
        "id": "" if reading.domain_id is None else str(reading.domain_id),
        "host": host,
        "type": facts.type,
        "arch": facts.arch,
        "machine": facts.machine,
        "title": facts.title,
    }
    add(other.INFO, {**own, **told}, 1)
    add(other.PERSISTENT, own, facts.persistent)
    add(other.AUTOSTART, own, facts.autostart)
    add(other.MANAGED_SAVE, own, facts.managed_save)
    for (scope, name), value in facts.scheduler.items():
        if name == "cpu_shares":
            add(other.SHARES, {**own, "scope": scope}, value)
            continue
        of, _, what = name.rpartition("_")
        row = {"period": other.PERIOD, "quota": other.QUOTA}.get(what)
        if row is not None:
            add(row, {**own, "of": of, "scope": scope}, value * 1e-6)
    for device, disk in facts.disks.items():
        told = {"type": disk.type, "kind": disk.device, "bus": disk.bus, "format": disk.format}
        told |= {"cache": disk.cache, "serial": disk.serial}
        add(other.BLOCK_INFO, {**own, "device": device, "source": disk.source, **told}, 1)
        for limit, value in disk.limits.items():
            add(other.BLOCK_LIMIT, {**own, "device": device, "limit": limit}, value)
    for device, each in facts.interfaces.items():
        kind = {"type": each.type, "source": each.source, "bridge": each.bridge}
        named = {"interface": device, "mac": each.mac, **kind, "model": each.model}
        add(other.INTERFACE_INFO, {**own, **named}, 1)


def _add_devices(add: Add, own: dict[str, str], server: Server) -> None:
    values, facts = server.reading.values, server.facts
    for number in range(values.get("block.count", 0)):
        device = values.get(f"block.{number}.name", "")
        disk = facts.disks.get(device, _UNKNOWN_DISK) if facts else _UNKNOWN_DISK
        source = values.get(f"block.{number}.path") or disk.source
        labels = {**own, "device": device, "source": source}
        _add_rows(add, BLOCK_ROWS, labels, values, f"block.{number}.")
    for number in range(values.get("net.count", 0)):
        name = values.get(f"net.{number}.name", "")
        each = facts.interfaces.get(name, _UNKNOWN_INTERFACE) if facts else _UNKNOWN_INTERFACE
        labels = {**own, "interface": name, "mac": each.mac, "source": each.source}
        _add_rows(add, INTERFACE_ROWS, labels, values, f"net.{number}.")


def _add_rows(
    add: Add,
    rows: Iterable[Row],
    labels: dict[str, str],
    values: Mapping[str, Any],
    prefix: str,
) -> None:
    for row in rows:
        value = values.get(prefix + row.key)
        if value is not None:
            add(row, labels, value * row.scale)


def _add_vcpus_and_kvm(add: Add, own: dict[str, str], values: Mapping[str, Any]) -> None:
    numbers: dict[str, set[str]] = {"vcpu": set(), "iothread": set()}
    for key, value in values.items():
        # vCPUs and I/O threads need not be numbered without gaps.
        group, _, rest = key.partition(".")
        if group == "vcpu":
            number, _, name = rest.partition(".")
            if not name:
                continue
            numbers[group].add(number)
            if name not in _VCPU_KEYS:
                _add_kvm(add, {**own, "vcpu": number}, name, value)
        elif group == "iothread" and "." in rest:
            numbers[group].add(rest.partition(".")[0])
        elif group == "vm":
            _add_kvm(add, own, rest, value)
        elif group == "perf":
            add(other.PERF_EVENTS, {**own, "event": rest}, value)
    for number in sorted(numbers["vcpu"], key=_by_number):
        labels = {**own, "vcpu": number}
        state = _VCPU_STATES.get(values.get(f"vcpu.{number}.state", 0), "unknown")
        add(other.VCPU_STATE, {**labels, "state": state}, 1)
        _add_rows(add, VCPU_ROWS, labels, values, f"vcpu.{number}.")
    for number in sorted(numbers["iothread"], key=_by_number):
        prefix = f"iothread.{number}."
        _add_rows(add, IOTHREAD_ROWS, {**own, "iothread": number}, values, prefix)


def _by_number(text: str) -> tuple[int, str]:
    return (int(text) if text.isdigit() else -1, text)


def _add_kvm(add: Add, labels: dict[str, str], name: str, value: Any) -> None:
    """One of KVM's own numbers, such as ``exits.sum`` or ``halt_wait_ns.sum``."""
    if isinstance(value, str):
        return
    event, _, which = name.rpartition(".")
    of_vcpu = "vcpu" in labels
    if which == "sum":
        if of_vcpu and event == "exits":
            add(other.KVM_EXITS, labels, value)
        if of_vcpu and event.endswith("_ns"):
            event = event.removesuffix("_ns")
            add(other.KVM_VCPU_SECONDS, {**labels, "event": event}, value * 1e-9)
            return
        row = other.KVM_VCPU_EVENTS if of_vcpu else other.KVM_EVENTS
        add(row, {**labels, "event": event}, value)
    elif event:
        row = other.KVM_VCPU_VALUE if of_vcpu else other.KVM_VALUE
        add(row, {**labels, "event": event, "which": which}, value)


def _add_job(add: Add, own: dict[str, str], job: Mapping[str, Any]) -> None:
    number = job.get("operation", 0)
    operation = _OPERATIONS[number] if 0 <= number < len(_OPERATIONS) else "unknown"
    add(other.JOB_INFO, {**own, "operation": operation}, 1)
    _add_rows(add, JOB_ROWS, own, job, "")
