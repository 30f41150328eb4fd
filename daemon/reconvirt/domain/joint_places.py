"""Places where libvirt says one thing in several elements: vCPUs, I/O threads, boot, ports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lxml import etree

from reconvirt.domain.places import Attribute
from reconvirt.domain.xmltree import prune, prune_bare, reach, remove

if TYPE_CHECKING:
    from lxml.etree import _Element


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

    def consume(self, root: _Element) -> None:
        """Remove the attribute."""
        Attribute("vcpu", "current").consume(root)


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

    def consume(self, root: _Element) -> None:
        """Remove the number; the ids are another field's."""
        prune(root, "iothreads")


@dataclass(frozen=True, slots=True)
class IothreadIds:
    """The ids in ``<iothreadids>``, read as ``1,2,4``; the number of threads follows them."""

    def get(self, root: _Element) -> str | None:
        """All ids, those that libvirt chose included."""
        return ",".join(map(str, sorted(iothread_ids(root))))

    def put(self, root: _Element, text: str) -> None:
        """Have threads with these ids and no others; what is set of one that stays stays."""
        wanted = [int(number) for number in text.split(",") if number]
        if not wanted:
            self.drop(root)
            return
        listed = {int(each.get("id", "0")): each for each in root.findall("iothreadids/iothread")}
        parent = reach(root, "iothreadids")
        for number, element in listed.items():
            if number not in wanted:
                parent.remove(element)
        for number in wanted:
            if number not in listed:
                etree.SubElement(parent, "iothread", id=str(number))
        reach(root, "iothreads").text = str(len(wanted))

    def drop(self, root: _Element) -> None:
        """Remove all I/O threads: their number followed the ids."""
        prune(root, "iothreads")
        prune(root, "iothreadids")

    def consume(self, root: _Element) -> None:
        """Remove the ids that say nothing but their number."""
        for element in root.findall("iothreadids/iothread"):
            if set(element.attrib) == {"id"} and not len(element):
                remove(element)
        prune_bare(root, "iothreadids")


@dataclass(frozen=True, slots=True)
class BootDevices:
    """The ``<boot dev='…'/>`` elements of ``<os>`` in their order, read as ``hd,network``."""

    def get(self, root: _Element) -> str | None:
        """The kinds of devices; None where each device says its own order."""
        found = [each.get("dev", "") for each in root.findall("os/boot")]
        return ",".join(found) if found else None

    def put(self, root: _Element, text: str) -> None:
        """Boot from these kinds of devices; libvirt takes no order of single devices beside it."""
        self.drop(root)
        system = reach(root, "os")
        for dev in text.split(","):
            etree.SubElement(system, "boot", dev=dev)

    def drop(self, root: _Element) -> None:
        """Remove them all."""
        for element in root.findall("os/boot"):
            remove(element)

    def consume(self, root: _Element) -> None:
        """Remove them all."""
        self.drop(root)


@dataclass(frozen=True, slots=True)
class SparePorts:
    """How many ``pcie-root-port`` controllers no device uses.

    A running q35 machine takes a new PCI device only where a port is free, and ports cannot be
    plugged. libvirt itself leaves one.
    """

    def get(self, root: _Element) -> str | None:
        """The number of free ports."""
        return str(len(self._free(root)))

    def put(self, root: _Element, text: str) -> None:
        """Add ports until so many are free; libvirt numbers them and gives them addresses."""
        devices = reach(root, "devices")
        if root.find("devices/controller[@model='pcie-root']") is None:  # libvirt would number it
            etree.SubElement(devices, "controller", type="pci", index="0", model="pcie-root")
        for _ in range(int(text) - len(self._free(root))):
            etree.SubElement(devices, "controller", type="pci", model="pcie-root-port")

    def drop(self, root: _Element) -> None:
        """Leave them: another device may have come to use one meanwhile."""

    def consume(self, root: _Element) -> None:
        """Remove nothing: ports are controllers."""

    def _free(self, root: _Element) -> list[_Element]:
        used = {
            int(address.get("bus", "0"), 0)
            for address in root.iterfind("devices/*/address[@type='pci']")
        }
        ports = root.iterfind("devices/controller[@model='pcie-root-port']")
        return [port for port in ports if int(port.get("index", "-1")) not in used]


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where graphics listen: libvirt says it in ``<listen>`` and again as an attribute."""

    def get(self, root: _Element) -> str | None:
        """The address."""
        return Attribute("listen", "address").get(root)

    def put(self, root: _Element, text: str) -> None:
        """Set the address; the attribute must not contradict it."""
        Attribute("listen", "address").put(root, text)
        root.attrib.pop("listen", "")

    def drop(self, root: _Element) -> None:
        """Let libvirt choose."""
        self.consume(root)

    def consume(self, root: _Element) -> None:
        """Remove the address in both places."""
        Attribute("listen", "address").consume(root)
        root.attrib.pop("listen", "")


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
