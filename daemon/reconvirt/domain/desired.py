"""What is wanted of a virtual server, as canonical values by the names of the table's rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from reconvirt.domain.devices import DEVICE_BY_NAME, DEVICES
from reconvirt.domain.fields import FIELD_BY_NAME, FIELDS
from reconvirt.domain.fragment import split_fragment
from reconvirt.domain.kinds.common import is_persistent
from reconvirt.domain.rows import DeviceKind, Field, Stated, fill_defaults
from reconvirt.domain.values import Value
from reconvirt.manifest.identity import derive_uuid, normalise_uuid
from reconvirt.manifest.model import Manifest, Position

Devices: TypeAlias = Mapping[str, Mapping[str, Stated]]
"""Devices by the name of their kind and their identity: ``{"disks": {"vda": {…}}}``."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a manifest states, or stated when it was last applied.

    Attributes:
        fields: canonical values by field name; memory in KiB.
        devices: the devices' values by kind and identity.
        pieces: the pieces of ``spec.xml`` by their keys.
        pending: only in the mark of what runs: what was stated after its start and is not in
            force, though libvirt's XML does not show it.
    """

    fields: Stated
    devices: Devices
    pieces: Mapping[str, str] = field(default_factory=dict)
    pending: frozenset[str] = frozenset()

    def to_json(self) -> str:
        """One canonical line of JSON, equal for equal statements."""
        value: dict[str, Any] = {"fields": self.fields, "devices": self.devices}
        if self.pieces:
            value["pieces"] = self.pieces
        if self.pending:
            value["pending"] = sorted(self.pending)
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Statement:
        """The statement that was kept as JSON.

        Names that this version's table does not know are left out: they were written by a newer
        version, and what we cannot read we cannot remove.

        Raises:
            ValueError: the text is not such a statement.
        """
        value = json.loads(text)
        try:
            fields = {k: v for k, v in value["fields"].items() if k in FIELD_BY_NAME}
            devices = {
                kind: {
                    identity: _known(DEVICE_BY_NAME[kind], stated)
                    for identity, stated in listed.items()
                }
                for kind, listed in value["devices"].items()
                if kind in DEVICE_BY_NAME and listed
            }
            pieces = {str(key): str(piece) for key, piece in value.get("pieces", {}).items()}
            pending = frozenset(map(str, value.get("pending", ())))
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"not a statement of reconvirt: {error!r}") from error
        return cls(fields, devices, pieces, pending)

    def including(self, other: Statement) -> Statement:
        """This statement, with what only the other one has."""
        devices: dict[str, dict[str, Stated]] = {}
        for kind in sorted({*self.devices, *other.devices}):
            ours, theirs = self.devices.get(kind, {}), other.devices.get(kind, {})
            devices[kind] = {
                identity: {**theirs.get(identity, {}), **ours.get(identity, {})}
                for identity in (*ours, *(each for each in theirs if each not in ours))
            }
        return Statement(
            {**other.fields, **self.fields},
            devices,
            {**other.pieces, **self.pieces},
            self.pending | other.pending,
        )


NOTHING = Statement({}, {})


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be done, where several things are reasonable.

    Attributes:
        unlisted: what is done about devices that were attached by hand.
        media: whether a medium is changed although the guest has locked the tray.
        copied: the disks whose storage is to be copied in a migration, by target.dev.
    """

    unlisted: Literal["report", "detach"] = "report"
    media: Literal["ask", "force"] = "ask"
    copied: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A device that cannot be found on the host now.

    Attributes:
        kind: the name of its kind.
        stated: what the manifest states of it.
        reason: why not, for people.
    """

    kind: str
    stated: Stated
    reason: str


@dataclass(frozen=True, slots=True)
class Desired:
    """One virtual server as its manifest wants it.

    Attributes:
        name: libvirt's name of the domain.
        uuid: its uuid, if the manifest states one.
        state: ``running``, ``shutoff``, or ``any``: whichever it is in.
        statement: everything else.
        policy: what may be done.
        unresolved: devices that cannot be found on the host now.
        positions: where fields stand in the manifest.
    """

    name: str
    uuid: str | None
    state: str
    statement: Statement
    policy: Policy = Policy()
    unresolved: tuple[Unresolved, ...] = ()
    positions: Mapping[str, Position] = field(default_factory=dict, compare=False, repr=False)

    @property
    def expected_uuid(self) -> str:
        """The uuid it gets when it is new: stated, or derived from the name."""
        return self.uuid or derive_uuid(self.name)

    def with_devices(self, kind: str, devices: Mapping[str, Stated]) -> Desired:
        """The same with other devices of one kind."""
        listed = {**self.statement.devices, kind: devices}
        return replace(self, statement=replace(self.statement, devices=listed))


def desire(manifest: Manifest) -> Desired:
    """What a checked manifest wants, with the table's defaults filled in."""
    spec = _write_out(manifest.spec)
    devices = {kind.name: _devices(manifest.name, kind, spec) for kind in DEVICES}
    statement = Statement(
        fill_defaults(manifest.name, FIELDS, _values(FIELDS, spec)),
        {name: listed for name, listed in devices.items() if listed},
        split_fragment(spec["xml"]) if "xml" in spec else {},
    )
    policy = spec.get("policy", {})
    return Desired(
        manifest.name,
        normalise_uuid(manifest.uuid) if manifest.uuid else None,
        str(spec.get("state", "running")),
        statement,
        Policy(
            policy.get("unlisted", "report"),
            policy.get("media", "ask"),
            frozenset(policy.get("migration", {}).get("copied", ())),
        ),
        positions=manifest.positions,
    )


def _write_out(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """``vcpu: 2`` is short for ``vcpu: {maximum: 2}``."""
    full = dict(spec)
    for row in FIELDS:
        parent, _, leaf = row.name.partition(".")
        if row.short and parent in full and not isinstance(full[parent], Mapping):
            full[parent] = {leaf: full[parent]}
    return full


def _values(rows: tuple[Field, ...], spec: Mapping[str, Any]) -> Stated:
    return {row.name: row.kind.parse(found) for row, found in _found(rows, spec)}


def _found(rows: tuple[Field, ...], spec: Mapping[str, Any]) -> Iterator[tuple[Field, Any]]:
    for row in rows:
        value: Any = spec
        for key in row.name.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            yield row, value


def _devices(name: str, kind: DeviceKind, spec: Mapping[str, Any]) -> Mapping[str, Stated]:
    listed = spec.get(kind.where, {}).get(kind.name, ())
    devices: dict[str, Stated] = {}
    seen: dict[str, int] = {}
    each_stated = [
        fill_defaults(name, kind.fields, _values(kind.fields, each))
        for each in ((listed,) if isinstance(listed, Mapping) else listed)
    ]
    # Hotplug devices last: the configuration counts those that are told apart by order without.
    for stated in sorted(each_stated, key=lambda each: not is_persistent(each)):
        devices[kind.identify(stated, seen)] = stated
    return devices


_DEVICE_FIELDS = {kind.name: frozenset(row.name for row in kind.fields) for kind in DEVICES}


def _known(kind: DeviceKind, stated: Mapping[str, Value]) -> Stated:
    names = _DEVICE_FIELDS[kind.name]
    return {name: value for name, value in stated.items() if name in names}
