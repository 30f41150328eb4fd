"""Whether another host has a block device, which libvirt has no call for.

Its node devices leave out what the book advises, device mapper's nodes, and a pool of a directory
would open everything in it, tapes and watchdogs as well. A pool of a disk looks first whether its
device is there, and then only reads which label it has. It is asked for one that no disk of these
machines has, so no pool ever comes of it.
"""

from __future__ import annotations

import hashlib

import libvirt
from lxml import etree

from reconvirt.hypervisor.errors import is_of_the_way

_LABEL = "sun"
_MISSING = libvirt.VIR_ERR_INVALID_ARG
_THERE = (
    libvirt.VIR_ERR_STORAGE_PROBE_FAILED,  # it is empty, or its label is unknown
    libvirt.VIR_ERR_OPERATION_INVALID,  # it has another label, or a file system
    libvirt.VIR_ERR_OPERATION_FAILED,  # a pool of that host has it
)


def device_problems(connection: libvirt.virConnect, paths: tuple[str, ...]) -> dict[str, str]:
    """What is the matter with block devices there, by path; without those that are there.

    Raises:
        libvirt.libvirtError: the connection is lost.
    """
    problems = {path: _problem(connection, path) for path in paths}
    return {path: problem for path, problem in problems.items() if problem}


def _problem(connection: libvirt.virConnect, path: str) -> str:
    root = etree.Element("pool", type="disk")
    digest = hashlib.sha256(path.encode()).hexdigest()[:12]
    etree.SubElement(root, "name").text = f"reconvirt-{digest}"
    source = etree.SubElement(root, "source")
    etree.SubElement(source, "device", path=path)
    etree.SubElement(source, "format", type=_LABEL)
    etree.SubElement(etree.SubElement(root, "target"), "path").text = "/dev"
    try:
        connection.storagePoolCreateXML(etree.tostring(root, encoding="unicode"), 0).destroy()
    except libvirt.libvirtError as error:
        if is_of_the_way(error):
            raise
        code = error.get_error_code()
        if error.get_error_domain() == libvirt.VIR_FROM_STORAGE and code == _MISSING:
            return "is missing"
        return "" if code in _THERE else f"cannot be looked for: {error.get_error_message()}"
    return ""
