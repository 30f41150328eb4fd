"""Reading a manifest out of a domain's XML.

The table says what can be stated by keys; what it does not know goes into ``spec.xml``; what
libvirt fills in by itself is left out, and so are secrets.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jsonschema
from lxml import etree

from reconvirt.domain.compare import device_path, index_devices, piece_path
from reconvirt.domain.devices import DEVICES
from reconvirt.domain.fields import FIELDS
from reconvirt.domain.fragment import index_pieces
from reconvirt.domain.kinds.common import PERSISTENT, implied_address
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.rows import NOWHERE, DeviceKind, Field, Stated
from reconvirt.domain.values import Value
from reconvirt.domain.xmltree import attributes, is_bare, parse_xml, print_xml, remove

if TYPE_CHECKING:
    from lxml.etree import _Element

_STATES = {State.RUNNING: "running", State.BLOCKED: "running", State.SHUTOFF: "shutoff"}
_DEFAULT_CPUS = {"x86_64": "qemu64", "i686": "qemu32", "s390x": "qemu"}
_NO_KEY = ("name", "uuid", "genid", "metadata")


@dataclass(slots=True)
class Draft:
    """A manifest in the making.

    Attributes:
        manifest: the manifest.
        comments: what was decided, for people.
        devices: the paths of its listed devices, by kind, in their order.
    """

    manifest: dict[str, Any]
    comments: list[str] = field(default_factory=list)
    devices: dict[str, list[str]] = field(default_factory=dict)


def draft_manifest(
    observed: Observed, unfit: frozenset[str] = frozenset(), *, addresses: bool = False
) -> Draft:
    """The manifest of a virtual server as its configuration is.

    Args:
        observed: the virtual server.
        unfit: paths of fields, devices and pieces that cannot be stated in their usual place:
            they go into ``spec.xml``, or are left out if they are there already.
        addresses: whether also those addresses are stated that libvirt has chosen by itself.
    """
    return _Reader(observed, unfit, addresses).draft()


class _Reader:
    """Reads one virtual server; what is read is taken out of ``rest``."""

    def __init__(self, observed: Observed, unfit: frozenset[str], addresses: bool) -> None:
        self._observed = observed
        self._unfit = unfit
        self._addresses = addresses
        self._config = parse_xml(observed.config)
        self._comments: list[str] = []
        self._drop_secrets(self._config)
        self._drop_implied(self._config)
        self._rest = copy.deepcopy(self._config)
        self._there = dict(zip(self._config.iter(), self._rest.iter(), strict=True))

    def draft(self) -> Draft:
        """The manifest."""
        observed = self._observed
        spec: dict[str, Any] = {}
        state = _STATES.get(observed.state, "any")
        if state != "running":
            spec["state"] = state
        fields = read_out(FIELDS, self._config, observed.name, self._rest, self._unfit)
        nest(FIELDS, fields, spec)
        for row in FIELDS:
            _shorten(row, spec)
        devices: dict[str, list[str]] = {}
        for kind in DEVICES:
            listed = self._list_devices(kind)
            if kind.foreign and observed.live:
                listed += self._list_plugged(kind)
            if listed:
                values = [nest(kind.fields, stated, {}) for _, stated in listed]
                spec.setdefault(kind.where, {})[kind.name] = values[0] if kind.single else values
                devices[kind.path] = [path for path, _ in listed]
        if (fragment := self._fragment()) is not None:
            spec["xml"] = f"{fragment}\n"
        manifest = {
            "apiVersion": "reconvirt/v1",
            "kind": "VirtualServer",
            "metadata": {"name": observed.name, "uuid": observed.uuid},
            "spec": spec,
        }
        return Draft(manifest, self._comments, devices)

    def _drop_secrets(self, root: _Element) -> None:
        for graphics in root.iterfind("devices/graphics[@passwd]"):
            for name in ("passwd", "passwdValidTo", "connected"):
                graphics.attrib.pop(name, "")
            self._comments.append(
                "The password of its graphics is not written here; it stays as libvirt has it."
            )

    def _drop_implied(self, root: _Element) -> None:
        """Take out what has no place in a manifest, and what libvirt adds and no row knows."""
        for tag in _NO_KEY:
            for element in root.findall(tag):
                root.remove(element)
        system = root.find("os/type")
        arch = "" if system is None else system.get("arch", "")
        if system is not None and system.text == "hvm":
            system.text = None
        cpu = root.find("cpu")
        if cpu is not None and _is_default_cpu(cpu, arch):
            root.remove(cpu)
        for device in [*root.iterfind("devices/audio"), *root.iterfind("devices/panic")]:
            if _is_added(device):
                remove(device)
        for child in [each for each in root if etree.QName(each).namespace is not None]:
            remove(child)
            name = etree.QName(child)
            self._comments.append(
                f"<{name.localname}> of {name.namespace} is not stated: it stays as libvirt has it."
            )

    def _list_devices(self, kind: DeviceKind) -> list[tuple[str, Stated]]:
        """The devices of one kind that the manifest lists, with their paths."""
        groups: dict[str, list[tuple[str, _Element, Stated | None]]] = {}
        for identity, element in index_devices(kind, self._config).items():
            path = device_path(kind, identity)
            stated = None if path in self._unfit else self._state_device(kind, element)
            group = identity.partition("#")[0]
            groups.setdefault(group, []).append((path, element, stated))
        listed: list[tuple[str, Stated]] = []
        for devices in groups.values():
            if len(devices) == 1 and kind.implied(devices[0][1], self._config):
                remove(self._there[devices[0][1]])
                continue
            # Devices that only their order tells apart are stated in one place, all or none.
            if any(stated is None for _, _, stated in devices):
                continue
            for path, element, stated in devices:
                remove(self._there[element])
                listed.append((path, stated or {}))
        return listed

    def _list_plugged(self, kind: DeviceKind) -> list[tuple[str, Stated]]:
        """Hotplug devices: plugged into what runs, and not part of the configuration."""
        live = parse_xml(self._observed.live or "")
        configured = index_devices(kind, self._config)
        listed: list[tuple[str, Stated]] = []
        for identity, element in index_devices(kind, live).items():
            if identity in configured:
                continue
            path = device_path(kind, identity)
            stated = None if path in self._unfit else self._state_device(kind, _unplugged(element))
            if stated is None:
                self._comments.append(f"{path} is plugged in by hand and is not stated here.")
            else:
                listed.append((path, {**stated, PERSISTENT.name: False}))
        return listed

    def _state_device(self, kind: DeviceKind, element: _Element) -> Stated | None:
        """What is worth stating of a device; None if the table does not know all of it."""
        view = copy.deepcopy(element)
        alias = view.find("alias")
        if alias is not None and not alias.get("name", "").startswith("ua-"):
            remove(alias)
        implied = kind.implied_address or implied_address
        address = view.find("address")
        if address is not None and not self._addresses and implied(view):
            remove(address)
        rest = copy.deepcopy(view)
        stated = read_out(kind.fields, view, self._observed.name, rest, frozenset(), whole=True)
        return stated if is_bare(rest) else None

    def _fragment(self) -> str | None:
        """What is left over, as the text of ``spec.xml``."""
        self._rest.attrib.clear()
        for key, element in index_pieces(self._rest).items():
            if piece_path(key) in self._unfit:
                remove(element)
                self._comments.append(
                    f"{key} cannot be stated so that it compares equal; it is left out, and "
                    "stays as libvirt has it."
                )
        for child in list(self._rest):
            if is_bare(child):
                remove(child)
        return print_xml(self._rest) if len(self._rest) else None


def read_out(
    rows: tuple[Field, ...],
    element: _Element,
    name: str,
    rest: _Element,
    unfit: frozenset[str],
    *,
    whole: bool = False,
) -> dict[str, Value]:
    """The values that are worth stating: those that neither libvirt nor a default fills in.

    Args:
        rows: the rows to read.
        element: where from.
        name: the virtual server's name.
        rest: a copy of ``element``, from which all is taken that was read.
        unfit: names of rows that are not read.
        whole: give up where a default would add what is not there.

    Returns:
        Values by name.
    """
    known: dict[str, Value] = {}
    worth: dict[str, Value] = {}
    for row in rows:
        if row.place is NOWHERE or row.name in unfit:
            continue
        found, default = row.read(element), row.default(name, known)
        if found is None:
            if whole and default is not None:
                etree.SubElement(rest, "missing")  # it is not bare, then: no key can say so
            continue
        if found is False and not default:
            continue
        if not _can_state(row, found):
            continue
        known[row.name] = found
        row.place.consume(rest)
        if found != default and (default is not None or not row.implied(found, known)):
            worth[row.name] = found
    return worth


def nest(
    rows: tuple[Field, ...], stated: Mapping[str, Value], into: dict[str, Any]
) -> dict[str, Any]:
    """Values by dotted names as nested mappings, in the manifest's spelling."""
    for row in rows:
        if row.name in stated:
            node = into
            *parents, leaf = row.name.split(".")
            for parent in parents:
                node = node.setdefault(parent, {})
            node[leaf] = row.kind.dump(stated[row.name])
    return into


def _shorten(row: Field, spec: dict[str, Any]) -> None:
    parent, _, leaf = row.name.partition(".")
    if row.short and isinstance(spec.get(parent), dict) and set(spec[parent]) == {leaf}:
        spec[parent] = spec[parent][leaf]


def _can_state(row: Field, value: Value) -> bool:
    """Whether a manifest may say so."""
    try:
        spelled = row.kind.dump(value)
        # Not jsonschema.validate: that would check the table's own schemas each time.
        allowed = jsonschema.Draft202012Validator(row.kind.schema).is_valid(spelled)
        return allowed and row.kind.parse(spelled) == value
    except ValueError:
        return False


def _is_added(device: _Element) -> bool:
    """Whether libvirt has added an audio backend or a panic device by itself."""
    if len(device) and device.tag == "audio":
        return False
    if device.tag == "audio":
        return set(device.attrib) == {"id", "type"} and device.get("type") in ("none", "spice")
    return set(device.attrib) == {"model"} and device.get("model") in ("s390", "pseries")


def _is_default_cpu(cpu: _Element, arch: str) -> bool:
    """Whether libvirt has filled in the processor of QEMU's own choice."""
    model = cpu.find("model")
    return (
        attributes(cpu) == {"mode": "custom", "match": "exact", "check": "none"}
        and len(cpu) == 1
        and model is not None
        and model.text == _DEFAULT_CPUS.get(arch)
        and model.get("fallback") == "forbid"
    )


def _unplugged(element: _Element) -> _Element:
    """A device of what runs without what libvirt has added at the start."""
    bare = copy.deepcopy(element)
    for path in ("address", "alias", "backingStore"):
        for child in bare.findall(path):
            bare.remove(child)
    source, target = bare.find("source"), bare.find("target")
    if source is not None:
        for name in ("index", "portid"):
            source.attrib.pop(name, "")
    if bare.tag == "interface" and target is not None:
        bare.remove(target)
    return bare
