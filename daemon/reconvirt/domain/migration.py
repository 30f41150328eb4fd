"""Migrating a virtual server (chapter 15): what is asked, ordered and told of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconvirt.domain.desired import Desired
from reconvirt.domain.migration_policy import MigrationPolicy
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.xmltree import parse_xml
from reconvirt.manifest.host import HostManifest

if TYPE_CHECKING:
    from lxml.etree import _Element


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a virtual server cannot be migrated now, and what helps."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.remedy}"


@dataclass(frozen=True, slots=True)
class Question:
    """What must be asked of a destination for one virtual server.

    Attributes:
        name: libvirt's name of it.
        uuid: its uuid.
        emulator: the path of its emulator.
        arch: its architecture.
        machine: its machine type, as libvirt has written it out.
        kind: of virtualization, ``kvm`` or ``qemu``.
        cpu: its ``<cpu>`` where that names a model; "" where there is nothing to compare.
        files: the image files of its disks.
    """

    name: str
    uuid: str
    emulator: str
    arch: str
    machine: str
    kind: str
    cpu: str = ""
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Destination:
    """What a destination says about one virtual server.

    Attributes:
        there: the state of the virtual server of this uuid; None where it has none.
        stranger: the uuid of another virtual server of this name; "" where there is none.
        machine_problem: why it cannot run its machine type; "" if it can.
        cpu_problem: why it cannot run its CPU model; "" if it can, or it does not say.
        most_vcpus: how many virtual CPUs its machine type may have there; 0 for unknown.
        free_memory: in bytes; 0 for unknown.
        interfaces: its network interfaces and bridges.
        networks: libvirt's networks that are active there.
        arriving: how many virtual servers are arriving there now.
    """

    there: State | None = None
    stranger: str = ""
    machine_problem: str = ""
    cpu_problem: str = ""
    most_vcpus: int = 0
    free_memory: int = 0
    interfaces: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    arriving: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """One migration, as the hypervisor room carries it out.

    Attributes:
        uri: libvirt's URI of the destination.
        migrate_uri: where memory is sent to; "" for what libvirt chooses.
        offline: whether only the definition moves.
        copied: the disks whose storage is copied, by target.dev.
        policy: how.
    """

    uri: str
    migrate_uri: str
    offline: bool
    copied: tuple[str, ...] = ()
    policy: MigrationPolicy = field(default_factory=MigrationPolicy)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a migration is, as libvirt's job statistics have it (``virsh domjobinfo``).

    Attributes:
        phase: what is being done.
        elapsed: seconds since its beginning.
        processed: bytes that were sent.
        remaining: bytes that are still to be sent.
        total: bytes altogether.
        dirty_rate: bytes a second that the guest changes; 0 where it is not known.
        speed: bytes a second that are sent.
        downtime: milliseconds that the guest stands still at the end, as QEMU expects it; that it
            stood still, once the migration is completed.
        iteration: how often its memory has been gone through.
        started: when it began, in seconds since the epoch.
    """

    phase: str
    elapsed: float = 0.0
    processed: int = 0
    remaining: int = 0
    total: int = 0
    dirty_rate: int = 0
    speed: int = 0
    downtime: int = 0
    iteration: int = 0
    started: float = 0.0

    @property
    def expected_end(self) -> float | None:
        """Seconds until all is sent at this speed; None where that cannot be told."""
        gain = self.speed - self.dirty_rate
        return self.remaining / gain if gain > 0 and self.speed else None


def ask_about(observed: Observed) -> Question:
    """What must be asked of a destination for this virtual server."""
    root = parse_xml(observed.live or observed.config)
    kind = root.find("os/type")
    cpu = root.find("cpu")
    compared = cpu is not None and cpu.find("model") is not None
    return Question(
        observed.name,
        observed.uuid,
        root.findtext("devices/emulator", ""),
        kind.get("arch", "") if kind is not None else "",
        kind.get("machine", "") if kind is not None else "",
        root.get("type", ""),
        _print(cpu) if compared and cpu is not None else "",
        tuple(path for _, path in image_files(root)),
    )


def make_order(desired: Desired, observed: Observed, host: HostManifest) -> Order:
    """How this virtual server is to be moved to a host."""
    offline = observed.live is None
    root = parse_xml(observed.live or observed.config)
    disks = {each.get("dev") for each in root.iterfind("devices/disk/target")}
    copied = () if offline else tuple(sorted(desired.policy.copied & disks))
    return Order(host.uri, host.migrate_uri, offline, copied, desired.policy.migration)


def memory_of(observed: Observed) -> int:
    """The most memory of a virtual server, in bytes."""
    return memory_in(parse_xml(observed.live or observed.config))


def image_sizes(observed: Observed, order: Order) -> Mapping[str, tuple[str, str]]:
    """Path and format of each disk that is copied, by target.dev."""
    root = parse_xml(observed.live or observed.config)
    paths = dict(image_files(root))
    formats = {
        target_of(disk): driver.get("type", "raw")
        for disk in root.iterfind("devices/disk")
        if (driver := disk.find("driver")) is not None
    }
    return {name: (paths[name], formats[name]) for name in order.copied if name in paths}


def image_files(root: _Element) -> Iterator[tuple[str, str]]:
    """Target and path of each disk that is an image file."""
    for disk in root.iterfind("devices/disk"):
        source = disk.find("source")
        if source is not None and source.get("file"):
            yield target_of(disk), source.get("file", "")


def target_of(disk: _Element) -> str:
    """What the guest sees a disk as."""
    target = disk.find("target")
    return "" if target is None else target.get("dev", "")


def memory_in(root: _Element) -> int:
    """The most memory of a domain's XML, in bytes."""
    # libvirt writes it in KiB, whatever it was given.
    return int(root.findtext("memory", "0")) << 10


def _print(element: _Element) -> str:
    from lxml import etree  # noqa: PLC0415 - the type alone is needed elsewhere

    return etree.tostring(element, encoding="unicode")
