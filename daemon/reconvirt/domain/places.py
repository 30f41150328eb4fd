"""Where a field stands in libvirt's domain XML, and how it is read, written and removed there.

A place works on any element: the whole ``<domain>`` for the fields of a virtual server, one
``<disk>`` or ``<interface>`` for those of a device. Writing touches nothing but the place itself
and what it displaces, so that whatever else libvirt filled in – addresses, uuid, aliases – stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from reconvirt.domain.xmltree import clear, prune, prune_bare, reach

if TYPE_CHECKING:
    from lxml.etree import _Element


class Place(Protocol):
    """One place in the XML; its text form is libvirt's own spelling of the value."""

    def get(self, root: _Element) -> str | None:
        """The text at this place, or None where there is nothing."""

    def put(self, root: _Element, text: str) -> None:
        """Write the text, making the elements that lead there."""

    def drop(self, root: _Element) -> None:
        """Remove what stands here, and the elements that this leaves empty or senseless."""

    def consume(self, root: _Element) -> None:
        """Remove exactly what :meth:`get` reads, so that what no place reads is left over."""


@dataclass(frozen=True, eq=False)
class Nowhere:
    """No place in libvirt's XML: the field says something about the thing, not of it."""

    def get(self, root: _Element) -> str | None:
        """Never anything."""

    def put(self, root: _Element, text: str) -> None:
        """Write nothing."""

    def drop(self, root: _Element) -> None:
        """Remove nothing."""

    def consume(self, root: _Element) -> None:
        """Remove nothing."""


@dataclass(frozen=True, slots=True)
class Text:
    """The text of an element, such as ``os/kernel``."""

    path: str

    def get(self, root: _Element) -> str | None:
        """The element's text; an empty element says nothing."""
        element = root.find(self.path)
        return None if element is None else (element.text or None)

    def put(self, root: _Element, text: str) -> None:
        """Set the element's text."""
        reach(root, self.path).text = text

    def drop(self, root: _Element) -> None:
        """Remove the element, attributes and all."""
        prune(root, self.path)

    def consume(self, root: _Element) -> None:
        """Remove the text, and the element if nothing else is in it."""
        element = root.find(self.path)
        if element is not None:
            element.text = None
            prune_bare(root, self.path)


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of an element, such as ``machine`` of ``os/type``.

    ``displaces`` names elements that a new value makes wrong: a disk's ``address`` when its bus
    changes. With ``alone`` a new value replaces the whole element: ``<memballoon model='none'>``
    must not keep the address of the balloon that was there.
    """

    path: str
    name: str
    displaces: tuple[str, ...] = ()
    alone: bool = False

    def get(self, root: _Element) -> str | None:
        """The attribute's text."""
        element = self._find(root)
        return None if element is None else element.get(self.name)

    def put(self, root: _Element, text: str) -> None:
        """Set the attribute."""
        element = self._find(root)
        before = None if element is None else element.get(self.name)
        if before not in (None, text):
            for path in self.displaces:
                prune(root, path)
            if self.alone and element is not None:
                clear(element)
        (reach(root, self.path) if self.path else root).set(self.name, text)

    def drop(self, root: _Element) -> None:
        """Remove the attribute, and its element if nothing is left in it."""
        if self.alone and self.path:
            prune(root, self.path)
        else:
            self.consume(root)

    def consume(self, root: _Element) -> None:
        """Remove the attribute, and its element if nothing is left in it."""
        element = self._find(root)
        if element is not None and self.name in element.attrib:
            del element.attrib[self.name]
            if self.path:
                prune_bare(root, self.path)

    def _find(self, root: _Element) -> _Element | None:
        return root.find(self.path) if self.path else root


@dataclass(frozen=True, slots=True)
class Presence:
    """An empty element that says yes by being there, such as ``<readonly/>``."""

    path: str

    def get(self, root: _Element) -> str | None:
        """``yes`` or ``no``."""
        return "no" if root.find(self.path) is None else "yes"

    def put(self, root: _Element, text: str) -> None:
        """Add or remove the element."""
        if text == "yes":
            reach(root, self.path)
        else:
            prune(root, self.path)

    def drop(self, root: _Element) -> None:
        """Remove the element."""
        prune(root, self.path)

    def consume(self, root: _Element) -> None:
        """Remove the element if nothing is in it."""
        prune_bare(root, self.path)


@dataclass(frozen=True, slots=True)
class Amount:
    """A number with a ``unit`` attribute, such as ``<memory unit='KiB'>``; read as ``N unit``.

    libvirt prints KiB; without a unit it means KiB.
    """

    path: str
    displaces: tuple[str, ...] = ()

    def get(self, root: _Element) -> str | None:
        """Number and unit, a space between them."""
        element = root.find(self.path)
        if element is None:
            return None
        return f"{(element.text or '').strip()} {element.get('unit', 'KiB')}"

    def put(self, root: _Element, text: str) -> None:
        """Set number and unit; other attributes (``dumpCore``) stay."""
        if self.get(root) != text:
            for path in self.displaces:
                prune(root, path)
        number, _, unit = text.partition(" ")
        element = reach(root, self.path)
        element.text = number
        element.set("unit", unit)

    def drop(self, root: _Element) -> None:
        """Remove the element."""
        prune(root, self.path)

    def consume(self, root: _Element) -> None:
        """Remove number and unit, and the element if nothing else is in it."""
        element = root.find(self.path)
        if element is not None:
            element.text = None
            element.attrib.pop("unit", "")
            prune_bare(root, self.path)


@dataclass(frozen=True, slots=True)
class AddressNumber:
    """A number of a device's ``<address>``: libvirt wants hexadecimal in ccw and pci addresses.

    Elsewhere (``drive``, ``virtio-serial``) its schema allows decimal numbers only.
    """

    name: str

    def get(self, root: _Element) -> str | None:
        """The number as it is spelled."""
        element = root.find("address")
        return None if element is None else element.get(self.name)

    def put(self, root: _Element, text: str) -> None:
        """Set the number, in the spelling of the address's type."""
        element = reach(root, "address")
        digits = _HEXADECIMAL.get(element.get("type", ""), {}).get(self.name)
        element.set(self.name, text if digits is None else f"0x{int(text):0{digits}x}")

    def drop(self, root: _Element) -> None:
        """Remove the number, and the address if nothing is left of it."""
        self.consume(root)

    def consume(self, root: _Element) -> None:
        """Remove the number, and the address if nothing is left of it."""
        Attribute("address", self.name).consume(root)


_HEXADECIMAL = {
    "ccw": {"cssid": 2, "ssid": 1, "devno": 4},
    "pci": {"domain": 4, "bus": 2, "slot": 2, "function": 1},
}


@dataclass(frozen=True, slots=True)
class SourceBus:
    """``bus`` of a host device's ``<source><address>``: hexadecimal for PCI, else decimal."""

    def get(self, root: _Element) -> str | None:
        """The number as it is spelled."""
        element = root.find("source/address")
        return None if element is None else element.get("bus")

    def put(self, root: _Element, text: str) -> None:
        """Set the number."""
        spelled = f"0x{int(text):02x}" if root.get("type") == "pci" else text
        reach(root, "source/address").set("bus", spelled)

    def drop(self, root: _Element) -> None:
        """Remove the number."""
        self.consume(root)

    def consume(self, root: _Element) -> None:
        """Remove the number, and the address if nothing is left of it."""
        Attribute("source/address", "bus").consume(root)
