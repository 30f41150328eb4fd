"""Comparing what is wanted with what libvirt has: one layer, config or live, at a time.

Only what a manifest states is compared, and what it stated once and no longer does; whatever
else libvirt's XML says is none of our business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

from reconvirt.domain.desired import NOTHING, Statement, spell
from reconvirt.domain.device_xml import render_device
from reconvirt.domain.devices import DEVICES, KIND_BY_ELEMENT
from reconvirt.domain.fields import FIELDS
from reconvirt.domain.fragment import contains, index_pieces, piece_key, read_identity
from reconvirt.domain.kinds.common import is_persistent
from reconvirt.domain.rows import NOWHERE, DeviceKind, Field, Stated
from reconvirt.domain.values import Value
from reconvirt.domain.xmltree import parse_xml

if TYPE_CHECKING:
    from lxml.etree import _Element


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


@dataclass(frozen=True, slots=True)
class PieceDifference:
    """A piece of ``spec.xml`` that is not in force; ``wanted`` None: no longer stated.

    Attributes:
        key: which piece.
        found: the element that it speaks of; None where there is none.
        wanted: the piece.
        applied: the piece as it was last applied.
        listed: what the manifest's lists state of the same device; None if they do not.
    """

    key: str
    found: _Element | None
    wanted: str | None
    applied: str | None
    listed: Stated | None = None

    @property
    def path(self) -> str:
        """Where it stands in the manifest, such as ``xml.cpu``."""
        return piece_path(self.key)


Difference: TypeAlias = FieldDifference | DeviceDifference | PieceDifference


def device_path(kind: DeviceKind, identity: str) -> str:
    """A device's place in the manifest."""
    return kind.path if kind.single else f"{kind.path}[{identity}]"


def piece_path(key: str) -> str:
    """A piece's place in the manifest."""
    return f"xml.{key}"


@dataclass(frozen=True, slots=True)
class _Layer:
    """What a statement is compared with.

    Attributes:
        root: the layer's ``<domain>``.
        before: what was last applied to it.
        live: whether it is what runs.
        unsettled: paths at which the configuration is not as wanted.
    """

    root: _Element
    before: Statement
    live: bool
    unsettled: frozenset[str]

    def started_with(self, path: str, value: object, *, same: bool | None) -> bool:
        """Whether what runs was started with the wanted value, though it shows another.

        Args:
            path: of the value.
            value: what is wanted; None for nothing.
            same: whether the mark says so; None where it says nothing. What the configuration
                has had all along, the running virtual server was started with.
        """
        if path in self.before.pending:
            return self.before.pending[path] == spell(value)
        return path not in self.unsettled if same is None else same


def compare(
    wanted: Statement,
    applied: Statement | None,
    root: _Element,
    *,
    live: bool,
    unsettled: frozenset[str] = frozenset(),
) -> tuple[Difference, ...]:
    """All differences between a statement and one layer's XML.

    Args:
        wanted: what the manifest states.
        applied: what it stated when it was last applied to this layer.
        root: the layer's ``<domain>``.
        live: whether the layer is the running virtual server.
        unsettled: for the running one: paths at which the configuration differs.
    """
    layer = _Layer(root, applied or NOTHING, live, unsettled)
    fields = _compare_fields(FIELDS, wanted.fields, layer.before.fields, root, layer)
    devices = (each for kind in DEVICES for each in _compare_devices(kind, wanted, layer))
    return (*fields, *devices, *_compare_pieces(wanted, layer))


def paths_of(differences: tuple[Difference, ...]) -> frozenset[str]:
    """Where things differ, the fields of devices each for itself."""
    paths: set[str] = set()
    for each in differences:
        paths.add(each.path)
        if isinstance(each, DeviceDifference):
            paths.update(field.path for field in each.fields)
    return frozenset(paths)


def _compare_fields(
    rows: tuple[Field, ...],
    wanted: Stated,
    applied: Stated,
    element: _Element,
    layer: _Layer,
    *,
    device: str = "",
) -> Iterator[FieldDifference]:
    for row in rows:
        if row.place is NOWHERE or (layer.live and row.config_only):
            continue
        value, old = wanted.get(row.name), applied.get(row.name)
        found = row.read(element) if value is not None or old is not None else None
        expanded = layer.live and row.expanded
        if value is not None:
            if found is not None and row.kind.agrees(value, found, live=layer.live):
                continue
            difference = FieldDifference(row, found, value, device)
            same = None if old is None else row.kind.agrees(value, old, live=False)
            if not (expanded and layer.started_with(difference.path, value, same=same)):
                yield difference
        elif old is not None and expanded:
            difference = FieldDifference(row, old, None, device)
            if not layer.started_with(difference.path, None, same=False):
                yield difference
        elif (
            old is not None
            and _is_there(found)
            and row.kind.is_rest(old, found, live=layer.live)
            # libvirt shows what it would have filled in by itself, and starts it with no other.
            and not (layer.live and row.implied(found, wanted))
        ):
            yield FieldDifference(row, found, None, device)


def _is_there(found: Value | None) -> TypeGuard[Value]:
    """Whether a place says anything; 0 is something, an absence that reads as no is not."""
    return found is not None and found is not False and found != ""


def _compare_devices(
    kind: DeviceKind, wanted: Statement, layer: _Layer
) -> Iterator[DeviceDifference]:
    listed = _layer_devices(kind, wanted, live=layer.live)
    before = _layer_devices(kind, layer.before, live=layer.live)
    if not listed and not before:
        return
    # A kind outside <devices> is expanded as a whole: libvirt writes out all features of a CPU.
    expanded = layer.live and kind.where != "devices"
    found = index_devices(kind, layer.root)
    for identity, stated in listed.items():
        element, old, path = found.get(identity), before.get(identity), device_path(kind, identity)
        fields: tuple[FieldDifference, ...] = ()
        if element is not None:
            rows = _compare_fields(kind.fields, stated, old or {}, element, layer, device=path)
            fields = tuple(rows)
        same = None if old is None else old == stated
        if element is not None and not fields:
            continue
        if expanded and layer.started_with(path, stated, same=same):
            continue
        yield DeviceDifference(kind, identity, element, stated, old, fields)
    for identity, old in before.items():
        # One that spec.xml states now is still wanted.
        stays = identity in listed or piece_key(kind.element, identity) in wanted.pieces
        path = device_path(kind, identity)
        if expanded and layer.started_with(path, None, same=False):
            continue
        if not stays and identity in found:
            yield DeviceDifference(kind, identity, found[identity], None, old)


def _layer_devices(kind: DeviceKind, statement: Statement, *, live: bool) -> Mapping[str, Stated]:
    """A statement's devices of one kind, without hotplug devices for the configuration."""
    listed = statement.devices.get(kind.name, {})
    return {name: each for name, each in listed.items() if live or is_persistent(each)}


def _compare_pieces(wanted: Statement, layer: _Layer) -> Iterator[PieceDifference]:
    if not wanted.pieces and not layer.before.pieces:
        return
    found, listed = index_pieces(layer.root), _listed_by_key(wanted)
    for key, text in wanted.pieces.items():
        element, old = found.get(key), layer.before.pieces.get(key)
        # What is no longer stated inside a piece shows only against what was applied.
        settled = old in (None, text) or layer.live
        if element is not None and settled and contains(element, parse_xml(text)):
            continue
        same = None if old is None else old == text
        path = piece_path(key)
        if layer.live and element is not None and layer.started_with(path, text, same=same):
            continue
        yield PieceDifference(key, element, text, old, listed.get(key))
    for key, old in layer.before.pieces.items():
        if layer.live and layer.started_with(piece_path(key), None, same=False):
            continue
        if key in wanted.pieces or key not in found or _is_listed(old, listed.get(key), found[key]):
            continue
        yield PieceDifference(key, found[key], None, old, listed.get(key))


def _is_listed(piece: str, listed: Stated | None, element: _Element) -> bool:
    """Whether the manifest's lists state all that a piece has said of a device."""
    if listed is None:
        return False
    kind = KIND_BY_ELEMENT[str(element.tag)]
    return contains(render_device(kind, listed), parse_xml(piece))


def _listed_by_key(statement: Statement) -> Mapping[str, Stated]:
    """The devices of a statement's lists by the keys of the pieces that may speak of them."""
    return {
        piece_key(kind.element, identity): stated
        for kind in DEVICES
        for identity, stated in statement.devices.get(kind.name, {}).items()
    }


def index_devices(kind: DeviceKind, root: _Element) -> Mapping[str, _Element]:
    """The devices of one kind in a domain's XML, by identity."""
    seen: dict[str, int] = {}
    return {
        kind.identify(read_identity(kind, element), seen): element
        for element in root.iterfind(f"{kind.where}/{kind.element}")
    }


def read_fields(kind: DeviceKind, element: _Element, names: tuple[str, ...]) -> Stated:
    """The values of some of a device's fields; those that are not there are left out."""
    values = ((row.name, row.read(element)) for row in kind.fields if row.name in names)
    return {name: value for name, value in values if value is not None}
