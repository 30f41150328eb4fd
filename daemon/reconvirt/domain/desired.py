"""What is wanted of a virtual server, as canonical values by the names of the table's rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from reconvirt.domain.devices import DEVICE_BY_NAME, DEVICES
from reconvirt.domain.fields import FIELD_BY_NAME, FIELDS
from reconvirt.domain.fragment import split_fragment
from reconvirt.domain.kinds.common import is_persistent
from reconvirt.domain.policy import NO_POLICY, Policy, read_policy
from reconvirt.domain.rows import DeviceKind, Field, Stated, fill_defaults
from reconvirt.domain.values import Value
from reconvirt.manifest.identity import derive_uuid, normalise_uuid
from reconvirt.manifest.model import Manifest
from reconvirt.manifest.problem import Position

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
            force, though libvirt's XML does not show it; each path with what it was started with,
            as :func:`spell` has it, or "" where that is not known.
        hindered: only in the mark of what runs: why libvirt does not make a change while it runs,
            by field; it is not asked to again before the next start.
        notes: what must be known of it when its manifest is gone: the source and the revision that
            it came from, uuid and name of its domain, the wanted state, and what is to be done
            then.
    """

    fields: Stated
    devices: Devices
    pieces: Mapping[str, str] = field(default_factory=dict)
    pending: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    hindered: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """One canonical line of JSON, equal for equal statements."""
        value: dict[str, Any] = {"fields": self.fields, "devices": self.devices}
        if self.pieces:
            value["pieces"] = self.pieces
        if self.pending:
            value["pending"] = self.pending
        if self.notes:
            value["notes"] = self.notes
        if self.hindered:
            value["hindered"] = self.hindered
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
            pending = value.get("pending", {})
            if isinstance(pending, list):
                # Marks of earlier versions have the paths alone.
                pending = dict.fromkeys(pending, "")
            pending = {str(path): str(known) for path, known in pending.items()}
            notes = {str(key): str(note) for key, note in value.get("notes", {}).items()}
            hindered = {str(key): str(why) for key, why in value.get("hindered", {}).items()}
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"not a statement of reconvirt: {error!r}") from error
        return cls(fields, devices, pieces, pending, notes, hindered)

    def same_as(self, other: Statement | None) -> bool:
        """Whether the other one says the same, from whichever revision it comes."""
        if other is None:
            return False
        return replace(self, notes=_lasting(self.notes)) == replace(
            other, notes=_lasting(other.notes)
        )

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
            {**other.pending, **self.pending},
            self.notes,
        )


NOTHING = Statement({}, {})


@dataclass(frozen=True, slots=True)
class Origin:
    """Where manifests come from.

    Attributes:
        source: the name of their source; "" where it does not matter.
        former: other names that it had.
        revision: of the manifests; "" if it is not known.
        time: of that revision, in seconds since the epoch; None if it is not known.
    """

    source: str = ""
    former: tuple[str, ...] = ()
    revision: str = ""
    time: float | None = None


NO_ORIGIN = Origin()


def spell(value: object) -> str:
    """A value of a statement as text, equal for equal values; "null" for one that is not stated."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


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
        state: ``running``, ``paused``, ``saved``, ``shutoff``, or ``any``: whichever it is in.
        statement: everything else.
        policy: what may be done.
        unresolved: devices that cannot be found on the host now.
        autostart: whether libvirt shall start it with the host; None where nothing is stated.
        priority: of two that are to be started, the one with the higher number goes first.
        depends_on: the virtual servers that must run before it is started.
        hold: why its manifest has it left alone; None if it does not.
        host: the host that it shall be on; None if its manifest does not say.
        hosts: where it may go when that host is evacuated, the best first.
        positions: where fields stand in the manifest.
        origin: where the manifest comes from.
    """

    name: str
    uuid: str | None
    state: str
    statement: Statement
    policy: Policy = NO_POLICY
    unresolved: tuple[Unresolved, ...] = ()
    autostart: bool | None = None
    priority: int = 0
    depends_on: frozenset[str] = frozenset()
    hold: str | None = None
    host: str | None = None
    hosts: tuple[str, ...] = ()
    positions: Mapping[str, Position] = field(default_factory=dict, compare=False, repr=False)
    origin: Origin = field(default=NO_ORIGIN, compare=False, repr=False)

    @property
    def expected_uuid(self) -> str:
        """The uuid it gets when it is new: stated, or derived from the name."""
        return self.uuid or derive_uuid(self.name)

    def with_devices(self, kind: str, devices: Mapping[str, Stated]) -> Desired:
        """The same with other devices of one kind."""
        listed = {**self.statement.devices, kind: devices}
        return replace(self, statement=replace(self.statement, devices=listed))


SOURCE, STATE, ON_REMOVAL = "source", "state", "on_removal"
IDENTITY_UUID, IDENTITY_NAME, TAKEN_FROM = "uuid", "name", "taken_from"
REVISION, TIME = "revision", "time"
"""The notes in a mark."""

_PASSING = frozenset({REVISION, TIME})


def _lasting(notes: Mapping[str, str]) -> Mapping[str, str]:
    """The notes that do not differ from one revision of the same manifest to the next."""
    return {key: note for key, note in notes.items() if key not in _PASSING}


HOLD = "reconvirt/hold"
"""The annotation that has a virtual server left alone; its value is the reason."""


def desire(manifest: Manifest, defaults: Policy = NO_POLICY, origin: Origin = NO_ORIGIN) -> Desired:
    """What a checked manifest wants, with the table's defaults filled in.

    Args:
        manifest: the manifest.
        defaults: the host's policies, for what the manifest does not state.
        origin: where the manifest comes from.
    """
    spec = _write_out(manifest.spec)
    devices = {kind.name: _devices(manifest.name, kind, spec) for kind in DEVICES}
    policy = read_policy(spec.get("policy", {}), defaults)
    state = str(spec.get("state", "running"))
    uuid = normalise_uuid(manifest.uuid) if manifest.uuid else None
    statement = Statement(
        fill_defaults(manifest.name, FIELDS, _values(FIELDS, spec)),
        {name: listed for name, listed in devices.items() if listed},
        split_fragment(spec["xml"]) if "xml" in spec else {},
        notes=_notes(manifest, uuid, state, policy, origin),
    )
    return Desired(
        manifest.name,
        uuid,
        state,
        statement,
        policy,
        autostart=spec.get("autostart"),
        priority=spec.get("priority", 0),
        depends_on=frozenset(spec.get("dependsOn", ())),
        hold=manifest.annotations.get(HOLD),
        host=spec.get("host"),
        hosts=tuple(spec.get("hosts", ())),
        positions=manifest.positions,
        origin=origin,
    )


def _notes(
    manifest: Manifest, uuid: str | None, state: str, policy: Policy, origin: Origin
) -> Mapping[str, str]:
    notes = {
        SOURCE: origin.source,
        STATE: state,
        ON_REMOVAL: policy.on_removal,
        IDENTITY_UUID: uuid or derive_uuid(manifest.name),
        IDENTITY_NAME: manifest.name,
    }
    if origin.revision:
        notes[REVISION] = origin.revision
    if origin.time is not None:
        notes[TIME] = f"{origin.time:.3f}"
    return notes


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
