"""The values of the manifest room: files, manifests, and the snapshot of them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconvirt.manifest.host import HostManifest
from reconvirt.manifest.identity import derive_uuid, normalise_uuid
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

    @property
    def effective_uuid(self) -> str:
        """The stated uuid in libvirt's spelling, or the one that is derived from the name."""
        return normalise_uuid(self.uuid) if self.uuid else derive_uuid(self.name)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file as it was read.

    Attributes:
        path: its name for people.
        content: its bytes; None if it could not be read.
        problem: why not.
        closed: whether it is no file, but a place of which is not known what is in it, such as a
            directory that is a link, or a submodule.
    """

    path: str
    content: bytes | None
    problem: str = ""
    closed: bool = False


@dataclass(frozen=True, slots=True)
class FileResult:
    """What one file says.

    Attributes:
        path: its name for people.
        manifests: its good documents.
        problems: what is wrong with the others.
        hosts: its good documents that are about hosts.
        closed: why it is a place of which is not known what is in it; "" if it is none.
    """

    path: str
    manifests: tuple[Manifest, ...]
    problems: tuple[Problem, ...]
    hosts: tuple[HostManifest, ...] = ()
    closed: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All manifests at one moment.

    Attributes:
        manifests: those in force, by name.
        problems: what is wrong with others.
        revision: SHA-256 over all files.
        retained: names whose last good version stays in force.
        hosts: the hosts between which virtual servers are moved, by name.
        time: of the revision, in seconds since the epoch: the commit's, or the newest change of a
            file or directory; None if it is not known.
        unseen: the places that are not looked into, each with the reason.
    """

    manifests: Mapping[str, Manifest]
    problems: tuple[Problem, ...]
    revision: str
    retained: frozenset[str] = frozenset()
    hosts: Mapping[str, HostManifest] = field(default_factory=dict)
    time: float | None = None
    unseen: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every manifest was read: one that is not here is gone."""
        return not self.problems and not self.retained


def differs(before: Snapshot, after: Snapshot) -> bool:
    """Whether a snapshot says anything that an earlier one did not."""
    return (before.revision, before.problems, before.unseen) != (
        *(after.revision, after.problems),
        after.unseen,
    )
