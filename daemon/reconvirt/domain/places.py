"""Where a field stands in libvirt's domain XML, and how it is read, written and removed there.

A place works on any element: the whole ``<domain>`` for the fields of a virtual server, one
``<disk>`` or ``<interface>`` for those of a device. Writing touches nothing but the place itself
and what it displaces, so that whatever else libvirt filled in – addresses, uuid, aliases – stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lxml import etree

if TYPE_CHECKING:
    from lxml.etree import _Element

_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, remove_blank_text=True)


def parse_xml(text: str) -> _Element:
    """The root element of libvirt's XML; entities are never resolved."""
    return etree.fromstring(text, _PARSER)


def print_xml(element: _Element) -> str:
    """The element as indented text, as ``virsh dumpxml`` would show it."""
    etree.indent(element)
    return etree.tostring(element, encoding="unicode")


class Place(Protocol):
    """One place in the XML; its text form is libvirt's own spelling of the value."""

    def get(self, root: _Element) -> str | None:
        """The text at this place, or None where there is nothing."""

    def put(self, root: _Element, text: str) -> None:
        """Write the text, making the elements that lead there."""

    def drop(self, root: _Element) -> None:
        """Remove what stands here, and the elements that this leaves empty."""


@dataclass(frozen=True, slots=True)
class Text:
    """The text of an element, such as ``os/kernel``."""

    path: str

    def get(self, root: _Element) -> str | None:
        """The element's text; an empty element reads as the empty text."""
        element = root.find(self.path)
        return None if element is None else (element.text or "")

    def put(self, root: _Element, text: str) -> None:
        """Set the element's text."""
        reach(root, self.path).text = text

    def drop(self, root: _Element) -> None:
        """Remove the element."""
        prune(root, self.path)


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
        element = root.find(self.path) if self.path else root
        return None if element is None else element.get(self.name)

    def put(self, root: _Element, text: str) -> None:
        """Set the attribute."""
        if self.get(root) != text:
            for path in (*self.displaces, *((self.path,) if self.alone else ())):
                prune(root, path)
        (reach(root, self.path) if self.path else root).set(self.name, text)

    def drop(self, root: _Element) -> None:
        """Remove the attribute, and its element if nothing is left in it."""
        element = root.find(self.path) if self.path else root
        if element is None:
            return
        if self.name in element.attrib:
            del element.attrib[self.name]
        if self.alone or (self.path and is_bare(element)):
            prune(root, self.path)


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


@dataclass(frozen=True, slots=True)
class CurrentVcpus:
    """``current`` of ``<vcpu>``; libvirt leaves it out where it equals the maximum.

    ``<vcpus>``, which libvirt writes after a hotplug to say which ones are on, contradicts a new
    number and goes.
    """

    def get(self, root: _Element) -> str | None:
        """The number of vCPUs that are on."""
        element = root.find("vcpu")
        return None if element is None else element.get("current", element.text)

    def put(self, root: _Element, text: str) -> None:
        """Set the number."""
        reach(root, "vcpu").set("current", text)
        prune(root, "vcpus")

    def drop(self, root: _Element) -> None:
        """Turn on all of them."""
        element = root.find("vcpu")
        if element is not None and "current" in element.attrib:
            del element.attrib["current"]
        prune(root, "vcpus")


@dataclass(frozen=True, slots=True)
class IothreadCount:
    """``<iothreads>``, with the ids that libvirt keeps in ``<iothreadids>``.

    libvirt gives new ones the lowest free ids. When the number shrinks, the highest ids that no
    disk uses go first.
    """

    def get(self, root: _Element) -> str | None:
        """The number of I/O threads; none is 0."""
        return root.findtext("iothreads") or "0"

    def put(self, root: _Element, text: str) -> None:
        """Set the number."""
        wanted = int(text)
        used = iothreads_in_use(root)
        ids = root.findall("iothreadids/iothread")
        ids.sort(key=lambda each: (int(each.get("id", "0")) not in used, int(each.get("id", "0"))))
        for surplus in ids[wanted:]:
            parent = surplus.getparent()
            if parent is not None:
                parent.remove(surplus)
        if not wanted:
            self.drop(root)
            return
        reach(root, "iothreads").text = text

    def drop(self, root: _Element) -> None:
        """Remove all I/O threads."""
        prune(root, "iothreads")
        prune(root, "iothreadids")


def iothread_ids(root: _Element) -> frozenset[int]:
    """The ids of a virtual server's I/O threads."""
    listed = {int(each.get("id", "0")) for each in root.findall("iothreadids/iothread")}
    count = int(root.findtext("iothreads") or 0)
    free = (number for number in range(1, count + len(listed) + 1) if number not in listed)
    return frozenset(listed | {next(free) for _ in range(count - len(listed))})


def iothreads_in_use(root: _Element) -> frozenset[int]:
    """The ids of the I/O threads that disks and controllers of a virtual server use."""
    drivers = root.iterfind("devices/*/driver[@iothread]")
    return frozenset(int(driver.get("iothread", "0")) for driver in drivers)


def reach(root: _Element, path: str) -> _Element:
    """The element at the path below root, made where it is missing."""
    element = root
    for tag in path.split("/"):
        child = element.find(tag)
        element = etree.SubElement(element, tag) if child is None else child
    return element


def prune(root: _Element, path: str) -> None:
    """Remove the element at the path, and the parents that this leaves bare."""
    element = root.find(path)
    while element is not None and element is not root:
        parent = element.getparent()
        if parent is None:
            return
        parent.remove(element)
        element = parent if is_bare(parent) else None


def is_bare(element: _Element) -> bool:
    """Whether an element says nothing: no attribute, child or text."""
    return not (element.attrib or len(element) or (element.text or "").strip())
