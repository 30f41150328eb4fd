"""The source of a disk: what stands behind it, in libvirt's XML and in what a manifest states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lxml import etree

from reconvirt.domain.compare import index_devices
from reconvirt.domain.desired import Statement
from reconvirt.domain.fragment import canonical, contains, piece_key
from reconvirt.domain.kinds.disks import DISK, DRIVES
from reconvirt.domain.rows import Stated
from reconvirt.domain.xmltree import attributes, parse_xml, prune, reach, remove

if TYPE_CHECKING:
    from lxml.etree import _Element

SOURCE_FIELDS = ("type", "source.file", "source.dev", "driver.type")
"""The fields that say which content a disk has."""

_PLACES = {"file": ("file",), "block": ("dev",), "dir": ("dir",), "volume": ("pool", "volume")}


@dataclass(frozen=True, slots=True)
class Source:
    """What stands behind a disk; "" for what is not stated.

    Attributes:
        kind: libvirt's type: ``file``, ``block``, ``network`` …
        place: the path, or as much as tells it from others.
        form: the format, such as ``qcow2``.
    """

    kind: str = ""
    place: str = ""
    form: str = ""

    def agrees(self, found: Source) -> bool:
        """Whether another one is all that is stated here."""
        pairs = ((self.kind, found.kind), (self.place, found.place), (self.form, found.form))
        return all(ours in ("", theirs) for ours, theirs in pairs)

    def show(self, other: Source | None) -> str:
        """In a word; with the format where nothing else tells it from another one."""
        place = self.place or "nothing"
        return f"{place} ({self.form})" if other and other.place == self.place else place


def read_source(disk: _Element) -> Source:
    """The source of a disk's element, or of a piece of ``spec.xml`` that speaks of one."""
    driver, source = disk.find("driver"), disk.find("source")
    form = "" if driver is None else driver.get("type", "")
    kind = disk.get("type", "")
    if source is None:
        return Source(kind, "", form)
    names = _PLACES.get(kind, ("protocol", "name") if kind else ("file", "dev"))
    parts = [source.get(each, "") for each in names]
    parts += [f"{each.get('name', '')}:{each.get('port', '')}" for each in source.iterfind("host")]
    parts += [str(sorted(attributes(each).items())) for each in source.iterfind("address")]
    return Source(kind, "/".join(filter(None, parts)) or source.get("path", ""), form)


def is_writable(disk: _Element) -> bool:
    """Whether a guest can write to a disk: no drive, and not read-only."""
    return disk.get("device", "disk") not in DRIVES and disk.find("readonly") is None


def stated_source(statement: Statement, disk: str) -> Source | None:
    """The source that a statement has for a disk; None if it has none."""
    listed: Stated = statement.devices.get(DISK.name, {}).get(disk, {})
    place = listed.get("source.file") or listed.get("source.dev") or ""
    found = Source(str(listed.get("type", "")), str(place), str(listed.get("driver.type", "")))
    if piece := statement.pieces.get(piece_key(DISK.element, disk)):
        more = read_source(parse_xml(piece))
        found = Source(found.kind or more.kind, found.place or more.place, found.form or more.form)
    return found if found.place or found.form else None


def states(statement: Statement, disk: str, element: _Element) -> bool:
    """Whether a disk's element has the source that a statement has for it."""
    source, key = stated_source(statement, disk), piece_key(DISK.element, disk)
    if source is None:
        return False
    if source.agrees(read_source(element)):
        return True
    if disk in statement.devices.get(DISK.name, {}) or key not in statement.pieces:
        return False
    # libvirt writes addresses and the like its own way.
    piece = parse_xml(statement.pieces[key])
    only = etree.Element(DISK.element)
    _put_source(only, piece)
    return contains(element, only)


def disks_of(statement: Statement) -> tuple[str, ...]:
    """The disks of a statement by target.dev: those of its list, and of its pieces."""
    beginning, end = piece_key(DISK.element, "\0").split("\0")
    pieces = (
        key.removeprefix(beginning).removesuffix(end)
        for key in statement.pieces
        if key.startswith(beginning)
    )
    return tuple(dict.fromkeys((*statement.devices.get(DISK.name, {}), *pieces)))


def repointed(before: str, after: str) -> frozenset[str]:
    """The disks, by target.dev, that are at another source in one definition than in another."""
    present = index_devices(DISK, parse_xml(before))
    return frozenset(
        disk
        for disk, element in index_devices(DISK, parse_xml(after)).items()
        if disk in present and read_source(element) != read_source(present[disk])
    )


def image_paths(root: _Element) -> frozenset[str]:
    """The image files that a domain's disks are on."""
    sources = map(read_source, root.iterfind("devices/disk"))
    return frozenset(each.place for each in sources if each.kind == "file" and each.place)


def without_source(statement: Statement, disk: str, *, whole: bool = False) -> Statement:
    """A statement without a disk's source, or without the disk."""
    devices = dict(statement.devices.get(DISK.name, {}))
    if disk in devices:
        stated = {k: v for k, v in devices.pop(disk).items() if k not in SOURCE_FIELDS}
        if not whole:
            devices[disk] = stated
        statement = _with_disks(statement, devices)
    key = piece_key(DISK.element, disk)
    if key in statement.pieces:
        pieces = dict(statement.pieces)
        element = parse_xml(pieces.pop(key))
        _drop_source(element)
        if not whole:
            pieces[key] = canonical(element)
        statement = replace(statement, pieces=pieces)
    return statement


def with_source_of(statement: Statement, applied: Statement, disk: str) -> Statement:
    """A statement with a disk's source as another one has it, or with its whole disk."""
    ours, theirs = (each.devices.get(DISK.name, {}) for each in (statement, applied))
    if disk in theirs:
        source = {k: v for k, v in theirs[disk].items() if disk not in ours or k in SOURCE_FIELDS}
        statement = _with_disks(statement, {**ours, disk: {**ours.get(disk, {}), **source}})
    key = piece_key(DISK.element, disk)
    if key in applied.pieces:
        element = parse_xml(applied.pieces[key])
        if key in statement.pieces:
            there, element = element, parse_xml(statement.pieces[key])
            _put_source(element, there)
        statement = replace(statement, pieces={**statement.pieces, key: canonical(element)})
    return statement


def _with_disks(statement: Statement, disks: Mapping[str, Stated]) -> Statement:
    devices = {**statement.devices, DISK.name: disks}
    return replace(statement, devices={k: v for k, v in devices.items() if v})


def _drop_source(disk: _Element) -> None:
    disk.attrib.pop("type", "")
    for each in (*disk.findall("source"), *disk.findall("backingStore")):
        remove(each)
    driver = disk.find("driver")
    if driver is not None:
        driver.attrib.pop("type", "")
        if not driver.attrib and not len(driver):
            prune(disk, "driver")


def _put_source(disk: _Element, applied: _Element) -> None:
    if (kind := applied.get("type")) is not None:
        disk.set("type", kind)
    disk.extend([*applied.findall("source"), *applied.findall("backingStore")])
    driver = applied.find("driver")
    if driver is not None and (form := driver.get("type")) is not None:
        reach(disk, "driver").set("type", form)
