"""Comparing what is wanted with what libvirt has: one layer, config or live, at a time.

Only what a manifest states is compared, and what it stated once and no longer does; whatever
else libvirt's XML says is none of our business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from reconvirt.domain.desired import Statement
from reconvirt.domain.devices import DEVICES
from reconvirt.domain.fields import FIELDS
from reconvirt.domain.rows import DeviceKind, Field, Stated
from reconvirt.domain.values import Value

if TYPE_CHECKING:
    from lxml.etree import _Element

_NOTHING = Statement({}, {})


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """A field whose value is not the wanted one; ``wanted`` None: no longer stated."""

    row: Field
    found: Value | None
    wanted: Value | None
    device: str = ""

    @property
    def path(self) -> str:
        """Where it stands in the manifest, such as ``devices.disks[vda].driver.cache``."""
        return f"{self.device}.{self.row.name}" if self.device else self.row.name


@dataclass(frozen=True, slots=True)
class DeviceDifference:
    """A device that is missing (``found`` None), one too many (``wanted`` None), or changed.

    Attributes:
        kind: its kind.
        identity: which one of its kind.
        found: the device's XML.
        wanted: its wanted values.
        applied: the values it had when it was last applied.
        fields: the fields that differ, where both are there.
    """

    kind: DeviceKind
    identity: str
    found: _Element | None
    wanted: Stated | None
    applied: Stated | None
    fields: tuple[FieldDifference, ...] = ()

    @property
    def path(self) -> str:
        """Where it stands in the manifest, such as ``devices.disks[vda]``."""
        return device_path(self.kind, self.identity)


Difference: TypeAlias = FieldDifference | DeviceDifference


def device_path(kind: DeviceKind, identity: str) -> str:
    """A device's place in the manifest."""
    return f"devices.{kind.name}[{identity}]"


def compare(
    wanted: Statement, applied: Statement | None, root: _Element, *, live: bool
) -> tuple[Difference, ...]:
    """All differences between a statement and one layer's XML.

    Args:
        wanted: what the manifest states.
        applied: what it stated when it was last applied to this layer.
        root: the layer's ``<domain>``.
        live: whether the layer is the running virtual server.
    """
    before = applied or _NOTHING
    fields = _compare_fields(FIELDS, wanted.fields, before.fields, root, live=live)
    devices = (
        difference
        for kind in DEVICES
        for difference in _compare_devices(kind, wanted, before, root, live=live)
    )
    return (*fields, *devices)


def _compare_fields(
    rows: tuple[Field, ...],
    wanted: Stated,
    applied: Stated,
    element: _Element,
    *,
    live: bool,
    device: str = "",
) -> Iterator[FieldDifference]:
    for row in rows:
        value = wanted.get(row.name)
        if value is not None:
            found = read_field(row, element)
            if found is None or not row.kind.agrees(value, found, live=live):
                yield FieldDifference(row, found, value, device)
        elif row.name in applied:
            found = read_field(row, element)
            if found and row.kind.is_rest(applied[row.name], found, live=live):
                yield FieldDifference(row, found, None, device)


def _compare_devices(
    kind: DeviceKind, wanted: Statement, applied: Statement, root: _Element, *, live: bool
) -> Iterator[DeviceDifference]:
    listed, before = wanted.devices.get(kind.name, {}), applied.devices.get(kind.name, {})
    if not listed and not before:
        return
    found = index_devices(kind, root)
    for identity, stated in listed.items():
        element, old = found.get(identity), before.get(identity)
        if element is None:
            yield DeviceDifference(kind, identity, None, stated, old)
            continue
        fields = _compare_fields(
            kind.fields,
            stated,
            old or {},
            element,
            live=live,
            device=device_path(kind, identity),
        )
        if differing := tuple(fields):
            yield DeviceDifference(kind, identity, element, stated, old, differing)
    for identity, old in before.items():
        if identity not in listed and identity in found:
            yield DeviceDifference(kind, identity, found[identity], None, old)


def index_devices(kind: DeviceKind, root: _Element) -> Mapping[str, _Element]:
    """The devices of one kind in a domain's XML, by identity."""
    seen: dict[str, int] = {}
    return {
        kind.identify(read_identity(kind, element), seen): element
        for element in root.iterfind(f"devices/{kind.element}")
    }


def read_identity(kind: DeviceKind, element: _Element) -> Stated:
    """The values that tell this device from others of its kind."""
    return read_fields(kind, element, kind.identity)


def read_fields(kind: DeviceKind, element: _Element, names: tuple[str, ...]) -> Stated:
    """The values of some of a device's fields; those that are not there are left out."""
    values = ((row.name, read_field(row, element)) for row in kind.fields if row.name in names)
    return {name: value for name, value in values if value is not None}


def read_field(row: Field, element: _Element) -> Value | None:
    """A field's value in libvirt's XML; None where it is not there.

    A value that reconvirt cannot read, such as a word where it knows only numbers, is given as
    the text it is: it differs from whatever is wanted.
    """
    text = row.place.get(element)
    if text is None:
        return None
    try:
        return row.kind.read(text)
    except ValueError:
        return text
