"""What a virtual server needs of its host in order to be defined, started or changed.

A pure function of its domain XML and its manifest. Only things whose presence can be checked in no
time are listed: files and devices by their paths, network devices by their names, libvirt's
networks and storage pools.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from reconvirt.domain.desired import Desired
from reconvirt.domain.kinds.disks import DISK
from reconvirt.domain.xmltree import parse_xml

if TYPE_CHECKING:
    from lxml.etree import _Element


class NeedKind(StrEnum):
    """The kinds of things that a virtual server needs, as people read them."""

    FILE = "file"
    """Also a block device, a directory, a socket, or a device in sysfs."""
    NETWORK_DEVICE = "network device"
    """A bridge, or the parent of a macvtap device."""
    NETWORK = "active network"
    """Of libvirt."""
    POOL = "active storage pool"
    """Of libvirt."""


@dataclass(frozen=True, slots=True, order=True)
class Need:
    """One thing that a virtual server needs.

    Attributes:
        kind: what it is.
        name: its absolute path, or its name.
    """

    kind: NeedKind
    name: str

    def __str__(self) -> str:
        """As people read it: ``file /images/web1.qcow2``."""
        return f"{self.kind} {self.name}"


# Elements below <devices> or <os> and what of them is a path that must be there.
_PATHS = (
    ("os", ("kernel", "initrd", "dtb", "loader", "acpi/table", "nvram/@template")),
    ("devices", ("emulator",)),
    ("devices/filesystem", ("source/@dir", "source/@file", "source/@dev", "source/@socket")),
    ("devices/input", ("source/@evdev", "source/@dev")),
    ("devices/memory", ("source/path",)),
    ("devices/rng", ("backend[@model='random']",)),
    ("devices/tpm", ("backend[@type='passthrough']/device/@path",)),
    ("devices/shmem", ("server/@path",)),
    ("devices/interface[@type='vhostuser']", ("source[@mode='client']/@path",)),
    ("devices/interface[@type='vdpa']", ("source/@dev",)),
)
_CHARACTER_DEVICES = ("serial", "parallel", "console", "channel")
_MAY_BE_MISSING = ("optional", "requisite")
_WITHOUT_DEVICE = "virtualport[@type='openvswitch']"


def needs_of(xml: str) -> frozenset[Need]:
    """What a domain needs of its host to be started.

    Args:
        xml: its domain XML, as it is stored or as it is going to be.
    """
    root = parse_xml(xml)
    found = {*_paths(root), *_disks(root), *_interfaces(root), *_host_devices(root)}
    # libvirt takes relative names for something else than paths: they are not ours to check.
    return frozenset(
        each for each in found if each.kind is not NeedKind.FILE or each.name.startswith("/")
    )


def needs_of_images(desired: Desired) -> frozenset[Need]:
    """What the images need that a manifest has made: their directories and backing files."""
    found = set()
    for stated in desired.statement.devices.get(DISK.name, {}).values():
        if not any(name.startswith("create.") for name in stated):
            continue
        if (image := stated.get("source.file")) is not None:
            found.add(Need(NeedKind.FILE, str(PurePosixPath(str(image)).parent)))
        if (backing := stated.get("create.backing.file")) is not None:
            found.add(Need(NeedKind.FILE, str(backing)))
    return frozenset(found)


def _file(path: str | None) -> Iterator[Need]:
    if path is not None and path.strip():
        yield Need(NeedKind.FILE, path.strip())


def _paths(root: _Element) -> Iterator[Need]:
    for where, paths in _PATHS:
        for element in root.iterfind(where):
            for path in paths:
                yield from _values(element, path)
    for tag in _CHARACTER_DEVICES:
        for device in root.iterfind(f"devices/{tag}"):
            source = device.find("source")
            connects = source is not None and source.get("mode") == "connect"
            if source is not None and (device.get("type") == "dev" or connects):
                yield from _file(source.get("path"))


def _values(element: _Element, path: str) -> Iterator[Need]:
    path, _, attribute = path.partition("/@")
    for found in element.iterfind(path):
        yield from _file(found.get(attribute) if attribute else found.text)


def _disks(root: _Element) -> Iterator[Need]:
    for disk in root.iterfind("devices/disk"):
        # The images behind an overlay stand in <backingStore>, as far as they are stated.
        for source in disk.iterfind(".//source"):
            if source.get("startupPolicy") in _MAY_BE_MISSING or _is_mirror(source, disk):
                continue
            for attribute in ("file", "dev", "dir", "path"):
                yield from _file(source.get(attribute))
            if (pool := source.get("pool")) is not None:
                yield Need(NeedKind.POOL, pool)


def _is_mirror(source: _Element, disk: _Element) -> bool:
    return any(source in mirror.iter("source") for mirror in disk.iterfind("mirror"))


def _interfaces(root: _Element) -> Iterator[Need]:
    for interface in root.iterfind("devices/interface"):
        source, kind = interface.find("source"), interface.get("type")
        if source is None:
            continue
        # A bridge of Open vSwitch in user space is no network device.
        named = {"bridge": source.get("bridge"), "direct": source.get("dev")}.get(str(kind))
        if named is not None and interface.find(_WITHOUT_DEVICE) is None:
            yield Need(NeedKind.NETWORK_DEVICE, named)
        if kind == "network" and (network := source.get("network")) is not None:
            yield Need(NeedKind.NETWORK, network)


def _host_devices(root: _Element) -> Iterator[Need]:
    for device in root.iterfind("devices/hostdev[@mode='subsystem']"):
        source = device.find("source")
        address = source.find("address") if source is not None else None
        if source is None or address is None:
            continue
        match device.get("type"):
            case "pci":
                parts = ("domain", "bus", "slot", "function")
                domain, bus, slot, function = (_number(address.get(part, "0")) for part in parts)
                name = f"{domain:04x}:{bus:02x}:{slot:02x}.{function}"
                yield Need(NeedKind.FILE, f"/sys/bus/pci/devices/{name}")
            case "mdev":
                yield from _file(f"/sys/bus/mdev/devices/{address.get('uuid')}")
            case "scsi" if (adapter := source.find("adapter")) is not None:
                host = str(adapter.get("name")).removeprefix("scsi_host")
                place = ":".join(address.get(part, "0") for part in ("bus", "target", "unit"))
                yield Need(NeedKind.FILE, f"/sys/bus/scsi/devices/{host}:{place}")


def _number(text: str) -> int:
    """A number as libvirt reads it, which takes 012 for an octal one; 0 for what is none."""
    base = 16 if text.lower().startswith("0x") else 8 if text.startswith("0") else 10
    try:
        return int(text, base)
    except ValueError:
        return 0
