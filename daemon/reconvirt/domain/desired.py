"""What is wanted of a virtual server, as canonical values by the names of the table's rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from reconvirt.domain.devices import DEVICE_BY_NAME, DEVICES
from reconvirt.domain.fields import FIELD_BY_NAME, FIELDS
from reconvirt.domain.rows import DeviceKind, Field, Stated
from reconvirt.domain.values import Value
from reconvirt.manifest.identity import derive_uuid, normalise_uuid
from reconvirt.manifest.model import Manifest

Devices: TypeAlias = Mapping[str, Mapping[str, Stated]]
"""Devices by the name of their kind and their identity: ``{"disks": {"vda": {…}}}``."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a manifest states, or stated when it was last applied.

    Attributes:
        fields: canonical values by field name; memory in KiB.
        devices: the devices' values by kind and identity.
    """

    fields: Stated
    devices: Devices

    def to_json(self) -> str:
        """One canonical line of JSON, equal for equal statements."""
        value = {"fields": self.fields, "devices": self.devices}
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
            devices = {k: v for k, v in value["devices"].items() if k in DEVICE_BY_NAME}
            known = {
                kind: {
                    identity: _known(DEVICE_BY_NAME[kind], stated)
                    for identity, stated in listed.items()
                }
                for kind, listed in devices.items()
            }
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"not a statement of reconvirt: {error!r}") from error
        return cls(fields, known)

    def including(self, other: Statement) -> Statement:
        """This statement, with what only the other one has."""
        devices = {
            kind: {**other.devices.get(kind, {}), **self.devices.get(kind, {})}
            for kind in sorted({*self.devices, *other.devices})
        }
        return Statement({**other.fields, **self.fields}, devices)


@dataclass(frozen=True, slots=True)
class Desired:
    """One virtual server as its manifest wants it.

    Attributes:
        name: libvirt's name of the domain.
        uuid: its uuid, if the manifest states one.
        state: ``running`` or ``shutoff``.
        statement: everything else.
    """

    name: str
    uuid: str | None
    state: str
    statement: Statement

    @property
    def expected_uuid(self) -> str:
        """The uuid it gets when it is new: stated, or derived from the name."""
        return self.uuid or derive_uuid(self.name)


def desire(manifest: Manifest) -> Desired:
    """What a checked manifest wants, with the table's defaults filled in."""
    spec = _flatten_vcpu(manifest.spec)
    fields = _values(manifest.name, FIELDS, spec)
    listed = spec.get("devices", {})
    return Desired(
        manifest.name,
        normalise_uuid(manifest.uuid) if manifest.uuid else None,
        str(spec.get("state", "running")),
        Statement(fields, {kind.name: _devices(manifest.name, kind, listed) for kind in DEVICES}),
    )


def _flatten_vcpu(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """``vcpu: 2`` is short for ``vcpu: {maximum: 2}``."""
    vcpu = spec.get("vcpu")
    return {**spec, "vcpu": {"maximum": vcpu}} if isinstance(vcpu, int) else spec


def _values(name: str, rows: tuple[Field, ...], spec: Mapping[str, Any]) -> Stated:
    stated = {row.name: row.kind.parse(found) for row, found in _found(rows, spec)}
    for row in rows:
        if row.name not in stated and (default := row.default(name, stated)) is not None:
            stated[row.name] = default
    return stated


def _found(rows: tuple[Field, ...], spec: Mapping[str, Any]) -> Iterator[tuple[Field, Any]]:
    for row in rows:
        value: Any = spec
        for key in row.name.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            yield row, value


def _devices(name: str, kind: DeviceKind, listed: Mapping[str, Any]) -> Mapping[str, Stated]:
    devices: dict[str, Stated] = {}
    seen: dict[str, int] = {}
    for each in listed.get(kind.name, ()):
        stated = _values(name, kind.fields, each)
        devices[kind.identify(stated, seen)] = stated
    return devices


_DEVICE_FIELDS = {kind.name: frozenset(row.name for row in kind.fields) for kind in DEVICES}


def _known(kind: DeviceKind, stated: Mapping[str, Value]) -> Stated:
    names = _DEVICE_FIELDS[kind.name]
    return {name: value for name, value in stated.items() if name in names}
