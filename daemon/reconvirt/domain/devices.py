"""The table of devices: the kinds that a manifest can list, and the rows of their fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reconvirt.domain import values
from reconvirt.domain.effects import Effects, at_next_start
from reconvirt.domain.places import Attribute, Presence, Text
from reconvirt.domain.rows import DeviceKind, Field, Stated, always
from reconvirt.domain.values import Value
from reconvirt.manifest.identity import derive_mac

_BOOTED_WITH = at_next_start("it is read when the virtual server boots")
_DISK_FIXED = at_next_start("libvirt cannot change it on a disk that is plugged in")
_NIC_FIXED = at_next_start("libvirt cannot change it on an interface that is plugged in")
_ADDRESS = at_next_start("a device keeps its address while it is plugged in")
_CONSOLE_FIXED = at_next_start("consoles cannot be plugged into a running virtual server")

_BUSES = {"vd": "virtio", "sd": "scsi", "hd": "ide", "fd": "fdc"}


def _bus_by_name(_name: str, stated: Stated) -> Value | None:
    return _BUSES.get(str(stated.get("target.dev", ""))[:2], "virtio")


def _disk_hotplug(stated: Stated) -> str:
    bus = stated.get("target.bus")
    return "" if bus == "virtio" else f"a disk on the bus {bus} cannot be hotplugged"


def _no_hotplug(why: str) -> Callable[[Stated], str]:
    return lambda _stated: why


def _address(fixed: Effects) -> tuple[Field, ...]:
    """The rows of a channel-attached device's address (``<address type='ccw'>``)."""
    about = "as the guest sees it; libvirt picks a free address if not stated, and keeps it."
    return (
        Field(
            "address.type",
            Attribute("address", "type"),
            values.choice("ccw"),
            fixed,
            "Address type",
            f"ccw: a channel device, {about}",
        ),
        Field(
            "address.cssid",
            Attribute("address", "cssid"),
            values.hexadecimal(0xFE, 2),
            fixed,
            "Channel subsystem",
            f"The channel subsystem-ID, 0xfe for virtual devices, {about}",
        ),
        Field(
            "address.ssid",
            Attribute("address", "ssid"),
            values.hexadecimal(3, 1),
            fixed,
            "Subchannel set",
            f"The subchannel set-ID, {about}",
        ),
        Field(
            "address.devno",
            Attribute("address", "devno"),
            values.hexadecimal(0xFFFF, 4),
            fixed,
            "Device number",
            f"The device number, {about}",
        ),
    )


_DISK = DeviceKind(
    "disks",
    "disk",
    identity=("target.dev",),
    source=("source.file", "source.dev"),
    hotplug=_disk_hotplug,
    title="Disks",
    description="Virtual block devices, told apart by target.dev (chapter 11).",
    fields=(
        Field(
            "type",
            Attribute("", "type"),
            values.choice("file", "block"),
            _DISK_FIXED,
            "Source type",
            "file: an image file (source.file); block: a host device such as a DASD or a "
            "multipathed SCSI disk (source.dev).",
            required=True,
        ),
        Field(
            "device",
            Attribute("", "device"),
            values.choice("disk", "cdrom"),
            _DISK_FIXED,
            "Device type",
            "How the guest sees it.",
            default=always("disk"),
        ),
        Field(
            "driver.name",
            Attribute("driver", "name"),
            values.choice("qemu"),
            _DISK_FIXED,
            "Driver",
            "The backend driver.",
            default=always("qemu"),
        ),
        Field(
            "driver.type",
            Attribute("driver", "type"),
            values.choice("raw", "qcow2"),
            _DISK_FIXED,
            "Image format",
            "The format of the source. It is never guessed: a qcow2 image read as raw is "
            "corrupted, and a raw one that is probed can be made to read any file of the host.",
            required=True,
        ),
        Field(
            "driver.cache",
            Attribute("driver", "cache"),
            values.choice("default", "none", "writethrough", "writeback", "directsync", "unsafe"),
            _DISK_FIXED,
            "Cache mode",
            "How the host caches it; none is right for DASDs and SCSI disks.",
        ),
        Field(
            "driver.io",
            Attribute("driver", "io"),
            values.choice("native", "threads", "io_uring"),
            _DISK_FIXED,
            "I/O mode",
            "How QEMU does its I/O; native is right for DASDs and SCSI disks.",
        ),
        Field(
            "driver.iothread",
            Attribute("driver", "iothread"),
            values.integer(1, 1024),
            _DISK_FIXED,
            "I/O thread",
            "The I/O thread that serves this disk, between 1 and spec.iothreads (chapter 19).",
        ),
        Field(
            "source.file",
            Attribute("source", "file"),
            values.path(),
            _DISK_FIXED,
            "Image file",
            "The image file on the host.",
        ),
        Field(
            "source.dev",
            Attribute("source", "dev"),
            values.path(),
            _DISK_FIXED,
            "Host device",
            "The device node on the host, by a name that is stable, such as /dev/mapper/….",
        ),
        Field(
            "target.dev",
            Attribute("target", "dev"),
            values.text(
                r"^(vd|sd|hd|fd)[a-z]+$", examples=["vda"], description="vda, vdb, … or sda, sdb, …"
            ),
            _DISK_FIXED,
            "Target device",
            "The disk's name, unique in the virtual server; the guest may see another.",
            required=True,
        ),
        Field(
            "target.bus",
            Attribute("target", "bus", displaces=("address",)),
            values.choice("virtio", "scsi", "ide", "sata", "usb", "fdc"),
            _DISK_FIXED,
            "Bus",
            "How it is attached; by the target device's name if not stated (vda: virtio).",
            default=_bus_by_name,
        ),
        Field(
            "boot.order",
            Attribute("boot", "order"),
            values.integer(1),
            _BOOTED_WITH,
            "Boot order",
            "Its place among the devices to boot from (IPL device), 1 first.",
        ),
        Field(
            "readonly",
            Presence("readonly"),
            values.YES_OR_NO,
            _DISK_FIXED,
            "Read-only",
            "The guest cannot write to it.",
        ),
        Field(
            "shareable",
            Presence("shareable"),
            values.YES_OR_NO,
            _DISK_FIXED,
            "Shareable",
            "Several virtual servers may use it at once.",
        ),
        Field(
            "serial",
            Text("serial"),
            values.text(
                r"^[A-Za-z0-9_.+-]([A-Za-z0-9_.+ -]*[A-Za-z0-9_.+-])?$",
                description="Letters, digits, blanks and _ . + -",
            ),
            _DISK_FIXED,
            "Serial number",
            "The serial number the guest sees.",
        ),
        *_address(_ADDRESS),
    ),
)

_INTERFACE = DeviceKind(
    "interfaces",
    "interface",
    identity=("mac.address",),
    source=("source.bridge",),
    title="Interfaces",
    description="Virtual Ethernet devices, told apart by their MAC address (chapter 11).",
    fields=(
        Field(
            "type",
            Attribute("", "type"),
            values.choice("bridge"),
            _NIC_FIXED,
            "Connection",
            "bridge: through a Linux bridge of the host.",
            required=True,
        ),
        Field(
            "mac.address",
            Attribute("mac", "address"),
            values.MAC,
            _NIC_FIXED,
            "MAC address",
            "If the only interface does not state it, it is derived from the virtual server's "
            "name; with several each must state its own.",
            default=lambda name, _stated: derive_mac(name),
        ),
        Field(
            "source.bridge",
            Attribute("source", "bridge"),
            values.text(r"^[^\s/]{1,15}$", description="A network interface name of the host."),
            _NIC_FIXED,
            "Bridge",
            "The bridge of the host.",
            required=True,
        ),
        Field(
            "model.type",
            Attribute("model", "type", displaces=("address",)),
            values.text(r"^[a-z0-9-]+$", examples=["virtio"]),
            _NIC_FIXED,
            "Model",
            "The network card the guest sees.",
            default=always("virtio"),
        ),
        *_address(_ADDRESS),
    ),
)

_CONSOLE = DeviceKind(
    "consoles",
    "console",
    identity=("target.type",),
    numbered=True,
    hotplug=_no_hotplug("consoles cannot be plugged into a running virtual server"),
    title="Consoles",
    description="Consoles, told apart by target.type and their order (chapter 10).",
    fields=(
        Field(
            "type",
            Attribute("", "type"),
            values.choice("pty"),
            _CONSOLE_FIXED,
            "Host side",
            "pty: a pseudo-terminal, which virsh console connects to.",
            default=always("pty"),
        ),
        Field(
            "target.type",
            Attribute("target", "type"),
            values.choice("sclp", "virtio", "serial"),
            _CONSOLE_FIXED,
            "Guest side",
            "sclp: the service-call logical processor console of s390x; serial: the first serial "
            "port of x86.",
            required=True,
        ),
        Field(
            "log.file",
            Attribute("log", "file"),
            values.path(),
            _CONSOLE_FIXED,
            "Log file",
            "A file on the host that collects the console's output.",
        ),
        Field(
            "log.append",
            Attribute("log", "append"),
            values.choice("on", "off"),
            _CONSOLE_FIXED,
            "Append",
            "on: the log goes on after a restart; off: it is overwritten.",
        ),
    ),
)

DEVICES: tuple[DeviceKind, ...] = (_DISK, _INTERFACE, _CONSOLE)

DEVICE_BY_NAME: Mapping[str, DeviceKind] = {row.name: row for row in DEVICES}
