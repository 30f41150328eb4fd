"""Consoles, serial ports and channels (chapter 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconvirt.domain import values
from reconvirt.domain.effects import Effects, at_next_start
from reconvirt.domain.kinds.common import ADDRESS_ROWS, ALIAS, PERSISTENT, no_hotplug
from reconvirt.domain.places import Attribute
from reconvirt.domain.rows import DeviceKind, Field, always, usual

if TYPE_CHECKING:
    from lxml.etree import _Element

_NO_CONSOLE = "consoles cannot be plugged into a running virtual server"
_NO_SERIAL = "serial ports cannot be plugged into a running virtual server"
_CONSOLE = at_next_start(_NO_CONSOLE)
_SERIAL = at_next_start(_NO_SERIAL)
_CHANNEL = at_next_start("libvirt cannot change it on a channel that is plugged in")


def _source(fixed: Effects) -> tuple[Field, ...]:
    """The host's side of a character device."""
    return (
        Field(
            "source.path",
            values.path(),
            fixed,
            "Host path",
            "file, dev, unix: the path on the host.",
            expanded=True,
        ),
        Field(
            "source.mode",
            values.choice("bind", "connect"),
            fixed,
            "Socket mode",
            "unix: whether QEMU listens (bind) or connects.",
            implied=usual("bind"),
        ),
        Field(
            "source.append",
            values.choice(*values.ON_OFF),
            fixed,
            "Append",
            "file: whether it goes on after a restart.",
        ),
    )


def _port(fixed: Effects) -> Field:
    return Field("target.port", values.integer(0), fixed, "Port", "Its number.", implied=usual(0))


def _log(fixed: Effects) -> tuple[Field, ...]:
    return (
        Field(
            "log.file",
            values.path(),
            fixed,
            "Log file",
            "A file on the host that collects the output (chapter 20).",
        ),
        Field(
            "log.append",
            values.choice(*values.ON_OFF),
            fixed,
            "Append to the log",
            "on: the log goes on after a restart; off: it is overwritten.",
        ),
    )


def _mirrors_serial(console: _Element, domain: _Element) -> bool:
    """Whether libvirt shows the first serial port a second time, as a console."""
    target = console.find("target")
    if target is None or target.get("type") != "serial":
        return False
    serial = domain.find("devices/serial")
    first = domain.find("devices/console")
    return serial is not None and first is console and serial.get("type") == console.get("type")


CONSOLE = DeviceKind(
    "consoles",
    "console",
    identity=("target.type",),
    numbered=True,
    hotplug=no_hotplug(_NO_CONSOLE),
    implied=_mirrors_serial,
    title="Consoles",
    description="Consoles, told apart by target.type and their order (chapter 10).",
    fields=(
        Field(
            "type",
            values.choice("pty", "file", "null", "unix", "stdio", "dev", "pipe", "spicevmc"),
            _CONSOLE,
            "Host side",
            "pty: a pseudo-terminal, which virsh console connects to.",
            default=always("pty"),
        ),
        *_source(_CONSOLE),
        Field(
            "target.type",
            values.choice("sclp", "sclplm", "virtio", "serial"),
            _CONSOLE,
            "Guest side",
            "sclp: the service-call logical processor console of s390x; virtio: a virtio console; "
            "serial: the first serial port.",
            required=True,
        ),
        _port(_CONSOLE),
        *_log(_CONSOLE),
        ALIAS,
        *ADDRESS_ROWS,
    ),
)

SERIAL = DeviceKind(
    "serials",
    "serial",
    identity=("target.type",),
    numbered=True,
    hotplug=no_hotplug(_NO_SERIAL),
    title="Serial ports",
    description="Serial ports, told apart by target.type and their order. The first one is also "
    "the first console.",
    fields=(
        Field(
            "type",
            values.choice("pty", "file", "null", "unix", "stdio", "dev", "pipe"),
            _SERIAL,
            "Host side",
            "pty: a pseudo-terminal, which virsh console connects to.",
            default=always("pty"),
        ),
        *_source(_SERIAL),
        Field(
            "target.type",
            values.text(r"^[a-z0-9-]+$", examples=["isa-serial", "sclp-serial", "pci-serial"]),
            _SERIAL,
            "Guest side",
            "The kind of port the guest sees.",
            required=True,
        ),
        Field(
            "target.model",
            values.text(r"^[a-z0-9-]+$"),
            _SERIAL,
            "Model",
            "The model of the port, by its kind.",
            place=Attribute("target/model", "name"),
            implied=lambda value, stated: (
                value in (stated.get("target.type"), "sclpconsole", "pl011")
            ),
        ),
        _port(_SERIAL),
        *_log(_SERIAL),
        ALIAS,
        *ADDRESS_ROWS,
    ),
)

CHANNEL = DeviceKind(
    "channels",
    "channel",
    identity=("target.type", "target.name"),
    numbered=True,
    source=("source.path",),
    title="Channels",
    description="Channels between host and guest, told apart by target.name: that of the guest "
    "agent is org.qemu.guest_agent.0.",
    fields=(
        Field(
            "type",
            values.choice("unix", "spicevmc", "pty", "null", "file"),
            _CHANNEL,
            "Host side",
            "unix: a socket, which libvirt places itself for the guest agent.",
            default=always("unix"),
        ),
        *_source(_CHANNEL),
        Field(
            "target.type",
            values.choice("virtio"),
            _CHANNEL,
            "Guest side",
            "virtio: a port of a virtio-serial controller.",
            default=always("virtio"),
        ),
        Field(
            "target.name",
            values.line(),
            _CHANNEL,
            "Name",
            "The name that the guest knows it by.",
        ),
        *_log(_CHANNEL),
        ALIAS,
        *ADDRESS_ROWS,
        PERSISTENT,
    ),
)
