"""Manifests of the kind ``Host``: the hosts between which virtual servers are moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from reconvirt.manifest.problem import Position

Schema: TypeAlias = Mapping[str, Any]


LAST_PORT = 49215
"""The last port that libvirt uses for migrations where its configuration says nothing."""


@dataclass(frozen=True, slots=True)
class HostManifest:
    """One host of the inventory.

    Attributes:
        name: its name, by which ``spec.host`` of a virtual server means it.
        uri: how the other hosts reach its libvirt.
        migrate_uri: where the memory of virtual servers that move there is sent to, such as
            ``tcp://10.0.0.2``; "" for what libvirt itself chooses.
        port_max: the last one at which libvirt has memory and storage arrive there.
        slots_in: how many virtual servers may move there at a time.
        slots_out: how many may move away at a time.
        schedulable: whether virtual servers may move there.
        evacuate: whether those that run there are to move to another host that they list.
        shared: the directories that it shares with every other host that states them, too.
        labels: the administrator's own words.
        position: where its document begins.
    """

    name: str
    uri: str
    migrate_uri: str = ""
    port_max: int = LAST_PORT
    slots_in: int = 1
    slots_out: int = 1
    schedulable: bool = True
    evacuate: bool = False
    shared: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    position: Position = field(default=Position("", 1, 1), compare=False)


def read_host(value: Mapping[str, Any], position: Position) -> HostManifest:
    """The host of a document that the schema allows."""
    metadata, spec = value["metadata"], value["spec"]
    migration = spec.get("migration", {})
    slots = migration.get("slots", {})
    return HostManifest(
        metadata["name"],
        spec["uri"],
        migration.get("uri", ""),
        migration.get("port_max", LAST_PORT),
        slots.get("in", 1),
        slots.get("out", 1),
        spec.get("schedulable", True),
        spec.get("maintenance", {}).get("evacuate", False),
        tuple(spec.get("storage", {}).get("shared", ())),
        metadata.get("labels", {}),
        position,
    )


HOST_NAME: Schema = {
    "type": "string",
    "title": "Name",
    "description": "The host's name, as its own configuration has it in host_name.",
    "pattern": "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$",
    "maxLength": 253,
    "examples": ["zhost2"],
}

_SLOTS: Schema = {
    "type": "integer",
    "minimum": 1,
    "maximum": 64,
    "default": 1,
}


def _object(title: str, description: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "title": title,
        "description": description,
        "required": [],
        "additionalProperties": False,
        "properties": properties,
    }


def host_schema() -> Schema:
    """The JSON Schema of these manifests, draft 2020-12."""
    slots = _object(
        "Slots",
        "How many virtual servers move at a time.",
        **{
            "in": {**_SLOTS, "title": "In", "description": "How many move there at a time."},
            "out": {**_SLOTS, "title": "Out", "description": "How many move away at a time."},
        },
    )
    migration = _object(
        "Migration",
        "How virtual servers move there.",
        uri={
            "type": "string",
            "title": "Migration URI",
            "description": "Where their memory is sent to, if not where libvirt chooses.",
            "pattern": "^tcp://[^/?#]+$",
            "examples": ["tcp://10.0.0.2"],
        },
        port_max={
            "type": "integer",
            "title": "Last port",
            "description": "migration_port_max of the host's /etc/libvirt/qemu.conf; it is tried "
            "before a migration.",
            "minimum": 1024,
            "maximum": 65535,
            "default": LAST_PORT,
        },
        slots=slots,
    )
    spec = _object(
        "Host",
        "How the host is reached, and what it is used for.",
        uri={
            "type": "string",
            "title": "libvirt's URI",
            "description": "How the other hosts reach its libvirt.",
            "pattern": r"^qemu(\+(ssh|tls|tcp|unix))?://\S+$",
            "examples": ["qemu+ssh://zhost2/system", "qemu+tls://zhost2/system"],
        },
        migration=migration,
        storage=_object(
            "Storage",
            "What it shares with other hosts.",
            shared={
                "type": "array",
                "title": "Shared directories",
                "description": "Directories that are the same on every host that states them.",
                "items": {"type": "string", "pattern": "^/.+$", "examples": ["/srv/images"]},
                "uniqueItems": True,
            },
        ),
        schedulable={
            "type": "boolean",
            "title": "Schedulable",
            "description": "Whether virtual servers may move there.",
            "default": True,
        },
        maintenance=_object(
            "Maintenance",
            "What is to be done before somebody works on it.",
            evacuate={
                "type": "boolean",
                "title": "Evacuate",
                "description": "Whether virtual servers move to another host of spec.hosts.",
                "default": False,
            },
        ),
    )
    metadata = _object(
        "Metadata",
        "Which host this is.",
        name=HOST_NAME,
        labels={
            "type": "object",
            "title": "Labels",
            "description": "Words of your own to sort hosts by.",
            "additionalProperties": {"type": "string"},
        },
    )
    document = _object(
        "reconvirt host",
        "A host between which and others virtual servers are moved.",
        apiVersion={
            "const": "reconvirt/v1",
            "title": "Version of the format",
            "description": "Always reconvirt/v1.",
        },
        kind={"const": "Host", "title": "Kind", "description": "Always Host."},
        metadata={**metadata, "required": ["name"]},
        spec={**spec, "required": ["uri"]},
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:reconvirt:v1:host-schema",
        **document,
        "required": ["apiVersion", "kind", "metadata", "spec"],
    }
