"""Which storage a domain opens, and for what: from its XML, or from that of one disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconvirt.domain.disk_source import Source, read_source
from reconvirt.domain.xmltree import parse_xml

if TYPE_CHECKING:
    from lxml.etree import _Element

_LOCAL = ("file", "block")
_NVRAM = "nvram"


@dataclass(frozen=True, slots=True)
class DiskUse:
    """One source that is open, or about to be.

    Attributes:
        disk: the disk, by target.dev.
        source: what is open.
        writes: whether it is written to.
        shareable: whether several virtual servers may write to it.
        below: whether it is an image below the disk's own.
    """

    disk: str
    source: Source
    writes: bool
    shareable: bool = False
    below: bool = False

    @property
    def path(self) -> str:
        """Its path on the host; "" if it has none."""
        return self.source.place if self.source.kind in _LOCAL else ""


def disk_uses(xml: str) -> tuple[DiskUse, ...]:
    """The storage that a domain, or a single device, opens.

    Of images below others only those are known that libvirt has written out.
    """
    root = parse_xml(xml)
    found: list[DiskUse] = []
    for disk in [root] if root.tag == "disk" else root.iterfind("devices/disk"):
        found += _uses(disk)
    nvram = root.findtext("os/nvram")
    if nvram:
        found.append(DiskUse(_NVRAM, Source("file", nvram, "raw"), writes=True))
    return tuple(each for each in found if each.source.place)


def disk_names(xml: str) -> tuple[str, ...]:
    """The disks of a domain, by target.dev."""
    targets = parse_xml(xml).iterfind("devices/disk/target")
    return tuple(each.get("dev", "") for each in targets)


def _uses(disk: _Element) -> Iterator[DiskUse]:
    target = disk.find("target")
    name = "" if target is None else target.get("dev", "")
    # A floppy can be written to, other than where its source is changed as a medium.
    writes = disk.get("device", "disk") != "cdrom" and disk.find("readonly") is None
    shareable = disk.find("shareable") is not None
    yield DiskUse(name, read_source(disk), writes, shareable)
    mirror = disk.find("mirror")
    if mirror is not None:
        yield DiskUse(name, _plain(mirror), writes=True, shareable=shareable)
    for below in disk.iterfind(".//backingStore"):
        yield DiskUse(name, _plain(below), writes=False, below=True)


def _plain(element: _Element) -> Source:
    """The source of an image that is not the disk's own; its format stands in an element."""
    form, source = element.find("format"), read_source(element)
    return Source(source.kind, source.place, "raw" if form is None else form.get("type", "raw"))
