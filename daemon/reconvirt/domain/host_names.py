"""One name for each host device, for the patterns of the host's configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.etree import _Element


def name_host_device(element: _Element) -> str:
    """``TYPE:NAME`` of a ``<hostdev>``, such as ``pci:0000:01:00.0``; ``TYPE:?`` if it has none."""
    kind, source = element.get("type", "?"), element.find("source")
    if source is None:
        return f"{kind}:?"
    address = source.find("address")
    match kind:
        case "pci" if address is not None:
            numbers = [_number(address, name) for name in ("domain", "bus", "slot", "function")]
            name = "{:04x}:{:02x}:{:02x}.{:x}".format(*numbers)
        case "usb" if source.find("vendor") is not None:
            name = ":".join(_hexadecimal(source, part) for part in ("vendor", "product"))
        case "usb" if address is not None:
            name = f"{address.get('bus', '0')}.{address.get('device', '0')}"
        case "mdev" if address is not None:
            name = address.get("uuid", "?").lower()
        case "scsi" if source.find("adapter") is not None and address is not None:
            parts = [address.get(part, "0") for part in ("bus", "target", "unit")]
            name = ":".join((_attribute(source, "adapter", "name"), *parts))
        case "scsi":
            name = source.get("name", "?")
        case "scsi_host":
            name = source.get("wwpn", "?")
        case _:
            texts = [(each.text or "").strip() for each in source]
            name = next((text for text in texts if text), "?")
    return f"{kind}:{name}"


def _number(address: _Element, name: str) -> int:
    try:
        return int(address.get(name, "0"), 0)
    except ValueError:
        return 0xFFFF  # libvirt will refuse it; no pattern for a real device fits it


def _attribute(source: _Element, child: str, name: str) -> str:
    found = source.find(child)
    return "?" if found is None else found.get(name, "?")


def _hexadecimal(source: _Element, child: str) -> str:
    text = _attribute(source, child, "id")
    return text.lower().removeprefix("0x").zfill(4)
