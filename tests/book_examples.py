"""The examples of the book (tests/book), each put into a whole virtual server."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from lxml import etree

from reconvirt.domain.import_check import import_domain
from reconvirt.domain.observed import Observed, State
from reconvirt.manifest.identity import normalise_uuid

BOOK = Path(__file__).with_name("book")
NAMES = tuple(sorted(path.stem for path in BOOK.glob("*.xml")))

_PARSER = etree.XMLParser(remove_blank_text=True, remove_comments=True)
_UUID = "9c1f7a52-6a3b-4c0e-8f0d-3b1d5b0c7e11"
_INTERFACE_ID = "1c1f7a52-6a3b-4c0e-8f0d-3b1d5b0c7e12"
_ARCH, _MACHINE = "s390x", "s390-ccw-virtio"

# What the book leaves open, and how it is filled in: a reader would, too.
MENDED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "ch10-06-os-kernel": (
        (">initial-ramdisk<", ">/boot/initial-ramdisk<"),
        (">kernel-image<", ">/boot/kernel-image<"),
    ),
    "ch10-09-install-from-kernel": (
        (">initial-ramdisk<", ">/boot/initial-ramdisk<"),
        (">kernel-image<", ">/boot/kernel-image<"),
    ),
    "ch11-05-disk-iothread": (
        ("</disk>", '<source dev="/dev/x"/><target dev="vdb" bus="virtio"/></disk>'),
    ),
    "ch24-24-mac": (("<mac ", '<source dev="bond0" mode="bridge"/><mac '),),
    "ch24-43-virtualport": (
        (
            "<interface>",
            '<interface type="bridge"><source bridge="vswitch0"/><model type="virtio"/>',
        ),
    ),
}

_WRAPPED = {
    "type": "os",
    "kernel": "os",
    "emulator": "devices",
    "disk": "devices",
    "hostdev": "devices",
    "controller": "devices",
    "interface": "devices",
    "rng": "devices",
    "console": "devices",
    "memballoon": "devices",
}


def example(name: str, *, mended: bool = True) -> etree._Element:
    """The root element of an example, with what it leaves open filled in."""
    text = (BOOK / f"{name}.xml").read_text(encoding="utf-8")
    for old, new in MENDED.get(name, ()) if mended else ():
        assert old in text
        text = text.replace(old, new)
    return etree.fromstring(text.encode(), _PARSER)


def whole(name: str) -> etree._Element:
    """The smallest virtual server for s390x that says what the example says."""
    root = example(name)
    domain = root if root.tag == "domain" else _wrapped(root)
    if "type" not in domain.attrib:
        domain.set("type", "kvm")
    for tag, text in (("name", "book"), ("uuid", _UUID), ("memory", "524288"), ("vcpu", "1")):
        if domain.find(tag) is None:
            etree.SubElement(domain, tag).text = text
    system = _child(domain, "os")
    if system.find("type") is None:
        etree.SubElement(system, "type", arch=_ARCH, machine=_MACHINE).text = "hvm"
    threads = [int(each.get("iothread", "0")) for each in domain.iter("driver")]
    if max(threads, default=0) and domain.find("iothreads") is None:
        etree.SubElement(domain, "iothreads").text = str(max(threads))
    return domain


def _wrapped(root: etree._Element) -> etree._Element:
    domain = etree.Element("domain", type="kvm")
    if root.tag == "geometry":
        disk = etree.SubElement(_child(domain, "devices"), "disk", type="block", device="disk")
        etree.SubElement(disk, "driver", name="qemu", type="raw")
        etree.SubElement(disk, "source", dev="/dev/disk/by-path/ccw-0.0.7500")
        etree.SubElement(disk, "target", dev="vda", bus="virtio")
        disk.append(root)
        return domain
    holder = _WRAPPED.get(str(root.tag))
    (_child(domain, holder) if holder else domain).append(root)
    return domain


def _child(element: etree._Element, tag: str) -> etree._Element:
    found = element.find(tag)
    return etree.SubElement(element, tag) if found is None else found


def observed(domain: etree._Element) -> Observed:
    """A virtual server of this XML, shut off, as libvirt would show it."""
    name, uuid = domain.findtext("name", ""), normalise_uuid(domain.findtext("uuid", ""))
    shown = copy.deepcopy(domain)
    # libvirt makes these up where they are not stated.
    for number, interface in enumerate(shown.iterfind("devices/interface")):
        if interface.find("mac") is None:
            etree.SubElement(interface, "mac", address=f"52:54:00:6a:0b:{number:02x}")
    for port in shown.iterfind("devices/interface/virtualport"):
        etree.SubElement(port, "parameters", interfaceid=_INTERFACE_ID)
    config = etree.tostring(shown, encoding="unicode")
    return Observed(name, uuid, None, State.SHUTOFF, "", config, live=None)


def has_own_addresses(domain: etree._Element) -> bool:
    """Whether it states addresses that an import leaves out unless it is asked for them.

    libvirt keeps what addresses it has, and most are its own choice; so an import states channel
    addresses only. In the book a SCSI address behind a controller is the reader's choice.
    """
    addresses = domain.iterfind("devices/*/address")
    return any(each.get("type") != "ccw" for each in addresses)


def manifest(domain: etree._Element) -> dict[str, Any]:
    """The manifest that an import writes of such a virtual server, without its uuid."""
    text = import_domain(observed(domain), addresses=has_own_addresses(domain)).text
    document: dict[str, Any] = yaml.safe_load(text)
    del document["metadata"]["uuid"]
    return document
