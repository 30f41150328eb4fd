"""Checks across the fields of a manifest, which JSON Schema cannot make.

Each check is a row of :data:`CHECKS`; it sees only documents that the schema allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from reconvirt.manifest.document import Document, Path
from reconvirt.manifest.identity import derive_mac, normalise_mac
from reconvirt.manifest.model import Problem
from reconvirt.manifest.units import MOST_MEMORY, format_memory, parse_memory
from reconvirt.manifest.validate import field_name

Found: TypeAlias = Iterator[tuple[Path, str, str]]
"""Where, what is wrong, and what is allowed."""


def check_values(document: Document) -> Iterator[Problem]:
    """What does not fit together."""
    for check in CHECKS:
        for path, message, allowed in check(document.value):
            yield Problem(document.position(path), field_name(path), message, allowed)


def _memory(manifest: Mapping[str, Any]) -> Found:
    if not 1 <= parse_memory(manifest["spec"]["memory"]) <= MOST_MEMORY:
        message = f"{manifest['spec']['memory']} is out of range"
        yield ("spec", "memory"), message, f"1 KiB to {format_memory(MOST_MEMORY)}"


def _vcpus(manifest: Mapping[str, Any]) -> Found:
    vcpu = manifest["spec"]["vcpu"]
    if isinstance(vcpu, Mapping) and vcpu.get("current", 1) > vcpu["maximum"]:
        message = f"{vcpu['current']} is more than spec.vcpu.maximum ({vcpu['maximum']})"
        yield ("spec", "vcpu", "current"), message, f"1 to {vcpu['maximum']}"


def _kernel(manifest: Mapping[str, Any]) -> Found:
    system = manifest["spec"]["os"]
    for key in ("initrd", "cmdline"):
        if key in system and "kernel" not in system:
            yield ("spec", "os", key), "it needs spec.os.kernel beside it", ""


def _disk_targets(manifest: Mapping[str, Any]) -> Found:
    yield from _unique(
        (path, each["target"]["dev"], ("target", "dev"))
        for path, each in _devices(manifest, "disks")
    )


def _boot_orders(manifest: Mapping[str, Any]) -> Found:
    yield from _unique(
        (path, each["boot"]["order"], ("boot", "order"))
        for path, each in _devices(manifest, "disks")
        if "order" in each.get("boot", {})
    )


def _disk_sources(manifest: Mapping[str, Any]) -> Found:
    keys = {"file": "file", "block": "dev"}
    for path, disk in _devices(manifest, "disks"):
        right = keys[disk["type"]]
        source = disk.get("source", {})
        for key in source:
            if key in keys.values() and key != right:
                message = f"a disk of the type {disk['type']} has source.{right}"
                yield (*path, "source", key), message, right
        if right not in source and disk.get("device") != "cdrom":
            yield path, f"a disk of the type {disk['type']} needs source.{right}", ""


def _disk_iothreads(manifest: Mapping[str, Any]) -> Found:
    most = manifest["spec"].get("iothreads", 0)
    for path, disk in _devices(manifest, "disks"):
        number = disk.get("driver", {}).get("iothread", 0)
        if number > most:
            message = f"there is no I/O thread {number}: spec.iothreads is {most}"
            yield (*path, "driver", "iothread"), message, f"1 to {most}" if most else "none"


def _mac_addresses(manifest: Mapping[str, Any]) -> Found:
    interfaces = list(_devices(manifest, "interfaces"))
    stated = [
        (path, normalise_mac(each["mac"]["address"]), ("mac", "address"))
        for path, each in interfaces
        if "address" in each.get("mac", {})
    ]
    yield from _unique(iter(stated))
    bare = [path for path, each in interfaces if "address" not in each.get("mac", {})]
    if len(bare) > 1:
        for number, path in enumerate(bare):
            mac = derive_mac(manifest["metadata"]["name"], number)
            message = "of several interfaces each needs mac.address, to tell them apart"
            yield path, message, f"such as {mac}"


def _device_numbers(manifest: Mapping[str, Any]) -> Found:
    numbers = []
    for kind in ("disks", "interfaces"):
        for path, each in _devices(manifest, kind):
            address = each.get("address", {})
            if "devno" in address:
                number = (address.get("cssid", 0xFE), address.get("ssid", 0), address["devno"])
                numbers.append((path, "{:x}.{:x}.{:04x}".format(*number), ("address", "devno")))
    yield from _unique(iter(numbers))


CHECKS: tuple[Callable[[Mapping[str, Any]], Found], ...] = (
    _memory,
    _vcpus,
    _kernel,
    _disk_targets,
    _boot_orders,
    _disk_sources,
    _disk_iothreads,
    _mac_addresses,
    _device_numbers,
)


def _devices(manifest: Mapping[str, Any], kind: str) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    for number, each in enumerate(manifest["spec"].get("devices", {}).get(kind, ())):
        yield ("spec", "devices", kind, number), each


def _unique(values: Iterator[tuple[Path, Any, Path]]) -> Found:
    first: dict[Any, Path] = {}
    for path, value, below in values:
        if value in first:
            message = f"{value} stands at {field_name(first[value])} already"
            yield (*path, *below), message, "each only once"
        first.setdefault(value, (*path, *below))
