"""Checks across the fields of a manifest, which JSON Schema cannot make.

Each check is a row of :data:`CHECKS`; it sees only documents that the schema allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from lxml import etree

from reconvirt.manifest.document import Document, Path
from reconvirt.manifest.identity import derive_mac, normalise_mac
from reconvirt.manifest.problem import Problem
from reconvirt.manifest.units import MOST_MEMORY, format_memory, is_cpuset, parse_memory
from reconvirt.manifest.validate import field_name

Found: TypeAlias = Iterator[tuple[Path, str, str]]
"""Where, what is wrong, and what is allowed."""


def check_values(document: Document) -> Iterator[Problem]:
    """What does not fit together."""
    for check in CHECKS:
        for path, message, allowed in check(document.value):
            yield Problem(document.position(path), field_name(path), message, allowed)


_AMOUNTS: tuple[Path, ...] = (
    *(("memory",), ("memory", "size"), ("currentMemory",)),
    *(("memtune", name) for name in ("hard_limit", "soft_limit", "swap_hard_limit")),
)


def _memory(manifest: Mapping[str, Any]) -> Found:
    for path in _AMOUNTS:
        amount = _look(manifest["spec"], path)
        if isinstance(amount, str) and not 1 <= parse_memory(amount) <= MOST_MEMORY:
            message = f"{amount} is out of range"
            yield ("spec", *path), message, f"1 KiB to {format_memory(MOST_MEMORY)}"


def _vcpus(manifest: Mapping[str, Any]) -> Found:
    vcpu = manifest["spec"]["vcpu"]
    if isinstance(vcpu, Mapping) and vcpu.get("current", 1) > vcpu["maximum"]:
        message = f"{vcpu['current']} is more than spec.vcpu.maximum ({vcpu['maximum']})"
        yield ("spec", "vcpu", "current"), message, f"1 to {vcpu['maximum']}"


def _cpusets(manifest: Mapping[str, Any]) -> Found:
    cpuset = _look(manifest["spec"], ("vcpu", "cpuset"))
    if cpuset is not None and not is_cpuset(cpuset):
        message = f"{cpuset} is no set of CPUs, or an empty one"
        yield ("spec", "vcpu", "cpuset"), message, "such as 0-3,8"


def _kernel(manifest: Mapping[str, Any]) -> Found:
    system = manifest["spec"]["os"]
    for key in ("initrd", "cmdline"):
        if key in system and "kernel" not in system:
            yield ("spec", "os", key), "it needs spec.os.kernel beside it", ""
    if system.get("cmdline", "stated").isspace():
        yield ("spec", "os", "cmdline"), "it is empty", ""


def _disk_targets(manifest: Mapping[str, Any]) -> Found:
    yield from _unique(
        (path, each["target"]["dev"], ("target", "dev"))
        for path, each in _devices(manifest, "disks")
    )


def _boot_orders(manifest: Mapping[str, Any]) -> Found:
    yield from _unique(
        (path, each["boot"]["order"], ("boot", "order"))
        for kind in ("disks", "interfaces", "hostdevs")
        for path, each in _devices(manifest, kind)
        if "order" in each.get("boot", {})
    )


def _boot_devices(manifest: Mapping[str, Any]) -> Found:
    if "boot" not in manifest["spec"]["os"]:
        return
    for kind in ("disks", "interfaces", "hostdevs"):
        for path, each in _devices(manifest, kind):
            if "order" in each.get("boot", {}):
                message = "it cannot stand beside spec.os.boot"
                yield (*path, "boot", "order"), message, "one of the two"


def _disk_sources(manifest: Mapping[str, Any]) -> Found:
    keys = {"file": "file", "block": "dev"}
    for path, disk in _devices(manifest, "disks"):
        right = keys[disk["type"]]
        source = disk.get("source", {})
        for key in source:
            if key in keys.values() and key != right:
                message = f"a disk of the type {disk['type']} has source.{right}"
                yield (*path, "source", key), message, right
        if right not in source and disk.get("device") not in ("cdrom", "floppy"):
            yield path, f"a disk of the type {disk['type']} needs source.{right}", ""


def _written_once(manifest: Mapping[str, Any]) -> Found:
    """Two disks of one virtual server that write to one source."""
    written = (
        (path, disk["source"][key], ("source", key))
        for path, disk in _devices(manifest, "disks")
        for key in ("file", "dev")
        if key in disk.get("source", {})
        and disk.get("device") not in ("cdrom", "floppy")
        and not (disk.get("readonly") or disk.get("shareable"))
    )
    yield from _unique(written)


def _images(manifest: Mapping[str, Any]) -> Found:
    for path, disk in _devices(manifest, "disks"):
        create = disk.get("create")
        if create is None:
            continue
        here, right = (*path, "create"), disk["driver"]["type"]
        if disk["type"] != "file" or disk.get("device", "disk") != "disk":
            yield here, "only image files of disks can be made", "type: file"
        if create.get("format", right) != right:
            message = f"driver.type says {right}: an image is used in the format it is made in"
            yield (*here, "format"), message, right
        backing = create.get("backing")
        if "size" not in create and backing is None:
            yield here, "size must be stated", ""
        if backing is not None:
            if right != "qcow2":
                yield (*here, "backing"), "only qcow2 images have a backing file", ""
            for key in {"file", "format"} - set(backing):
                yield (*here, "backing"), f"{key} must be stated", ""
        if "size" in create and not 1 <= parse_memory(create["size"]) <= MOST_MEMORY:
            yield (*here, "size"), f"{create['size']} is out of range", ""


def _iothreads(manifest: Mapping[str, Any]) -> Found:
    spec = manifest["spec"]
    ids = spec.get("iothreadids")
    most = spec.get("iothreads", 0)
    if ids is not None and "iothreads" in spec and most != len(ids):
        yield ("spec", "iothreads"), f"spec.iothreadids lists {len(ids)}", str(len(ids))
    known = set(ids) if ids is not None else set(range(1, most + 1))
    for kind in ("disks", "controllers"):
        for path, each in _devices(manifest, kind):
            number = each.get("driver", {}).get("iothread")
            if number is not None and number not in known:
                message = f"there is no I/O thread {number}: spec.iothreads is {most}"
                allowed = ", ".join(map(str, sorted(known))) if ids else f"1 to {most}"
                yield (*path, "driver", "iothread"), message, allowed if known else "none"


_SOURCES = {"bridge": "bridge", "direct": "dev", "network": "network"}


def _interface_sources(manifest: Mapping[str, Any]) -> Found:
    for path, each in _devices(manifest, "interfaces"):
        right = _SOURCES.get(each["type"])
        source = each.get("source", {})
        if right is not None and right not in source:
            yield path, f"an interface of the type {each['type']} needs source.{right}", ""
        for key in source:
            if key in _SOURCES.values() and key != right:
                message = f"an interface of the type {each['type']} has no source.{key}"
                yield (*path, "source", key), message, right or "nothing"


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


_STABLE, _FOUND = ("device", "wwpn", "lun"), ("target", "unit")


def _host_devices(manifest: Mapping[str, Any]) -> Found:
    for path, each in _devices(manifest, "hostdevs"):
        source = each.get("source", {})
        address, here = source.get("address", {}), (*path, "source")
        by_id = {"vendor", "product"} <= set(source) or {"bus", "device"} <= set(address)
        match each["type"]:
            case "scsi":
                yield from _scsi_source(here, source)
            case "pci" if not address:
                yield here, "it needs address.bus, .slot and .function", ""
            case "usb" if not by_id:
                yield here, "it needs vendor.id and product.id, or address.bus and .device", ""
            case "mdev" if "uuid" not in address or "model" not in each:
                yield path, "it needs model and source.address.uuid", ""


def _scsi_source(path: Path, source: Mapping[str, Any]) -> Found:
    address = source.get("address", {})
    stable = [key for key in _STABLE if key in source]
    if stable and len(stable) < len(_STABLE):
        yield path, "device, wwpn and lun name a SCSI device together", ""
    elif stable and ("adapter" in source or address):
        yield path, "name it by device, wwpn and lun, or by adapter and address", ""
    elif not stable and not ("adapter" in source and set(_FOUND) <= set(address)):
        message = "it needs adapter.name, address.target and address.unit, or what is stable: "
        yield path, f"{message}device, wwpn and lun", ""


def _controllers(manifest: Mapping[str, Any]) -> Found:
    # Several USB controllers of one index are companions of each other.
    yield from _unique(
        (path, f"{each['type']} {each.get('index', 0)}", ("index",))
        for path, each in _devices(manifest, "controllers")
        if each["type"] != "usb"
    )


def _device_numbers(manifest: Mapping[str, Any]) -> Found:
    numbers = []
    for kind, listed in manifest["spec"].get("devices", {}).items():
        if not isinstance(listed, list):
            continue
        for path, each in _devices(manifest, kind):
            address = each.get("address", {})
            if "devno" in address:
                number = (address.get("cssid", 0xFE), address.get("ssid", 0), address["devno"])
                numbers.append((path, "{:x}.{:x}.{:04x}".format(*number), ("address", "devno")))
    yield from _unique(iter(numbers))


_NOT_IN_XML = {"name": "metadata.name", "uuid": "metadata.uuid", "metadata": "metadata"}


def _fragment(manifest: Mapping[str, Any]) -> Found:
    text, path = manifest["spec"].get("xml"), ("spec", "xml")
    if text is None:
        return
    try:
        parser = etree.XMLParser(resolve_entities=False, no_network=True)
        root = etree.fromstring(text, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        yield path, f"not XML: {error}", "a <domain> element"
        return
    if "<!DOCTYPE" in text:
        yield path, "it must not declare a document type", ""
    if root.tag != "domain":
        yield path, f"its outermost element is {root.tag}", "<domain>"
        return
    for child in root:
        if child.tag in _NOT_IN_XML:
            yield path, f"<{child.tag}> cannot be stated here", _NOT_IN_XML[str(child.tag)]
    try:
        etree.tostring(root, method="c14n", exclusive=True)
    except etree.C14NError:
        yield path, "the name of a namespace is no URI", "such as http://example.org/ns"
    if set(root.attrib):
        yield path, f"<domain> has attributes: {', '.join(map(str, root.attrib))}", "spec.type"


_ANNOTATIONS = ("reconvirt/hold",)


def _annotations(manifest: Mapping[str, Any]) -> Found:
    for name, value in manifest["metadata"].get("annotations", {}).items():
        path = ("metadata", "annotations", name)
        if name.startswith("reconvirt/") and name not in _ANNOTATIONS:
            yield path, "reconvirt knows no such annotation", ", ".join(_ANNOTATIONS)
        elif name in _ANNOTATIONS and not value.strip():
            yield path, "it must say why", ""


def _dependencies(manifest: Mapping[str, Any]) -> Found:
    if manifest["metadata"]["name"] in manifest["spec"].get("dependsOn", ()):
        yield ("spec", "dependsOn"), "it cannot wait for itself", ""


CHECKS: tuple[Callable[[Mapping[str, Any]], Found], ...] = (
    _memory,
    _vcpus,
    _cpusets,
    _kernel,
    _disk_targets,
    _boot_orders,
    _boot_devices,
    _disk_sources,
    _written_once,
    _images,
    _iothreads,
    _interface_sources,
    _mac_addresses,
    _host_devices,
    _controllers,
    _device_numbers,
    _fragment,
    _annotations,
    _dependencies,
)


def _look(value: Any, path: Path) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


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
