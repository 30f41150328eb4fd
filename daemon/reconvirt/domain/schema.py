"""The JSON Schema of manifests, printed from the table.

``schemas/reconvirt-v1.schema.json`` is this module's output; a test holds that they agree.
"""

from __future__ import annotations

from typing import Any

from reconvirt.domain.devices import DEVICES
from reconvirt.domain.fields import FIELDS
from reconvirt.domain.rows import Field
from reconvirt.domain.values import Schema

_TITLES = {
    "os": "Operating system and machine",
    "cputune": "CPU tuning",
    "features": "Features",
    "devices": "Devices",
    "memballoon": "Memory balloon",
    "driver": "Driver",
    "source": "What stands behind it on the host",
    "target": "What the guest sees",
    "boot": "Boot",
    "address": "Address",
    "mac": "MAC address",
    "model": "Model",
    "log": "Log",
}

_NAME: Schema = {
    "type": "string",
    "title": "Name",
    "description": "The virtual server's name in libvirt, unique over all manifests.",
    # Not "." or "..", no slash or control character, no space at either end.
    "pattern": r"^(?!\.{1,2}$)"
    r"[^\s/\u0000-\u001f\u007f]([^/\u0000-\u001f\u007f]*[^\s/\u0000-\u001f\u007f])?$",
    "maxLength": 200,
    "examples": ["web1"],
}

_METADATA: Schema = {
    "type": "object",
    "title": "Metadata",
    "description": "Which virtual server this is.",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": _NAME,
        "uuid": {
            "type": "string",
            "title": "UUID",
            "description": "The uuid it gets when it is made; derived from the name if not "
            "stated. Stating the uuid of an existing virtual server takes that one over.",
            "pattern": "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$",
            "examples": ["8f1c6a0e-5d0b-4c36-9d0e-6b0f6c1f2a11"],
        },
        "labels": {
            "type": "object",
            "title": "Labels",
            "description": "Words of your own to sort virtual servers by.",
            "additionalProperties": {"type": "string"},
        },
    },
}

_STATE: Schema = {
    "enum": ["running", "shutoff"],
    "title": "State",
    "description": "running: it is started; shutoff: its guest is asked to shut down.",
    "default": "running",
}


def manifest_schema() -> Schema:
    """The whole schema, draft 2020-12."""
    spec = _object("Virtual server", FIELDS)
    spec["properties"] = {"state": _STATE, **spec["properties"]}
    _shorten_vcpu(spec["properties"])
    for kind in DEVICES:
        spec["properties"]["devices"]["properties"][kind.name] = {
            "type": "array",
            "title": kind.title,
            "description": kind.description,
            "items": _object(kind.title, kind.fields),
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:reconvirt:v1:schema",
        "title": "reconvirt manifest",
        "description": "The desired state of one KVM virtual server.",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
        "properties": {
            "apiVersion": {
                "const": "reconvirt/v1",
                "title": "Version of the format",
                "description": "Always reconvirt/v1.",
            },
            "kind": {
                "const": "VirtualServer",
                "title": "Kind",
                "description": "Always VirtualServer.",
            },
            "metadata": _METADATA,
            "spec": spec
            | {"description": "What the virtual server shall be. Keys are libvirt's elements."},
        },
    }


def _object(title: str, rows: tuple[Field, ...]) -> dict[str, Any]:
    """The nested objects that the dotted names of the rows span."""
    root = _empty(title)
    for row in rows:
        node = root
        *parents, leaf = row.name.split(".")
        for parent in parents:
            if row.required and parent not in node["required"]:
                node["required"].append(parent)
            properties = node["properties"]
            node = properties.setdefault(parent, _empty(_TITLES.get(parent, parent)))
        if row.required:
            node["required"].append(leaf)
        about = row.description
        if more := row.kind.schema.get("description"):
            about = f"{about} {more}"
        node["properties"][leaf] = {
            **row.kind.schema,
            "title": row.title,
            "description": f"{about} Takes effect: {row.effects.effect}."
            if row.effects.effect != "refused"
            else f"{about} It cannot be changed later.",
        }
    return root


def _empty(title: str) -> dict[str, Any]:
    return {
        "type": "object",
        "title": title,
        "required": [],
        "additionalProperties": False,
        "properties": {},
    }


def _shorten_vcpu(properties: dict[str, Any]) -> None:
    """``vcpu`` may be just a number."""
    full = properties["vcpu"] | {"title": "vCPUs, at most and now"}
    number = full["properties"]["maximum"] | {
        "title": "vCPUs",
        "description": "The number of virtual CPUs, all of them on.",
    }
    properties["vcpu"] = {
        "title": "Virtual CPUs",
        "description": "A number, or maximum and current.",
        "oneOf": [number, full],
    }
