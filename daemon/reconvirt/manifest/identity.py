"""Names that are derived from a virtual server's name, and libvirt's spelling of them."""

from __future__ import annotations

import hashlib
import uuid

_NAMESPACE = uuid.UUID("3b0d7c1e-6f0a-5c0e-9a55-2f1a7b9d4e60")


def derive_uuid(name: str) -> str:
    """The uuid of a virtual server whose manifest states none."""
    return str(uuid.uuid5(_NAMESPACE, name))


def derive_mac(name: str, ordinal: int = 0) -> str:
    """A MAC address for the interface with this number, in QEMU's range."""
    digest = hashlib.sha256(f"{name}/{ordinal}".encode()).digest()
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in digest[:3])


def normalise_mac(mac: str) -> str:
    """Lower case, as libvirt prints it."""
    return mac.lower()


def normalise_uuid(spelling: str) -> str:
    """Dashed and in lower case, as libvirt prints it.

    Raises:
        ValueError: it is no uuid.
    """
    return str(uuid.UUID(spelling))
