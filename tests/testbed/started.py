"""The libvirt hosts that this process has started, for whoever observes them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Started(Protocol):
    """What is known of a host while it is there."""

    NAME: str
    directory: Path

    def pid_of(self, daemon: str) -> int:
        """The process of one of its daemons, or of its namespace; 0 if there is none."""


HOSTS: list[Started] = []


def defined_names() -> frozenset[str]:
    """The virtual servers that any host has now, running or not, as the files of libvirt say."""
    return frozenset(
        path.stem
        for host in tuple(HOSTS)
        for folder in ("etc", "run")
        for path in (host.directory / folder / "qemu").glob("*.xml")
    )
