"""What a row of the table is: a field of a virtual server or of a device, and a kind of device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from reconvirt.domain.effects import Effects
from reconvirt.domain.places import Place
from reconvirt.domain.values import Kind, Value

Stated: TypeAlias = Mapping[str, Value]
"""Values by the names of their fields, such as ``{"target.dev": "vda"}``."""

Default: TypeAlias = Callable[[str, Stated], Value | None]
"""(name of the virtual server, what the manifest states) → the value, or None for none."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a virtual server or of a device.

    Attributes:
        name: the dotted path below ``spec``, or below the device, in a manifest.
        place: where it stands in libvirt's XML.
        kind: its values.
        effects: how a change takes effect on a running virtual server.
        title: what it is, in a few words.
        description: what it means and where it is described.
        required: whether a manifest must state it.
        default: the value where a manifest does not state it, from the virtual server's name
            and from what the manifest does state.
    """

    name: str
    place: Place
    kind: Kind
    effects: Effects
    title: str
    description: str
    required: bool = False
    default: Default = field(default=lambda _name, _stated: None)


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """One kind of device: a list in a manifest, repeated elements below ``<devices>``.

    Attributes:
        name: its key below ``spec.devices``.
        element: libvirt's element.
        identity: the fields whose values tell one device of this kind from another.
        numbered: whether devices with the same identity are told apart by their order.
        source: the fields that say what stands behind the device on the host; they are compared
            before a device is detached.
        fields: the rows, ``address`` after whatever displaces it.
        hotplug: libvirt can plug it into a running virtual server; "" or why it cannot.
        title: what it is, in a few words.
        description: what it means and where it is described.
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

    def identify(self, stated: Stated, seen: dict[str, int]) -> str:
        """The identity of a device with these values; ``seen`` counts those before it."""
        identity = "/".join(str(stated.get(name, "")) for name in self.identity)
        if not self.numbered:
            return identity
        seen[identity] = seen.get(identity, 0) + 1
        return f"{identity}#{seen[identity]}"


def always(value: Value) -> Default:
    """A default that is always the same."""
    return lambda _name, _stated: value
