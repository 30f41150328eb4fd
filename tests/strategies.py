"""Manifests of many shapes, drawn from the table itself, for the property tests.

Whatever row stands in the table is drawn by the JSON Schema of its values. What must fit together
(sources, addresses, I/O threads) is put right afterwards, so that every drawn manifest is good.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hypothesis import strategies as st

from reconvirt.domain.desired import Desired, desire
from reconvirt.domain.devices import DEVICES
from reconvirt.domain.fields import FIELDS
from reconvirt.domain.kinds.common import ADDRESS_ROWS, PERSISTENT
from reconvirt.domain.rows import NOWHERE, DeviceKind, Field
from reconvirt.manifest.model import Manifest
from reconvirt.manifest.problem import Position
from reconvirt.manifest.units import MEMORY_PATTERN

NAME = "vs"
LETTERS = string.ascii_letters + string.digits + string.punctuation + " äß–"
UNITS = ("KiB", "MiB", "GiB", "MB", "GB", "k")
Drawn = dict[str, Any]

PIECES = (
    "<memoryBacking><nosharepages/></memoryBacking>",
    "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>",
    "<cputune><vcpupin vcpu='5' cpuset='1-2'/></cputune>",
    "<cputune><vcpupin vcpu='6' cpuset='1'/><emulatorpin cpuset='0'/></cputune>",
    "<features><kvm><hidden state='on'/></kvm></features>",
    "<devices><sound model='ich6'/></devices>",
    "<devices><shmem name='s'><size unit='M'>4</size></shmem></devices>",
    "<devices><disk type='volume'><source pool='p'/><target dev='vdy'/></disk></devices>",
)
"""What a manifest may say through ``spec.xml``, and no key can."""

_LARGEST = 2**40
_MOST_DEVICES = 5
_MOST_IOTHREADS = 4
_MEMORY = st.builds("{} {}".format, st.integers(1, 4096), st.sampled_from(UNITS))
_CPUSETS = st.sampled_from(["0", "0-3", "1,3,5", "0-7,^2", "8,0-1", "3,2,1"])


def spellings(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """What a manifest may say where this schema stands."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "string":
        return _texts(schema)
    if schema["type"] == "integer":
        return st.integers(schema["minimum"], schema.get("maximum", _LARGEST))
    if schema["type"] == "array":
        least = schema.get("minItems", 0)
        return st.lists(spellings(schema["items"]), min_size=least, max_size=4, unique=True)
    return st.booleans()


def _texts(schema: Mapping[str, Any]) -> st.SearchStrategy[str]:
    pattern = schema.get("pattern")
    if pattern == MEMORY_PATTERN:
        return _MEMORY
    if "0-3,8" in schema.get("examples", ()):
        return _CPUSETS
    if pattern is None:
        return st.text(LETTERS, min_size=schema["minLength"], max_size=20)
    words = st.from_regex(pattern, fullmatch=True, alphabet=LETTERS)
    return words.filter(lambda word: len(word) >= schema.get("minLength", 0))


_ALL_ROWS = (*FIELDS, *(row for kind in DEVICES for row in kind.fields))
_SPELLINGS = {id(row): spellings(row.kind.schema) for row in _ALL_ROWS}
_ADDRESS_NUMBERS = {
    "ccw": ("cssid", "ssid", "devno"),
    "pci": ("domain", "bus", "slot", "function"),
    "drive": ("controller", "bus", "target", "unit"),
}
_ADDRESS_ROWS = {row.name: row for row in ADDRESS_ROWS}


@st.composite
def few(draw: st.DrawFn, rows: tuple[Field, ...], most: int = 6) -> Drawn:
    """Values, by dotted names, of the rows that must be stated and of a few others."""
    free = [row for row in rows if not row.required]
    chosen = draw(st.lists(st.sampled_from(free), unique_by=id, max_size=most)) if free else []
    listed = {id(row) for row in (*chosen, *(row for row in rows if row.required))}
    return {row.name: draw(_SPELLINGS[id(row)]) for row in rows if id(row) in listed}


@st.composite
def _addresses(draw: st.DrawFn, number: int) -> Drawn:
    kind = draw(st.sampled_from(sorted(_ADDRESS_NUMBERS)))
    names = [f"address.{name}" for name in _ADDRESS_NUMBERS[kind]]
    numbers = {name: draw(_SPELLINGS[id(_ADDRESS_ROWS[name])]) for name in names}
    if kind == "ccw":
        numbers["address.devno"] = number
    return {"address.type": kind, **numbers}


def nest(rows: Iterable[Field], values: Drawn) -> Drawn:
    """Values by dotted names as nested mappings."""
    nested: Drawn = {}
    for row in rows:
        if row.name in values:
            node = nested
            *parents, leaf = row.name.split(".")
            for parent in parents:
                node = node.setdefault(parent, {})
            node[leaf] = values[row.name]
    return nested


def _drop(values: Drawn, *beginnings: str) -> None:
    for name in [each for each in values if each.startswith(beginnings)]:
        del values[name]


def _disk(values: Drawn, number: int) -> None:
    values["target.dev"] = f"{'vd' if number % 2 else 'sd'}{string.ascii_lowercase[number]}"
    right, wrong = ("file", "dev") if values["type"] == "file" else ("dev", "file")
    _drop(values, f"source.{wrong}")
    values.setdefault(f"source.{right}", f"/images/{number} <&>")
    if "driver.iothread" in values:
        values["driver.iothread"] = 1 + number % _MOST_IOTHREADS


def _interface(values: Drawn, number: int) -> None:
    values["mac.address"] = f"52:54:00:00:00:{number:02X}"
    right = {"bridge": "bridge", "direct": "dev", "network": "network"}.get(values["type"], "none")
    for name in ("bridge", "dev", "network", "portgroup"):
        if name != right:
            _drop(values, f"source.{name}")
    if right != "none":
        values.setdefault(f"source.{right}", "net0")


def _host_device(values: Drawn, number: int) -> None:
    _drop(values, "source.", "model")
    behind: dict[str, Drawn] = {
        "scsi": {"adapter.name": "scsi_host0", "address.target": 1, "address.unit": number},
        "pci": {"address.bus": 1, "address.slot": number, "address.function": 0},
        "usb": {"vendor.id": "0x0001", "product.id": f"0x{number:04x}"},
        "mdev": {"address.uuid": f"11111111-2222-4333-8444-{number:012x}"},
    }
    values |= {f"source.{name}": value for name, value in behind[values["type"]].items()}
    if values["type"] == "mdev":
        values["model"] = "vfio-ccw"


def _controller(values: Drawn, number: int) -> None:
    values["index"] = number
    if "driver.iothread" in values:
        values["driver.iothread"] = 1 + number % _MOST_IOTHREADS


def _feature(values: Drawn, number: int) -> None:
    values["name"] = f"feature{number}"


_PUT_RIGHT: Mapping[str, Callable[[Drawn, int], None]] = {
    "disks": _disk,
    "interfaces": _interface,
    "hostdevs": _host_device,
    "controllers": _controller,
    "features": _feature,
}


@st.composite
def devices(draw: st.DrawFn, kind: DeviceKind, number: int, *, hotplug: bool = False) -> Drawn:
    """One device of a kind, told from others by ``number``."""
    rows = tuple(each for each in kind.fields if each.place is not NOWHERE or each is PERSISTENT)
    values = draw(few(tuple(each for each in rows if each not in ADDRESS_ROWS)))
    if any(row in ADDRESS_ROWS for row in rows) and draw(st.booleans()):
        values |= draw(_addresses(number))
    if "boot.order" in values:
        values["boot.order"] = number + 1
    if not hotplug:
        values.pop(PERSISTENT.name, None)
    _PUT_RIGHT.get(kind.name, lambda _values, _number: None)(values, number)
    return nest(kind.fields, values)


@st.composite
def fields(draw: st.DrawFn) -> Drawn:
    """The fields of a virtual server, without its devices."""
    values = draw(few(FIELDS, most=10))
    values["vcpu.maximum"] = draw(st.integers(1, 8))
    if "vcpu.current" in values:
        values["vcpu.current"] = draw(st.integers(1, values["vcpu.maximum"]))
    if {"os.initrd", "os.cmdline"} & set(values):
        values.setdefault("os.kernel", "/k")
    if not values.get("os.cmdline", "stated").strip():
        values["os.cmdline"] = "quiet"
    values |= {"os.arch": "s390x", "os.machine": "s390-ccw-virtio"}
    if "iothreads" in values:
        values["iothreads"] = draw(st.integers(0, _MOST_IOTHREADS))
    if "iothreadids" in values and "iothreads" in values:
        values["iothreads"] = len(values["iothreadids"])
    return values


@st.composite
def specs(draw: st.DrawFn, *, hotplug: bool = False) -> Drawn:
    """The ``spec`` of a good manifest, with fields and devices of all kinds."""
    values = draw(fields())
    kinds = draw(st.lists(st.sampled_from(DEVICES), max_size=_MOST_DEVICES))
    listed: dict[str, list[Drawn]] = {}
    for number, kind in enumerate(kinds):
        made = draw(devices(kind, number, hotplug=hotplug))
        listed.setdefault(kind.name, []).append(made)
    if "os.boot" in values:
        for made in (each for kind in listed.values() for each in kind):
            made.pop("boot", None)
    if "iothread" in {key for each in listed.values() for d in each for key in d.get("driver", {})}:
        values["iothreads"] = _MOST_IOTHREADS
        values.pop("iothreadids", None)
    spec = nest(FIELDS, values)
    for kind in DEVICES:
        if kind.name in listed:
            made_list = listed[kind.name]
            where = spec.setdefault(kind.where, {})
            where[kind.name] = made_list[0] if kind.single else made_list
    for short in ("memory", "vcpu"):
        if len(spec[short]) == 1 and draw(st.booleans()):
            (spec[short],) = spec[short].values()
    if parts := draw(st.lists(st.sampled_from(PIECES), max_size=2)):
        spec["xml"] = f"<domain>{''.join(parts)}</domain>"
    return {**spec, "state": "shutoff"}


def wanted(spec: Drawn, name: str = NAME, uuid: str | None = None) -> Desired:
    """What a manifest with this ``spec`` wants."""
    return desire(Manifest(name, uuid, {}, spec, Position("test.yaml", 1, 1), digest=""))


DESIRED = specs().map(wanted)
