"""Controllers, and devices of the host that are passed through (chapters 11 and 24)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconvirt.domain import values
from reconvirt.domain.effects import at_next_start
from reconvirt.domain.kinds.common import ADDRESS_ROWS, ALIAS, PERSISTENT, boot_rows
from reconvirt.domain.places import Presence, SourceBus
from reconvirt.domain.rows import NOWHERE, Default, DeviceKind, Field, Stated, always, usual

if TYPE_CHECKING:
    from lxml.etree import _Element

_CONTROLLER = at_next_start("libvirt cannot change a controller that is plugged in")
_FIXED = at_next_start("libvirt cannot change it on a device that is passed through")

# libvirt adds these by itself for the devices that need them, and every one on a PCI machine.
_IMPLIED = frozenset({"pci", "ide", "fdc", "sata", "virtio-serial", "ccid"})


def _controller_hotplug(stated: Stated) -> str:
    if stated.get("type") != "scsi":
        return f"a controller of the type {stated.get('type')} cannot be hotplugged"
    return ""


def _is_implied(controller: _Element, _domain: _Element) -> bool:
    if controller.get("type") not in _IMPLIED:
        return False
    told = {child.tag for child in controller} - {"address", "alias", "target", "model"}
    return not told and not {"ports", "vectors"} & set(controller.attrib)


CONTROLLER = DeviceKind(
    "controllers",
    "controller",
    identity=("type", "index"),
    numbered=True,
    hotplug=_controller_hotplug,
    implied=_is_implied,
    title="Controllers",
    description="Controllers that other devices are attached to, told apart by type and index. "
    "libvirt adds those that are needed and not stated.",
    fields=(
        Field(
            "type",
            values.choice(
                "scsi", "virtio-serial", "usb", "pci", "sata", "ide", "fdc", "ccid", "isa"
            ),
            _CONTROLLER,
            "Type",
            "What is attached to it: scsi for SCSI disks, tapes and CD-ROM drives; virtio-serial "
            "for channels and virtio consoles.",
            required=True,
        ),
        Field(
            "index",
            values.integer(0, 65535),
            _CONTROLLER,
            "Index",
            "The number that addresses refer to.",
            default=always(0),
        ),
        Field(
            "model",
            values.text(r"^[A-Za-z0-9-]+$", examples=["virtio-scsi"]),
            _CONTROLLER,
            "Model",
            "scsi: virtio-scsi.",
        ),
        Field("ports", values.integer(0), _CONTROLLER, "Ports", "How many ports it has."),
        Field("vectors", values.integer(0), _CONTROLLER, "Vectors", "How many interrupt vectors."),
        Field(
            "driver.queues",
            values.integer(1),
            _CONTROLLER,
            "Queues",
            "scsi: how many queues the guest can use at once.",
        ),
        Field(
            "driver.iothread",
            values.integer(1, 1024),
            _CONTROLLER,
            "I/O thread",
            "scsi: the I/O thread that serves its devices.",
        ),
        Field("driver.max_sectors", values.integer(1), _CONTROLLER, "Most sectors", "A request."),
        Field("driver.cmd_per_lun", values.integer(1), _CONTROLLER, "Commands", "At once a LUN."),
        Field(
            "driver.ioeventfd",
            values.choice(*values.ON_OFF),
            _CONTROLLER,
            "I/O event",
            "A thread of its own notices the guest's I/O.",
        ),
        ALIAS,
        *ADDRESS_ROWS,
        PERSISTENT,
    ),
)

_HEX_OF_16 = r"^(0x)?[0-9a-fA-F]{16}$"


def _pci(name: str, title: str, most: int, digits: int) -> Field:
    return Field(
        f"source.address.{name}",
        values.hexadecimal(most, digits),
        _FIXED,
        title,
        "pci: of the host's device; 0 if not stated.",
        default=_zero("pci"),
    )


_USB = ("source.vendor.id", "source.product.id", "source.address.bus", "source.address.device")
_KEYS = {
    "scsi": (
        *("type", "source.adapter.name", "source.address.bus", "source.address.target"),
        "source.address.unit",
    ),
    "pci": (
        *("type", "source.address.domain", "source.address.bus", "source.address.slot"),
        "source.address.function",
    ),
    "mdev": ("type", "source.address.uuid"),
    "usb": ("type", *_USB),
}


def _host_device_key(stated: Stated) -> str:
    """What stands behind it; libvirt adds where it found a USB device to what was asked for."""
    names = _KEYS.get(str(stated.get("type")), ("type",))
    if "source.vendor.id" in stated:
        names = ("type", *_USB[:2])
    return "/".join(str(stated[name]) for name in names if name in stated)


def _zero(*types: str) -> Default:
    return lambda _name, stated: 0 if stated.get("type") in types else None


HOSTDEV = DeviceKind(
    "hostdevs",
    "hostdev",
    identity=tuple(dict.fromkeys(name for each in _KEYS.values() for name in each)),
    key=_host_device_key,
    numbered=True,
    source=("source.adapter.name", "source.address.target", "source.address.unit"),
    foreign=True,
    title="Host devices",
    description="Devices of the host that are passed through: SCSI tapes and medium changers "
    "(chapter 11), PCI, USB and mediated devices; told apart by their source.",
    fields=(
        Field(
            "mode",
            values.choice("subsystem"),
            _FIXED,
            "Mode",
            "The pass-through mode.",
            default=always("subsystem"),
        ),
        Field(
            "type",
            values.choice("scsi", "pci", "usb", "mdev"),
            _FIXED,
            "Type",
            "scsi: a SCSI tape, medium changer or disk; mdev: a mediated device, such as a "
            "DASD or crypto adapter by vfio.",
            required=True,
        ),
        Field(
            "model",
            values.choice("vfio-pci", "vfio-ccw", "vfio-ap"),
            _FIXED,
            "Model",
            "mdev: the kind of mediated device.",
        ),
        Field(
            "managed",
            values.choice(*values.YES_NO),
            _FIXED,
            "Managed",
            "pci, usb: whether libvirt takes the device from its driver on the host.",
            implied=usual("no"),
        ),
        Field(
            "rawio",
            values.choice(*values.YES_NO),
            _FIXED,
            "Raw I/O",
            "scsi: whether the device needs raw I/O; one that does gives it to all.",
        ),
        Field(
            "sgio",
            values.choice("filtered", "unfiltered"),
            _FIXED,
            "SCSI commands",
            "scsi: whether the kernel filters the guest's unprivileged SG_IO commands.",
        ),
        Field(
            "source.adapter.name",
            values.text(r"^scsi_host[0-9]+$", examples=["scsi_host0"]),
            _FIXED,
            "Adapter",
            "scsi: the FCP device, as lszfcp names it; it changes when the host is started.",
        ),
        Field(
            "source.device",
            values.text(r"^[0-9a-fA-F]\.[0-9a-fA-F]\.[0-9a-fA-F]{4}$", examples=["0.0.1900"]),
            _FIXED,
            "FCP device",
            "scsi: the device bus-ID of the FCP device. With wwpn and lun it names a SCSI device "
            "by what does not change; adapter and address are looked up at every attach.",
            place=NOWHERE,
        ),
        Field(
            "source.wwpn",
            values.text(_HEX_OF_16, examples=["0x500507630300c562"]),
            _FIXED,
            "Target port",
            "scsi: the worldwide port name of the storage.",
            place=NOWHERE,
        ),
        Field(
            "source.lun",
            values.text(_HEX_OF_16, examples=["0x401040a000000000"]),
            _FIXED,
            "FCP LUN",
            "scsi: the logical unit number of 16 digits.",
            place=NOWHERE,
        ),
        Field(
            "source.address.uuid",
            values.text(r"^[0-9a-f-]{36}$"),
            _FIXED,
            "Mediated device",
            "mdev: its uuid.",
        ),
        _pci("domain", "Domain", 0xFFFFFFFF, 4),
        Field(
            "source.address.bus",
            values.integer(0, 65535),
            _FIXED,
            "Bus",
            "scsi: always 0; pci, usb: the bus of the host's device.",
            place=SourceBus(),
            default=_zero("scsi", "pci"),
        ),
        _pci("slot", "Slot", 31, 2),
        _pci("function", "Function", 7, 1),
        Field(
            "source.address.target",
            values.integer(0, 65535),
            _FIXED,
            "SCSI ID",
            "scsi: the target of the host's device.",
        ),
        Field(
            "source.address.unit",
            values.integer(0, 2**64 - 1),
            _FIXED,
            "SCSI LUN",
            "scsi: the unit of the host's device, a decimal number.",
        ),
        Field(
            "source.address.device",
            values.integer(0, 255),
            _FIXED,
            "USB device",
            "usb: the device number on the bus.",
        ),
        Field(
            "source.vendor.id",
            values.text(r"^0x[0-9a-f]{4}$"),
            _FIXED,
            "USB vendor",
            "usb: the vendor's number.",
        ),
        Field(
            "source.product.id",
            values.text(r"^0x[0-9a-f]{4}$"),
            _FIXED,
            "USB product",
            "usb: the product's number.",
        ),
        Field(
            "rom.bar",
            values.choice(*values.ON_OFF),
            _FIXED,
            "ROM",
            "pci: whether the guest sees the device's ROM.",
        ),
        Field("rom.file", values.path(), _FIXED, "ROM file", "pci: a ROM of your own."),
        Field(
            "driver.name",
            values.choice("vfio", "kvm"),
            _FIXED,
            "Driver",
            "pci: how it is passed through.",
        ),
        Field(
            "readonly",
            values.YES_OR_NO,
            _FIXED,
            "Read-only",
            "The guest cannot write to it.",
            place=Presence("readonly"),
        ),
        Field(
            "shareable",
            values.YES_OR_NO,
            _FIXED,
            "Shareable",
            "Several virtual servers may use it at once.",
            place=Presence("shareable"),
        ),
        *boot_rows(),
        ALIAS,
        *ADDRESS_ROWS,
        PERSISTENT,
    ),
)
