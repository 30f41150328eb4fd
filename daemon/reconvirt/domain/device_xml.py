"""What a manifest states of a device, as XML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxml import etree

from reconvirt.domain.rows import DeviceKind, Stated

if TYPE_CHECKING:
    from lxml.etree import _Element


def render_device(kind: DeviceKind, stated: Stated) -> _Element:
    """A new device's element."""
    element = etree.Element(kind.element)
    put_fields(kind, element, stated)
    return element


def put_fields(kind: DeviceKind, element: _Element, stated: Stated) -> None:
    """Write a device's values into its element, in the order of the rows."""
    for row in kind.fields:
        if (value := stated.get(row.name)) is not None:
            row.place.put(element, row.kind.write(value))
