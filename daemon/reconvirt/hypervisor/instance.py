"""What tells one libvirt from another, whatever the URIs that lead to it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import libvirt

from reconvirt.domain.xmltree import parse_xml

_INSIDE_THIS_PROCESS = "test"


def name_instance(connection: libvirt.virConnect, read: Callable[..., Any]) -> str:
    """A name of the libvirt behind a connection, the same for all processes and URIs.

    It is made of the host's uuid, which machines whose firmware has none, or that were cloned, have
    in common; so also of the host's name, and of the driver and the user, as a user's own libvirt
    is another one than the system's.

    Returns:
        The name, fit for a file; "" for one that no other process can reach.

    Raises:
        libvirt.libvirtError: it cannot be asked.
    """
    kind = read(connection.getType).lower()
    if kind == _INSIDE_THIS_PROCESS:
        return ""
    # A libvirt that was just installed runs each emulator for this, which takes some seconds.
    uuid = parse_xml(read(connection.getCapabilities)).findtext("host/uuid", "")
    # What follows the first dot depends on whether names can be resolved now.
    host = read(connection.getHostname).partition(".")[0]
    uri = urlsplit(read(connection.getURI))
    place = uri.path.strip("/")
    whose = ""
    if place == "session":
        whose = uri.username or str(os.getuid())
    elif place == "embed":
        whose = "".join(parse_qs(uri.query).get("root", ()))
    parts = (uuid, host, kind, place, whose)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(each for each in parts if each))
