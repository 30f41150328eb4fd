"""Guarding what is done about virtual servers whose manifests are gone.

Nothing is done while there is any doubt that they are gone on purpose, and never about many at
once unless a person has said so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconvirt.domain.desired import ON_REMOVAL, SOURCE, Statement
from reconvirt.manifest.model import Snapshot

_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Orphan:
    """A virtual server that carries our mark and has no manifest.

    Attributes:
        name: libvirt's name of it.
        uuid: its uuid.
        mark: what was last applied.
    """

    name: str
    uuid: str
    mark: Statement

    @property
    def policy(self) -> str:
        """What is to be done about it: ``keep``, ``shutdown`` or ``undefine``."""
        return self.mark.notes.get(ON_REMOVAL, "keep")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be done about the orphans.

    Attributes:
        pruned: those that are shut down or undefined, by name.
        held: those that should be and are not, by name.
        reason: why not; "" if none is held.
    """

    pruned: Mapping[str, Orphan]
    held: Mapping[str, Orphan]
    reason: str = ""


NOTHING = Verdict({}, {})


def find_orphans(
    marks: Mapping[str, tuple[str, Statement]],
    wanted: Iterable[str],
    claimed: Iterable[str],
    source: str,
) -> Mapping[str, Orphan]:
    """The virtual servers that are ours and that no manifest wants.

    Args:
        marks: uuid and mark of each virtual server that carries one, by name.
        wanted: the names that manifests want.
        claimed: the uuids that manifests state: one that is renamed keeps its virtual server.
        source: the name of this source; what another one has made is not ours.
    """
    names, uuids = set(wanted), set(claimed)
    return {
        name: Orphan(name, uuid, mark)
        for name, (uuid, mark) in marks.items()
        if name not in names and uuid not in uuids and mark.notes.get(SOURCE) == source
    }


def judge_orphans(
    orphans: Mapping[str, Orphan],
    snapshot: Snapshot,
    approved: frozenset[str],
) -> Verdict:
    """What may be done about the orphans.

    Args:
        orphans: those that there are.
        snapshot: the manifests in force.
        approved: the names that a person has approved.
    """
    due = {name: each for name, each in orphans.items() if each.policy != "keep"}
    if not due:
        return NOTHING
    if snapshot.problems or snapshot.retained:
        return Verdict({}, due, "some manifests cannot be read: nobody knows what is gone")
    if due.keys() <= approved:
        return Verdict(due, {})
    if not snapshot.manifests:
        return Verdict({}, due, "there is no manifest at all: is the directory the right one?")
    most = max(1, int(_SHARE * (len(snapshot.manifests) + len(orphans))))
    if len(due) > most:
        reason = (
            f"{len(due)} manifests are gone at once, and at most {most} are taken for meant; "
            "'reconvirt approve prune' has them go, the manifests' return has them stay"
        )
        return Verdict({}, due, reason)
    return Verdict(due, {})
