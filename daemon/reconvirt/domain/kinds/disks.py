"""Disks, and the CD-ROM and floppy drives that libvirt counts among them (chapters 11 and 26)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconvirt.domain import values
from reconvirt.domain.effects import Way, at_next_start, with_device
from reconvirt.domain.kinds.common import (
    ADDRESS_ROWS,
    ALIAS,
    PERSISTENT,
    boot_rows,
    implied_address,
)
from reconvirt.domain.kinds.images import IMAGE_ROWS
from reconvirt.domain.kinds.throttling import THROTTLING_ROWS
from reconvirt.domain.places import Attribute, Presence, Text
from reconvirt.domain.rows import DeviceKind, Field, Stated, always
from reconvirt.domain.values import Kind, Value

if TYPE_CHECKING:
    from lxml.etree import _Element

_FIXED = at_next_start("libvirt cannot change it on a disk that is plugged in")
_MEDIUM = with_device(
    Way.MEDIUM,
    "in a CD-ROM or floppy drive the medium is inserted, ejected or replaced; else at next start: "
    "another source is another disk",
    "libvirt can change the source of CD-ROM and floppy drives only",
)
_BUSES = {"vd": "virtio", "sd": "scsi", "hd": "ide", "fd": "fdc", "xv": "xen", "ub": "usb"}
_HOTPLUG_BUSES = ("virtio", "scsi", "usb")
DRIVES = ("cdrom", "floppy")


def _bus_by_name(_name: str, stated: Stated) -> Value | None:
    return _BUSES.get(str(stated.get("target.dev", ""))[:2], "virtio")


def _readonly_if_cdrom(_name: str, stated: Stated) -> Value | None:
    # libvirt makes every CD-ROM drive read-only.
    return True if stated.get("device") == "cdrom" else None


def _hotplug(stated: Stated) -> str:
    bus = stated.get("target.bus")
    if bus not in _HOTPLUG_BUSES:
        return f"a disk on the bus {bus} cannot be hotplugged"
    return ""


def _number(name: str, title: str, about: str, kind: Kind | None = None) -> Field:
    return Field(name, kind or values.integer(0), _FIXED, title, about)


def _switch(name: str, title: str, about: str) -> Field:
    return Field(name, values.choice(*values.ON_OFF), _FIXED, title, about)


_WIDE_SCSI = 15
_INITIATOR = 7


def _implied_address(element: _Element) -> bool:
    """Whether libvirt would derive the address from the target device's name, or choose it."""
    address, target = element.find("address"), element.find("target")
    if address is None or target is None or address.get("type") != "drive":
        return implied_address(element)
    number = _number_of(target.get("dev", ""))
    unit = number % _WIDE_SCSI
    derived = {
        "scsi": (number // _WIDE_SCSI, 0, unit + (unit >= _INITIATOR)),
        "sata": (number // 6, 0, number % 6),
        "ide": (number // 4, number % 4 // 2, number % 2),
        "fdc": (number // 2, 0, number % 2),
    }.get(target.get("bus", ""))
    found = tuple(int(address.get(name, "0")) for name in ("controller", "bus", "unit"))
    return found == derived and address.get("target", "0") == "0"


def _number_of(dev: str) -> int:
    """0 for sda, 26 for sdaa."""
    number = 0
    for letter in dev.removeprefix("xv")[2 if not dev.startswith("xvd") else 1 :]:
        number = number * 26 + ord(letter) - ord("a") + 1
    return number - 1


DISK = DeviceKind(
    "disks",
    "disk",
    identity=("target.dev",),
    source=("source.file", "source.dev"),
    hotplug=_hotplug,
    implied_address=_implied_address,
    foreign=True,
    title="Disks",
    description="Virtual block devices, told apart by target.dev (chapter 11).",
    fields=(
        Field(
            "type",
            values.choice("file", "block"),
            _MEDIUM,
            "Source type",
            "file: an image file (source.file); block: a host device such as a DASD or a "
            "multipathed SCSI disk (source.dev).",
            required=True,
        ),
        Field(
            "device",
            values.choice("disk", "cdrom", "floppy", "lun"),
            _FIXED,
            "Device type",
            "How the guest sees it.",
            default=always("disk"),
        ),
        Field(
            "driver.name",
            values.choice("qemu"),
            _FIXED,
            "Driver",
            "The backend driver.",
            default=always("qemu"),
        ),
        Field(
            "driver.type",
            values.choice("raw", "qcow2"),
            _MEDIUM,
            "Image format",
            "The format of the source. It is never guessed: a qcow2 image read as raw is "
            "corrupted, and a raw one that is probed can be made to read any file of the host.",
            required=True,
        ),
        Field(
            "driver.cache",
            values.choice("default", "none", "writethrough", "writeback", "directsync", "unsafe"),
            _FIXED,
            "Cache mode",
            "How the host caches it; none is right for DASDs and SCSI disks.",
        ),
        Field(
            "driver.io",
            values.choice("native", "threads", "io_uring"),
            _FIXED,
            "I/O mode",
            "How QEMU does its I/O; native is right for DASDs and SCSI disks.",
        ),
        Field(
            "driver.iothread",
            values.integer(1, 1024),
            _FIXED,
            "I/O thread",
            "The I/O thread that serves this disk, between 1 and spec.iothreads (chapter 19).",
        ),
        Field(
            "driver.error_policy",
            values.choice("stop", "report", "ignore", "enospace"),
            _FIXED,
            "Error policy",
            "What happens when writing fails, and reading if rerror_policy is not stated.",
        ),
        Field(
            "driver.rerror_policy",
            values.choice("stop", "report", "ignore"),
            _FIXED,
            "Read error policy",
            "What happens when reading fails.",
        ),
        _switch("driver.ioeventfd", "I/O event", "A thread of its own notices the guest's I/O."),
        _switch("driver.event_idx", "Event index", "Fewer interrupts and exits of the guest."),
        _switch("driver.copy_on_read", "Copy on read", "What is read is copied into the image."),
        Field(
            "driver.discard",
            values.choice("unmap", "ignore"),
            _FIXED,
            "Discard",
            "Whether blocks that the guest discards are given back to the host.",
        ),
        Field(
            "driver.detect_zeroes",
            values.choice("off", "on", "unmap"),
            _FIXED,
            "Zero detection",
            "Whether written zeroes take no space.",
        ),
        _number("driver.queues", "Queues", "How many queues the guest can use at once."),
        Field(
            "source.file",
            values.path(),
            _MEDIUM,
            "Image file",
            "The image file on the host.",
        ),
        Field(
            "source.dev",
            values.path(),
            _MEDIUM,
            "Host device",
            "The device node on the host, by a name that is stable, such as /dev/mapper/….",
        ),
        Field(
            "source.startupPolicy",
            values.choice("mandatory", "requisite", "optional"),
            _MEDIUM,
            "Missing medium",
            "What to do at a start when the source of a CD-ROM or floppy drive is missing.",
        ),
        Field(
            "target.dev",
            values.text(
                r"^(vd|sd|hd|fd|xvd|ubd)[a-z0-9]+$",
                examples=["vda"],
                description="vda, vdb, … or sda, sdb, …",
            ),
            _FIXED,
            "Target device",
            "The disk's name, unique in the virtual server; the guest may see another.",
            required=True,
        ),
        Field(
            "target.bus",
            values.choice("virtio", "scsi", "ide", "sata", "usb", "fdc"),
            _FIXED,
            "Bus",
            "How it is attached; by the target device's name if not stated (vda: virtio).",
            place=Attribute("target", "bus", displaces=("address",)),
            default=_bus_by_name,
        ),
        Field(
            "target.removable",
            values.choice(*values.ON_OFF),
            _FIXED,
            "Removable",
            "usb: whether the guest sees a removable disk.",
        ),
        _number(
            "target.rotation_rate",
            "Rotation rate",
            "scsi, sata, ide: rotations a minute; 1 for one that does not rotate.",
            values.integer(1, 65534),
        ),
        _number("geometry.cyls", "Cylinders", "Overrides the geometry: cylinders."),
        _number("geometry.heads", "Heads", "Overrides the geometry: heads."),
        _number("geometry.secs", "Sectors", "Overrides the geometry: sectors of a track."),
        Field(
            "geometry.trans",
            values.choice("auto", "none", "lba"),
            _FIXED,
            "Translation",
            "The BIOS's translation of the geometry.",
        ),
        _number(
            "blockio.logical_block_size", "Logical block size", "In bytes, as the guest sees it."
        ),
        _number(
            "blockio.physical_block_size", "Physical block size", "In bytes, as the guest sees it."
        ),
        *THROTTLING_ROWS,
        Field(
            "readonly",
            values.YES_OR_NO,
            _FIXED,
            "Read-only",
            "The guest cannot write to it; always so for CD-ROM drives.",
            place=Presence("readonly"),
            default=_readonly_if_cdrom,
        ),
        Field(
            "shareable",
            values.YES_OR_NO,
            _FIXED,
            "Shareable",
            "Several virtual servers may use it at once.",
            place=Presence("shareable"),
        ),
        Field(
            "serial",
            values.text(
                r"^[A-Za-z0-9_.+-]([A-Za-z0-9_.+ -]*[A-Za-z0-9_.+-])?$",
                description="Letters, digits, blanks and _ . + -",
            ),
            _FIXED,
            "Serial number",
            "The serial number the guest sees.",
            place=Text("serial"),
        ),
        Field(
            "wwn",
            values.text(r"^(0x)?[0-9a-fA-F]{16}$"),
            _FIXED,
            "World wide name",
            "The WWN the guest sees: 16 hexadecimal digits.",
            place=Text("wwn"),
        ),
        Field(
            "vendor",
            values.text(r"^[ -~]{0,8}$"),
            _FIXED,
            "Vendor",
            "scsi: the vendor the guest sees.",
            place=Text("vendor"),
        ),
        Field(
            "product",
            values.text(r"^[ -~]{0,16}$"),
            _FIXED,
            "Product",
            "scsi: the product the guest sees.",
            place=Text("product"),
        ),
        *IMAGE_ROWS,
        *boot_rows(),
        ALIAS,
        *ADDRESS_ROWS,
        PERSISTENT,
    ),
)
