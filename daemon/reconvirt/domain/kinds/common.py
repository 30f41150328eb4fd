"""Rows that several kinds of devices share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from reconvirt.domain import values
from reconvirt.domain.effects import at_next_start
from reconvirt.domain.places import AddressNumber, Attribute
from reconvirt.domain.rows import NOWHERE, Field, Stated, always
from reconvirt.domain.values import Kind

if TYPE_CHECKING:
    from lxml.etree import _Element

BOOTED_WITH = at_next_start("it is read when the virtual server boots")
ADDRESS = at_next_start("a device keeps its address while it is plugged in")

_ADDRESS_TYPES = ("ccw", "pci", "drive", "virtio-serial", "usb", "spapr-vio", "virtio-mmio", "isa")

# The book writes a SCSI device's address as type="scsi"; libvirt knows it as "drive" only.
_ADDRESS_TYPE = replace(
    values.choice("scsi", *_ADDRESS_TYPES),
    parse=lambda spelling: {"scsi": "drive"}.get(spelling, str(spelling)),
    read=lambda spelling: {"scsi": "drive"}.get(spelling, spelling),
)


def no_hotplug(why: str) -> Callable[[Stated], str]:
    """No device of a kind can be plugged into a running virtual server, and why."""
    return lambda _stated: why


def _number(name: str, kind: Kind, title: str, about: str) -> Field:
    return Field(f"address.{name}", kind, ADDRESS, title, about, place=AddressNumber(name))


def _hexadecimal(most: int, digits: int) -> Kind:
    # Written as decimal: the place knows which addresses want hexadecimal.
    return replace(values.hexadecimal(most, digits), write=str)


ADDRESS_ROWS: tuple[Field, ...] = (
    Field(
        "address.type",
        _ADDRESS_TYPE,
        ADDRESS,
        "Address type",
        "ccw: a channel device of s390x; pci; drive (or scsi, as the book says): behind a "
        "controller; as the guest sees it. libvirt picks a free address if not stated, and keeps "
        "it.",
        # An address of another type has other numbers, and on s390x a PCI address has zPCI ones.
        place=Attribute("address", "type", alone=True),
    ),
    _number(
        "cssid",
        _hexadecimal(0xFE, 2),
        "Channel subsystem",
        "ccw: the channel subsystem-ID, 0xfe for virtual devices.",
    ),
    _number("ssid", _hexadecimal(3, 1), "Subchannel set", "ccw: the subchannel set-ID."),
    _number("devno", _hexadecimal(0xFFFF, 4), "Device number", "ccw: the device number."),
    _number("domain", _hexadecimal(0xFFFFFFFF, 4), "PCI domain", "pci: the domain."),
    _number(
        "controller",
        values.integer(0, 65535),
        "Controller",
        "drive, virtio-serial: the index of the controller.",
    ),
    _number("bus", values.integer(0, 65535), "Bus", "The bus of the controller, or the PCI bus."),
    _number("target", values.integer(0, 65535), "Target", "drive: the SCSI target."),
    _number("unit", values.integer(0, 65535), "Unit", "drive: the unit number (LUN)."),
    _number("slot", _hexadecimal(31, 2), "PCI slot", "pci: the slot."),
    _number("function", _hexadecimal(7, 1), "PCI function", "pci: the function."),
    Field(
        "address.multifunction",
        values.choice(*values.ON_OFF),
        ADDRESS,
        "Multifunction",
        "pci: whether other functions of the slot are used.",
    ),
    Field("address.port", values.text(r"^[0-9.]+$"), ADDRESS, "Port", "usb, virtio-serial: port."),
    Field("address.reg", values.text(r"^0x[0-9a-f]+$"), ADDRESS, "Register", "spapr-vio: register"),
)

ALIAS = Field(
    "alias.name",
    values.text(r"^ua-[A-Za-z0-9_.-]+$", examples=["ua-data"]),
    ADDRESS,
    "Alias",
    "A name of your own by which libvirt's messages call it; it begins with ua-.",
)

PERSISTENT = Field(
    "persistent",
    values.YES_OR_NO,
    ADDRESS,
    "Persistent",
    "false: a hotplug device, plugged into the running virtual server only and not part of its "
    "configuration (chapter 11).",
    place=NOWHERE,
    default=always(True),
)


def boot_rows() -> tuple[Field, ...]:
    """The rows of a device that can be booted from."""
    return (
        Field(
            "boot.order",
            values.integer(1),
            BOOTED_WITH,
            "Boot order",
            "Its place among the devices to boot from (IPL device), 1 first.",
        ),
        Field(
            "boot.loadparm",
            values.text(r"^[a-zA-Z0-9.]{1,8}$"),
            BOOTED_WITH,
            "Load parameter",
            "s390x: which entry of the boot menu is booted.",
        ),
    )


def implied_address(element: _Element) -> bool:
    """Whether an address need not be stated when a device is written down.

    libvirt has chosen it, and keeps it as long as the virtual server is defined. Only channel
    addresses are always worth stating: the guest names its interfaces by them.
    """
    address = element.find("address")
    return address is not None and address.get("type") != "ccw"


def is_persistent(stated: Stated) -> bool:
    """Whether a device is part of the configuration."""
    return bool(stated.get(PERSISTENT.name, True))
