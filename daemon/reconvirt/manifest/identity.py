"""uuid and MAC address: derived from the name where a manifest states none, in libvirt's spelling.

Derived ones are the same on every host and after every loss, so making a virtual server twice
makes the same one.
"""

from __future__ import annotations

import hashlib
import uuid

_NAMESPACE = uuid.UUID("3b0d7c1e-6f0a-5c0e-9a55-2f1a7b9d4e60")
"""reconvirt's own namespace of uuids; it must never change."""


def derive_uuid(name: str) -> str:
    """The uuid of a virtual server whose manifest states none (RFC 9562, version 5)."""
    return str(uuid.uuid5(_NAMESPACE, name))


def derive_mac(name: str, ordinal: int = 0) -> str:
    """A MAC address for a virtual server's interface, in QEMU's own range 52:54:00."""
    digest = hashlib.sha256(f"{name}/{ordinal}".encode()).digest()
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in digest[:3])


def normalise_mac(mac: str) -> str:
    """In lower case, as libvirt prints it."""
    return mac.lower()


def normalise_uuid(spelling: str) -> str:
    """Dashed and in lower case, as libvirt prints it.

    Raises:
        ValueError: it is no uuid.
    """
    return str(uuid.UUID(spelling))
