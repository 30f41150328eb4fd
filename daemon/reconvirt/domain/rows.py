"""What a row of the table is: a field of a virtual server or of a device, and a kind of device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from reconvirt.domain.effects import Effects
from reconvirt.domain.places import Attribute, Nowhere, Place
from reconvirt.domain.values import Kind, Value

if TYPE_CHECKING:
    from lxml.etree import _Element

Stated: TypeAlias = Mapping[str, Value]
"""Values by the names of their fields, such as ``{"target.dev": "vda"}``."""

Default: TypeAlias = Callable[[str, Stated], Value | None]
"""(name of the virtual server, what the manifest states) → the value, or None for none."""


BY_NAME: Place = Nowhere()
"""Stands for the attribute that a field's name leads to."""

NOWHERE: Place = Nowhere()
"""For fields that libvirt's XML knows nothing of."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a virtual server or of a device.

    Attributes:
        name: the dotted path below ``spec``, or below the device, in a manifest.
        kind: its values.
        effects: how a change takes effect on a running virtual server.
        title: what it is, in a few words.
        description: what it means and where it is described.
        place: where it stands in libvirt's XML; if not given, an attribute by its name:
            ``driver.cache`` is ``cache`` of ``<driver>``.
        required: whether a manifest must state it.
        default: the value where a manifest does not state it, from the virtual server's name
            and from what the manifest does state.
        expanded: libvirt shows it otherwise on a running virtual server (a CPU model written
            out, a port chosen). What runs was started with what its mark says.
        config_only: it says something of the configuration alone.
        short: a manifest may give it in place of the mapping that holds it (``vcpu: 2``).
        implied: whether a value is what libvirt fills in by itself, beside what is stated.
    """

    name: str
    kind: Kind
    effects: Effects
    title: str
    description: str
    place: Place = BY_NAME
    required: bool = False
    default: Default = field(default=lambda _name, _stated: None)
    expanded: bool = False
    config_only: bool = False
    short: bool = False
    implied: Callable[[Value, Stated], bool] = field(default=lambda _value, _stated: False)

    def __post_init__(self) -> None:
        """Place it by its name where nothing else is said."""
        if self.place is BY_NAME:
            element, _, attribute = self.name.rpartition(".")
            place = Attribute(element.replace(".", "/"), attribute)
            object.__setattr__(self, "place", place)

    def read(self, element: _Element) -> Value | None:
        """The value in libvirt's XML; None where it is not there.

        One that cannot be read, such as a word where only numbers are known, is given as the text
        it is: it differs from whatever is wanted.
        """
        text = self.place.get(element)
        if text is None:
            return None
        try:
            return self.kind.read(text)
        except ValueError:
            return text


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """One kind of device: a list in a manifest, repeated elements below ``<devices>``.

    Attributes:
        name: its key below ``spec.devices``, or below ``spec.<where>``.
        element: libvirt's element.
        identity: the fields whose values tell one device of this kind from another.
        key: makes one text of them; those that are there joined by slashes if not given.
        numbered: whether devices with the same identity are told apart by their order.
        source: the fields that say what stands behind the device on the host; they are compared
            before a device is detached.
        fields: the rows, ``address`` after whatever displaces it.
        hotplug: libvirt can plug it into a running virtual server; "" or why it cannot.
        title: what it is, in a few words.
        description: what it means and where it is described.
        where: the element that holds it, and its place in a manifest.
        single: there is at most one, and a manifest gives a mapping and no list.
        implied: whether libvirt adds this device by itself: it need not be stated.
        implied_address: whether the address of a device need not be stated; if not given, only
            channel addresses are worth it.
        foreign: whether one that no manifest lists is drift: it was attached by hand.
    """

    name: str
    element: str
    identity: tuple[str, ...]
    fields: tuple[Field, ...]
    title: str
    description: str
    numbered: bool = False
    source: tuple[str, ...] = ()
    hotplug: Callable[[Stated], str] = field(default=lambda _stated: "")
    where: str = "devices"
    single: bool = False
    implied: Callable[[_Element, _Element], bool] = field(default=lambda _device, _domain: False)
    implied_address: Callable[[_Element], bool] | None = None
    foreign: bool = False
    key: Callable[[Stated], str] | None = None

    @property
    def path(self) -> str:
        """Its path in a manifest below ``spec``."""
        return f"{self.where}.{self.name}"

    def identify(self, stated: Stated, seen: dict[str, int]) -> str:
        """The identity of a device with these values; ``seen`` counts those before it."""
        if self.key is not None:
            identity = self.key(stated)
        else:
            identity = "/".join(str(stated[name]) for name in self.identity if name in stated)
        seen[identity] = seen.get(identity, 0) + 1
        if self.numbered:
            return f"{identity}#{seen[identity]}" if identity else str(seen[identity])
        # Two interfaces of a team have one MAC address.
        return identity if seen[identity] == 1 else f"{identity}#{seen[identity]}"


def fill_defaults(name: str, rows: tuple[Field, ...], stated: Stated) -> Stated:
    """The stated values and, where a row is not stated, its default; earlier rows first."""
    filled = dict(stated)
    for row in rows:
        if row.name not in filled and (default := row.default(name, filled)) is not None:
            filled[row.name] = default
    return filled


def usual(*values: Value) -> Callable[[Value, Stated], bool]:
    """libvirt fills in one of these values by itself."""
    return lambda value, _stated: value in values


def always(value: Value) -> Default:
    """A default that is always the same."""
    return lambda _name, _stated: value
