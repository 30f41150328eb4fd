"""What the statistics lack of a virtual server, read from its XML: names, sources, limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconvirt.domain.xmltree import parse_xml
from reconvirt.hypervisor.stats import Description

if TYPE_CHECKING:
    from lxml.etree import _Element

_SOURCES = ("file", "dev", "dir", "volume", "name")


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk or drive, as ``virsh domblklist --details`` shows it.

    Attributes:
        source: the file, device or volume; "" for an empty drive.
        type: ``file``, ``block``, ``network``, ``volume`` …
        bus: what the guest has it on.
        format: of the image.
        device: ``disk``, ``cdrom``, ``lun``.
        cache: QEMU's cache mode; "" for its default.
        serial: what the guest sees as the serial number; "" for none.
        limits: of I/O, by libvirt's name, such as ``read_bytes_sec``.
    """

    source: str
    type: str
    bus: str
    format: str
    device: str = ""
    cache: str = ""
    serial: str = ""
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface, as ``virsh domiflist`` shows it.

    Attributes:
        mac: its address, in lower case.
        type: ``bridge``, ``direct``, ``network`` …
        source: what it is connected to: a bridge, an interface of the host, a network.
        bridge: the bridge, also of an interface on a network; "" for none.
        model: what the guest has.
    """

    mac: str
    type: str
    source: str
    bridge: str
    model: str


@dataclass(frozen=True, slots=True)
class Facts:
    """One virtual server, but for its numbers.

    Attributes:
        type: ``kvm`` or ``qemu``.
        arch: the guest's processor architecture.
        machine: the machine type.
        title: its title; "" for none.
        persistent: whether it is defined.
        autostart: whether it starts with the host.
        managed_save: whether it has a saved state.
        vcpus: the numbers of vCPUs by limit (``current``, ``maximum``) and scope (``config``,
            ``live``).
        disks: by target device.
        interfaces: by target device, which libvirt gives at the start.
        scheduler: the parameters of the CPU scheduler by scope and libvirt's name.
    """

    type: str
    arch: str
    machine: str
    title: str
    persistent: bool
    autostart: bool
    managed_save: bool
    vcpus: Mapping[tuple[str, str], int] = field(default_factory=dict)
    disks: Mapping[str, Disk] = field(default_factory=dict)
    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    scheduler: Mapping[tuple[str, str], int] = field(default_factory=dict)


def read_facts(description: Description) -> Facts:
    """The facts in what libvirt says of one virtual server."""
    config = parse_xml(description.config) if description.config else None
    live = parse_xml(description.live) if description.live else None
    root = live if live is not None else config
    if root is None:
        return Facts("", "", "", "", persistent=False, autostart=False, managed_save=False)
    vcpus = {
        (limit, scope): count
        for scope, tree in (("config", config), ("live", live))
        if tree is not None
        for limit, count in _vcpus(tree).items()
    }
    scheduler = {("live", name): value for name, value in description.scheduler.items()}
    for name, value in description.scheduler_config.items():
        scheduler["config", name] = value
    system = root.find("os/type")
    return Facts(
        root.get("type", ""),
        system.get("arch", "") if system is not None else "",
        system.get("machine", "") if system is not None else "",
        root.findtext("title") or "",
        persistent=description.persistent,
        autostart=description.autostart,
        managed_save=description.managed_save,
        vcpus=vcpus,
        disks=dict(_disks(root)),
        interfaces=dict(_interfaces(root)),
        scheduler=scheduler,
    )


def _vcpus(root: _Element) -> dict[str, int]:
    element = root.find("vcpu")
    if element is None:
        return {}
    maximum = int(element.text or 1)
    return {"maximum": maximum, "current": int(element.get("current", maximum))}


def _attribute(parent: _Element, path: str, name: str) -> str:
    element = parent.find(path)
    return element.get(name, "") if element is not None else ""


def _disks(root: _Element) -> list[tuple[str, Disk]]:
    found = []
    for disk in root.findall("devices/disk"):
        source = disk.find("source")
        named = [source.get(each, "") for each in _SOURCES] if source is not None else []
        value = Disk(
            next(filter(None, named), ""),
            disk.get("type", ""),
            _attribute(disk, "target", "bus"),
            _attribute(disk, "driver", "type"),
            disk.get("device", "disk"),
            _attribute(disk, "driver", "cache"),
            disk.findtext("serial") or "",
            {each.tag: int(each.text or 0) for each in disk.iterfind("iotune/*") if _whole(each)},
        )
        found.append((_attribute(disk, "target", "dev"), value))
    return found


def _whole(element: _Element) -> bool:
    return (element.text or "").isdigit()


def _interfaces(root: _Element) -> list[tuple[str, Interface]]:
    found = []
    for interface in root.findall("devices/interface"):
        bridge = _attribute(interface, "source", "bridge")
        named = [_attribute(interface, "source", each) for each in ("network", "bridge", "dev")]
        value = Interface(
            _attribute(interface, "mac", "address").lower(),
            interface.get("type", ""),
            next(filter(None, named), ""),
            bridge,
            _attribute(interface, "model", "type"),
        )
        found.append((_attribute(interface, "target", "dev"), value))
    return found
