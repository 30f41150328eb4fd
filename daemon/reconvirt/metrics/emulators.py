"""Which process is the QEMU of which virtual server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_PROC = Path("/proc")


def find_emulators(proc: Path = _PROC) -> Mapping[str, int]:
    """The processes on this host that libvirt has started as a QEMU, by the server's uuid.

    libvirt tells nobody the number of the process; it gives QEMU the uuid on its command line.
    """
    found: dict[str, int] = {}
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        except OSError:
            continue  # it has just ended
        if b"-uuid" in words[:-1] and any(word.startswith(b"guest=") for word in words):
            uuid = words[words.index(b"-uuid") + 1].decode(errors="replace")
            found[uuid.lower()] = int(entry.name)
    return found
