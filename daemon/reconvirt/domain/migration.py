"""Migrating a virtual server (chapter 15): what is asked, ordered and told of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconvirt.domain.backing import Backing, backing_chains
from reconvirt.domain.desired import Desired
from reconvirt.domain.migration_policy import MigrationPolicy
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.xmltree import parse_xml
from reconvirt.manifest.host import LAST_PORT, HostManifest

if TYPE_CHECKING:
    from lxml.etree import _Element


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a virtual server cannot be migrated now, and what helps."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.remedy}"


def already_there(host: str, path: str) -> Finding:
    """Something stands where storage is to be copied to."""
    remedy = "it is never overwritten: move it away, if nobody needs it"
    return Finding(f"{host} has something at {path}", remedy)


def has_it_already(host: str, state: str = "") -> Finding:
    """The destination has a virtual server of this uuid, which no migration of ours has left."""
    found = f", {state}" if state else ""
    remedy = f"see which of the two is the right one, and undefine the other: nothing at {host} is"
    return Finding(f"{host} has it already{found}", f"{remedy} undefined or overwritten")


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
        backing: the files below those that are copied, which must be there already.
        devices: the block devices of its disks.
    """

    name: str
    uuid: str
    emulator: str
    arch: str
    machine: str
    kind: str
    cpu: str = ""
    files: tuple[str, ...] = ()
    backing: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CopiedImage:
    """An image that is made at the destination for a copy.

    Attributes:
        path: where it stands, on both hosts.
        kind: its format.
        backing: the image below it; None where all is copied.
    """

    path: str
    kind: str
    backing: Backing | None = None


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
        images: how large a guest sees the image files there that were asked for, in bytes; those
            that are missing there are missing here.
        own_images: the same of this host.
        devices: what is the matter with block devices there, by path.
        port_problem: why memory cannot be sent there; "" if it can, or that cannot be told.
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
    images: Mapping[str, int] = field(default_factory=dict)
    own_images: Mapping[str, int] = field(default_factory=dict)
    devices: Mapping[str, str] = field(default_factory=dict)
    port_problem: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """One migration, as the hypervisor room carries it out.

    Attributes:
        uri: libvirt's URI of the destination.
        migrate_uri: where memory is sent to; "" for what libvirt chooses.
        offline: whether only the definition moves.
        copied: the disks whose storage is copied, by target.dev.
        policy: how.
        port_max: the last one at which libvirt has memory and storage arrive there.
    """

    uri: str
    migrate_uri: str
    offline: bool
    copied: tuple[str, ...] = ()
    policy: MigrationPolicy = field(default_factory=MigrationPolicy)
    port_max: int = LAST_PORT


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


def ask_about(observed: Observed, order: Order) -> Question:
    """What must be asked of a destination for this virtual server."""
    root = parse_xml(observed.live or observed.config)
    kind = root.find("os/type")
    cpu = root.find("cpu")
    compared = cpu is not None and cpu.find("model") is not None
    chains = backing_chains(root, order.copied if order.policy.copy == "inc" else ()).values()
    return Question(
        observed.name,
        observed.uuid,
        root.findtext("devices/emulator", ""),
        kind.get("arch", "") if kind is not None else "",
        kind.get("machine", "") if kind is not None else "",
        root.get("type", ""),
        _print(cpu) if compared and cpu is not None else "",
        tuple(path for _, path in image_files(root)),
        tuple(dict.fromkeys(each.path for chain in chains for each in chain if each.path)),
        tuple(path for _, path in block_devices(root)),
    )


def make_order(desired: Desired, observed: Observed, host: HostManifest) -> Order:
    """How this virtual server is to be moved to a host."""
    offline = observed.live is None
    root = parse_xml(observed.live or observed.config)
    disks = {each.get("dev") for each in root.iterfind("devices/disk/target")}
    copied = () if offline else tuple(sorted(desired.policy.copied & disks))
    uris = (host.uri, host.migrate_uri)
    return Order(*uris, offline, copied, desired.policy.migration, host.port_max)


def memory_of(observed: Observed) -> int:
    """The most memory of a virtual server, in bytes."""
    return memory_in(parse_xml(observed.live or observed.config))


def copied_images(observed: Observed, order: Order) -> Mapping[str, CopiedImage]:
    """The image of each disk that is copied, by target.dev."""
    root = parse_xml(observed.live or observed.config)
    paths = dict(image_files(root))
    formats = {
        target_of(disk): driver.get("type", "raw")
        for disk in root.iterfind("devices/disk")
        if (driver := disk.find("driver")) is not None
    }
    chains = backing_chains(root, order.copied if order.policy.copy == "inc" else ())
    return {
        name: CopiedImage(paths[name], formats[name], next(iter(chains.get(name, ())), None))
        for name in order.copied
        if name in paths
    }


def image_files(root: _Element) -> Iterator[tuple[str, str]]:
    """Target and path of each disk that is an image file."""
    for disk in root.iterfind("devices/disk"):
        source = disk.find("source")
        if source is not None and source.get("file"):
            yield target_of(disk), source.get("file", "")


def block_devices(root: _Element) -> Iterator[tuple[str, str]]:
    """Target and path of each disk that is a block device."""
    for disk in root.iterfind("devices/disk"):
        source = disk.find("source")
        if source is not None and source.get("dev"):
            yield target_of(disk), source.get("dev", "")


def target_of(disk: _Element) -> str:
    """What the guest sees a disk as."""
    target = disk.find("target")
    return "" if target is None else target.get("dev", "")


def memory_in(root: _Element) -> int:
    """The most memory of a domain's XML, in bytes."""
    # libvirt writes it in KiB, whatever it was given.
    return int(root.findtext("memory", "0")) << 10


def same_definition(one: str, other: str) -> bool:
    """Whether two configurations say the same, apart from the order of their elements.

    Only what a migration has taken over unchanged is the same; where it is not sure, it is not.
    """
    return bool(one) and bool(other) and _canonical(parse_xml(one)) == _canonical(parse_xml(other))


def _canonical(element: _Element) -> tuple[object, ...]:
    children = sorted((_canonical(each) for each in element if isinstance(each.tag, str)), key=repr)
    text = (element.text or "").strip()
    return (element.tag, tuple(sorted(element.attrib.items())), text, tuple(children))


def _print(element: _Element) -> str:
    from lxml import etree  # noqa: PLC0415 - the type alone is needed elsewhere

    return etree.tostring(element, encoding="unicode")
