"""Network interfaces (chapter 11): bridges, virtual switches, MacVTap, libvirt's networks."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconvirt.domain import values
from reconvirt.domain.effects import Way, at_next_start, with_device
from reconvirt.domain.kinds.common import ADDRESS_ROWS, ALIAS, PERSISTENT, boot_rows
from reconvirt.domain.places import Attribute
from reconvirt.domain.rows import DeviceKind, Field, Stated, always
from reconvirt.domain.values import Value
from reconvirt.manifest.identity import derive_mac, derive_uuid

if TYPE_CHECKING:
    from lxml.etree import _Element

_FIXED = at_next_start("libvirt cannot change it on an interface that is plugged in")
_UPDATED = with_device(
    Way.UPDATE,
    "libvirt changes it on the interface that is plugged in",
    "of an interface that changes its type nothing can be changed while it is plugged in",
)
_LIMIT = with_device(
    Way.RATE,
    "libvirt changes it on the interface that is plugged in",
    "of an interface that changes its type nothing can be changed while it is plugged in",
)


@dataclass(frozen=True, slots=True)
class _Connection(Attribute):
    """The type of an interface, as its definition states it.

    Of one that is plugged into a network of libvirt, the XML of what runs says instead what that
    network is made of: ``bridge`` or ``direct``. The network's name is there all the same.
    """

    def get(self, root: _Element) -> str | None:
        """The type that was stated."""
        source = root.find("source")
        if source is not None and source.get("network") is not None:
            return "network"
        return Attribute.get(self, root)


def _interface_id(name: str, stated: Stated) -> Value | None:
    # libvirt makes up another one at each define otherwise.
    if stated.get("virtualport.type") != "openvswitch":
        return None
    return str(uuid.uuid5(uuid.UUID(derive_uuid(name)), str(stated.get("mac.address"))))


def _rate(direction: str, name: str, about: str) -> Field:
    return Field(
        f"bandwidth.{direction}.{name}",
        values.integer(0, 2**31 - 1),
        _LIMIT,
        f"{direction}, {name}",
        about,
    )


_RATES = tuple(
    _rate(direction, name, about)
    for direction in ("inbound", "outbound")
    for name, about in (
        ("average", "Kilobytes a second, on average."),
        ("peak", "Kilobytes a second, at most."),
        ("burst", "Kilobytes that may come at once at peak speed."),
        ("floor", "Kilobytes a second that are guaranteed (inbound of a network)."),
    )
)

INTERFACE = DeviceKind(
    "interfaces",
    "interface",
    identity=("mac.address",),
    source=("source.bridge", "source.dev", "source.network"),
    foreign=True,
    title="Interfaces",
    description="Virtual Ethernet devices, told apart by their MAC address (chapter 11).",
    fields=(
        Field(
            "type",
            values.choice("bridge", "direct", "network", "user", "ethernet"),
            _FIXED,
            "Connection",
            "bridge: through a bridge or virtual switch of the host; direct: a MacVTap interface "
            "on a network device of the host; network: one of libvirt's networks; user: through "
            "QEMU, with no set-up on the host; ethernet: a tap device.",
            place=_Connection("", "type"),
            required=True,
        ),
        Field(
            "mac.address",
            values.MAC,
            _FIXED,
            "MAC address",
            "If the only interface does not state it, it is derived from the virtual server's "
            "name; with several each must state its own.",
            default=lambda name, _stated: derive_mac(name),
        ),
        Field(
            "source.bridge",
            values.device(),
            _UPDATED,
            "Bridge",
            "bridge: the bridge or virtual switch of the host.",
        ),
        Field(
            "source.dev",
            values.device(),
            _FIXED,
            "Host device",
            "direct: the network device of the host, such as enccw0.0.1108 or bond0.",
        ),
        Field(
            "source.mode",
            values.choice("bridge", "vepa", "private", "passthrough"),
            _FIXED,
            "MacVTap mode",
            "direct: bridge delivers packets for the same host at once; vepa leaves them to a "
            "bridge outside that can return them.",
        ),
        Field(
            "source.network",
            values.line(),
            _UPDATED,
            "Network",
            "network: the name of libvirt's network.",
        ),
        Field(
            "source.portgroup",
            values.line(),
            _UPDATED,
            "Port group",
            "network: a port group of the network.",
        ),
        Field(
            "trustGuestRxFilters",
            values.choice(*values.YES_NO),
            _FIXED,
            "Trust the guest's filters",
            "direct: the guest may change its MAC address and join multicast groups, and so "
            "receive frames that are not meant for it.",
        ),
        Field(
            "virtualport.type",
            values.choice("openvswitch", "802.1Qbg", "802.1Qbh", "midonet"),
            _FIXED,
            "Virtual port",
            "openvswitch: the bridge is an Open vSwitch (chapter 11).",
        ),
        Field(
            "virtualport.parameters.interfaceid",
            values.text(r"^[0-9a-f-]{36}$"),
            _FIXED,
            "Interface ID",
            "openvswitch: the port's uuid; derived from the virtual server's uuid and the MAC "
            "address if not stated.",
            default=_interface_id,
        ),
        Field(
            "virtualport.parameters.profileid",
            values.line(),
            _FIXED,
            "Port profile",
            "The port profile of the switch.",
        ),
        Field(
            "vlan.tag.id",
            values.integer(0, 4095),
            _UPDATED,
            "VLAN",
            "The tag of the VLAN that the interface is in, where the switch can do it.",
        ),
        Field(
            "model.type",
            values.text(r"^[a-z0-9-]+$", examples=["virtio"]),
            _FIXED,
            "Model",
            "The network card the guest sees.",
            place=Attribute("model", "type", displaces=("address",)),
            default=always("virtio"),
        ),
        Field(
            "driver.name",
            values.choice("vhost", "qemu"),
            _FIXED,
            "Driver",
            "vhost: the host's kernel moves the packets; qemu: QEMU does.",
        ),
        Field(
            "driver.queues",
            values.integer(1, 256),
            _FIXED,
            "Queues",
            "How many queues the guest can use at once.",
        ),
        Field(
            "target.dev",
            values.device(),
            _FIXED,
            "Tap device",
            "Its name on the host; libvirt makes one up (vnet0) if not stated.",
        ),
        Field(
            "link.state",
            values.choice("up", "down"),
            _UPDATED,
            "Link",
            "down: the guest sees an unplugged cable.",
        ),
        Field(
            "mtu.size",
            values.integer(68, 65535),
            _FIXED,
            "MTU",
            "The largest packet, in bytes.",
        ),
        Field(
            "port.isolated",
            values.choice(*values.YES_NO),
            _UPDATED,
            "Isolated",
            "yes: it reaches no other isolated port of its bridge.",
        ),
        Field(
            "filterref.filter",
            values.line(),
            _UPDATED,
            "Network filter",
            "The name of libvirt's filter for its traffic.",
        ),
        *_RATES,
        Field(
            "rom.bar",
            values.choice(*values.ON_OFF),
            _FIXED,
            "ROM",
            "pci: whether the guest sees the device's ROM.",
        ),
        Field("rom.file", values.path(), _FIXED, "ROM file", "pci: a ROM of your own."),
        *boot_rows(),
        ALIAS,
        *ADDRESS_ROWS,
        PERSISTENT,
    ),
)
