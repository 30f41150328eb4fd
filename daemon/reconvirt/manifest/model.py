"""The values of the manifest room: files, manifests, and the snapshot of them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconvirt.manifest.host import HostManifest
from reconvirt.manifest.problem import Position, Problem


@dataclass(frozen=True, slots=True)
class Manifest:
    """One checked manifest.

    Attributes:
        name: the virtual server's name in libvirt.
        uuid: its uuid, if stated.
        labels: the administrator's own words.
        spec: what it shall be, as written.
        position: where the document begins.
        digest: SHA-256 of what it says, the same however it is written.
        positions: where each field stands, by its path, such as ``spec.vcpu``.
        annotations: notes, some of which reconvirt knows.
    """

    name: str
    uuid: str | None
    labels: Mapping[str, str]
    spec: Mapping[str, Any]
    position: Position
    digest: str
    positions: Mapping[str, Position] = field(default_factory=dict, compare=False, repr=False)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file as it was read.

    Attributes:
        path: its name for people.
        content: its bytes; None if it could not be read.
        problem: why not.
    """

    path: str
    content: bytes | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class FileResult:
    """What one file says.

    Attributes:
        path: its name for people.
        manifests: its good documents.
        problems: what is wrong with the others.
        hosts: its good documents that are about hosts.
    """

    path: str
    manifests: tuple[Manifest, ...]
    problems: tuple[Problem, ...]
    hosts: tuple[HostManifest, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All manifests at one moment.

    Attributes:
        manifests: those in force, by name.
        problems: what is wrong with others.
        revision: SHA-256 over all files.
        retained: names whose last good version stays in force.
        hosts: the hosts between which virtual servers are moved, by name.
    """

    manifests: Mapping[str, Manifest]
    problems: tuple[Problem, ...]
    revision: str
    retained: frozenset[str] = frozenset()
    hosts: Mapping[str, HostManifest] = field(default_factory=dict)


def differs(before: Snapshot, after: Snapshot) -> bool:
    """Whether a snapshot says anything that an earlier one did not."""
    return (before.revision, before.problems) != (after.revision, after.problems)
