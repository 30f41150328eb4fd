"""The JSON Schema of manifests, printed from the table.

``schemas/reconvirt-v1.schema.json`` is this module's output; a test holds that they agree.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reconvirt.domain.devices import DEVICES
from reconvirt.domain.fields import FIELDS
from reconvirt.domain.kinds.common import ADDRESS_ROWS
from reconvirt.domain.policy import policy_schema
from reconvirt.domain.rows import Field
from reconvirt.domain.values import Schema

_TITLES = {
    "os": "Operating system and machine",
    "memory": "Memory",
    "memtune": "Memory tuning",
    "blkiotune": "I/O tuning",
    "vcpu": "Virtual CPUs",
    "cpu": "Processor",
    "topology": "Topology",
    "cputune": "CPU tuning",
    "loader": "Firmware image",
    "nvram": "Firmware variables",
    "bootmenu": "Boot menu",
    "features": "Features",
    "smm": "System management mode",
    "vmport": "VMware port",
    "gic": "Interrupt controller",
    "clock": "Clock",
    "pm": "Power management",
    "suspend-to-mem": "Suspend to memory",
    "suspend-to-disk": "Suspend to disk",
    "image": "Images",
    "gl": "OpenGL",
    "acceleration": "Acceleration",
    "rom": "ROM",
    "keywrap": "Key wrapping",
    "cipher": "Ciphers",
    "devices": "Devices",
    "driver": "Driver",
    "source": "What stands behind it on the host",
    "target": "What the guest sees",
    "adapter": "Adapter",
    "vendor": "Vendor",
    "product": "Product",
    "geometry": "Geometry",
    "blockio": "Block sizes",
    "iotune": "I/O limits",
    "create": "Image to make",
    "backing": "Backing image",
    "boot": "Boot",
    "address": "Address",
    "alias": "Alias",
    "mac": "MAC address",
    "model": "Model",
    "virtualport": "Virtual port",
    "parameters": "Parameters",
    "vlan": "VLAN",
    "tag": "Tag",
    "link": "Link",
    "mtu": "MTU",
    "port": "Port",
    "filterref": "Network filter",
    "bandwidth": "Bandwidth",
    "inbound": "Inbound",
    "outbound": "Outbound",
    "log": "Log",
    "backend": "Backend",
    "rate": "Rate",
    "stats": "Statistics",
    "listen": "Listening",
    "device": "Device",
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
        "annotations": {
            "type": "object",
            "title": "Annotations",
            "description": "Notes; reconvirt/hold, with the reason, has it left alone.",
            "additionalProperties": {"type": "string"},
        },
    },
}

_STATE: Schema = {
    "enum": ["running", "paused", "saved", "shutoff", "any"],
    "title": "State",
    "description": "running: it is started; paused: it is there and does nothing; saved: its "
    "system image is saved and it is ended; shutoff: its guest is asked to shut down; any: it is "
    "left in the state it is in.",
    "default": "running",
}

_LIFE: Schema = {
    "autostart": {
        "type": "boolean",
        "title": "Start with the host",
        "description": "Whether libvirt itself starts it with the host; reconvirt would anyway.",
    },
    "priority": {
        "type": "integer",
        "minimum": -1000,
        "maximum": 1000,
        "title": "Priority",
        "description": "Of those that are to be started, the ones with the highest go first.",
        "default": 0,
    },
    "dependsOn": {
        "type": "array",
        "title": "Dependencies",
        "description": "The virtual servers that must run before this one is started.",
        "items": {"type": "string", "minLength": 1},
        "uniqueItems": True,
    },
}

_PLACE: Schema = {
    "host": {
        "type": "string",
        "minLength": 1,
        "title": "Host",
        "description": "The host that it shall be on, by the name of its Host manifest; another "
        "one moves it there. Without it, it is on every host that reads this manifest.",
    },
    "hosts": {
        "type": "array",
        "title": "Other hosts",
        "description": "Where it may go, the first that can have it, when its host is evacuated.",
        "items": {"type": "string", "minLength": 1},
        "uniqueItems": True,
    },
}

_XML: Schema = {
    "type": "string",
    "title": "Anything else",
    "description": "A <domain> with whatever else libvirt's domain XML has; it is merged by the "
    "same identities of devices, and compared and owned like the rest. Takes effect: at next "
    "start, but for devices that can be hotplugged.",
    "minLength": 1,
}


def manifest_schema() -> Schema:
    """The whole schema, draft 2020-12."""
    spec = _object("Virtual server", FIELDS)
    spec["properties"] = {
        "state": _STATE,
        **_LIFE,
        **_PLACE,
        "policy": policy_schema(),
        **spec["properties"],
        "xml": _XML,
    }
    for row in FIELDS:
        if row.short:
            _shorten(row, spec["properties"])
    for kind in DEVICES:
        item = _object(kind.title, kind.fields)
        spec["properties"][kind.where]["properties"][kind.name] = (
            {**item, "description": kind.description}
            if kind.single
            else {
                "type": "array",
                "title": kind.title,
                "description": kind.description,
                "items": item,
            }
        )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:reconvirt:v1:schema",
        "title": "reconvirt manifest",
        "description": "The desired state of one KVM virtual server.",
        "$defs": {"address": _address()},
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


_ADDRESS: Schema = {
    "title": "Address",
    "description": "Where the guest sees the device; libvirt chooses if not stated.",
}


def _address() -> Schema:
    """The schema of addresses, which all kinds of devices share."""
    rows = (replace(row, name=row.name.partition(".")[2]) for row in ADDRESS_ROWS)
    # Of a number alone nobody could tell what it counts.
    return _object("Address", tuple(rows)) | _ADDRESS | {"required": ["type"]}


def _object(title: str, rows: tuple[Field, ...]) -> dict[str, Any]:
    """The nested objects that the dotted names of the rows span."""
    root = _empty(title)
    for row in rows:
        if row in ADDRESS_ROWS:
            root["properties"]["address"] = {"$ref": "#/$defs/address"} | _ADDRESS
            continue
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


def _shorten(row: Field, properties: dict[str, Any]) -> None:
    """``vcpu`` may be just a number, and ``memory`` just an amount."""
    parent, _, leaf = row.name.partition(".")
    full = properties[parent]
    alone = full["properties"][leaf]
    properties[parent] = {
        "title": full["title"],
        "description": f"Just {row.name}, or a mapping.",
        "oneOf": [alone, full],
    }
