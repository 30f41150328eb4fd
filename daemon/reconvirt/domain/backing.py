"""The images below an overlay, which an incremental copy leaves where they are (chapter 15).

libvirt writes the whole chain of a running virtual server out; of one that is shut off it need
not know it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.etree import _Element


@dataclass(frozen=True, slots=True)
class Backing:
    """An image below another one.

    Attributes:
        path: where it stands; "" where it is no file of a host.
        kind: its format, such as ``raw``.
    """

    path: str
    kind: str


def backing_chain(disk: _Element) -> tuple[Backing, ...]:
    """The images below that of a disk, the next one first."""
    return tuple(_chain(disk))


def backing_chains(root: _Element, targets: tuple[str, ...]) -> Mapping[str, tuple[Backing, ...]]:
    """The images below those of some disks, by target.dev."""
    return {
        name: backing_chain(disk)
        for disk in root.iterfind("devices/disk")
        if (target := disk.find("target")) is not None
        and (name := target.get("dev", "")) in targets
    }


def _chain(element: _Element) -> Iterator[Backing]:
    below = element.find("backingStore")
    # The last one of a chain is written as an empty element.
    while below is not None and below.find("source") is not None:
        source, form = below.find("source"), below.find("format")
        path = "" if source is None else source.get("file", "")
        yield Backing(path, "raw" if form is None else form.get("type", "raw"))
        below = below.find("backingStore")
