"""Deciding what is done about virtual servers whose manifests are gone.

Nothing is done while there is any doubt that they are gone on purpose, never about many within an
hour unless a person has approved it, and never at once. Pure functions: the daemon and the
commands that run without it get the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

from reconvirt.controller.outcome import Phase
from reconvirt.domain.desired import ON_REMOVAL, REVISION, TIME, Desired, Origin, Statement
from reconvirt.domain.ownership import Marked, Owner, owner_of
from reconvirt.manifest.model import Snapshot

SHARE = 0.2
"""The part of all virtual servers that may go within :data:`RECENTLY` without approval."""

RECENTLY = 3600.0
"""For how many seconds a pruned virtual server counts."""

Includes: TypeAlias = Callable[[str], bool | None]
"""Whether the manifests in force are of a revision or a later one; None if that is not known."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """A virtual server that is ours and has no manifest.

    Attributes:
        name: libvirt's name of it.
        uuid: its uuid.
        mark: what was last applied.
        active: whether there is a QEMU process.
    """

    name: str
    uuid: str
    mark: Statement
    active: bool = field(default=True, compare=False)

    @property
    def policy(self) -> str:
        """What is to be done about it: ``keep``, ``shutdown`` or ``undefine``."""
        return self.mark.notes.get(ON_REMOVAL, "keep")

    @property
    def due(self) -> bool:
        """Whether anything is still to be done about it."""
        return self.policy == "undefine" or (self.policy == "shutdown" and self.active)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be done about the orphans.

    Attributes:
        pruned: those that are shut down or undefined, by name.
        held: those that should be and are not, by name, each with the reason.
        reason: why not; "" if none is held.
        pending: those that are next, by name, each with the seconds that are left.
    """

    pruned: Mapping[str, Orphan]
    held: Mapping[str, str]
    reason: str = ""
    pending: Mapping[str, float] = field(default_factory=dict)


NOTHING = Verdict({}, {})


@dataclass(frozen=True, slots=True)
class Facts:
    """What the decision must know besides orphans and manifests.

    Attributes:
        approved: the uuids that a person has approved.
        left: how many seconds of the grace period an orphan has left.
        includes: whether the manifests in force are of a revision or a later one.
        recent: the uuids of those that were pruned lately without approval.
        doubt: why nothing may be pruned at all; "" if there is no such reason.
    """

    approved: frozenset[str] = frozenset()
    left: Callable[[Orphan], float] = lambda _orphan: 0.0
    includes: Includes = lambda _revision: None
    recent: frozenset[str] = frozenset()
    doubt: str = ""


def find_orphans(
    marks: Mapping[str, Marked], wanted: Mapping[str, Desired], origin: Origin
) -> Mapping[str, Orphan]:
    """The virtual servers that are ours and that no manifest wants.

    Args:
        marks: the domains that carry a mark, by name.
        wanted: what manifests want, by name; one that is renamed keeps its uuid.
        origin: the source of the manifests; what another one has made is not ours.
    """
    uuids = {each.expected_uuid for each in wanted.values()}
    return {
        name: Orphan(name, each.uuid, each.mark, each.active)
        for name, each in marks.items()
        if name not in wanted
        and each.uuid not in uuids
        and owner_of(each.mark, each.uuid, name, origin) is Owner.OURS
    }


def judge_orphans(
    orphans: Mapping[str, Orphan], snapshot: Snapshot, facts: Facts | None = None
) -> Verdict:
    """What may be done about the orphans.

    Args:
        orphans: those that there are.
        snapshot: the manifests in force.
        facts: what else must be known.
    """
    facts = facts or Facts()
    due = {name: each for name, each in orphans.items() if each.due}
    if not due:
        return NOTHING
    if facts.doubt or not snapshot.complete:
        why = facts.doubt or "some manifests cannot be read, and may be those of what is gone"
        return _hold(due, why)
    if not all(each.uuid in facts.approved for each in due.values()) and (
        why := _why_not_all(due, orphans, snapshot, facts)
    ):
        return _hold(due, why)
    held: dict[str, str] = {}
    pending: dict[str, float] = {}
    for name, orphan in due.items():
        if orphan.uuid in facts.approved:
            continue
        if why := why_older(orphan.mark, snapshot, facts.includes):
            held[name] = f"{why}; {_APPROVE}"
        elif (left := facts.left(orphan)) > 0:
            pending[name] = left
    pruned = {name: each for name, each in due.items() if name not in held and name not in pending}
    return Verdict(pruned, held, "; ".join(dict.fromkeys(held.values())), pending)


_APPROVE = "'reconvirt approve prune' has it done, the manifest's return has it stay"


def _hold(due: Mapping[str, Orphan], why: str) -> Verdict:
    return Verdict({}, dict.fromkeys(due, why), why)


def _why_not_all(
    due: Mapping[str, Orphan], orphans: Mapping[str, Orphan], snapshot: Snapshot, facts: Facts
) -> str:
    """Why none is pruned without approval; "" if they may be."""
    if not snapshot.manifests:
        return "there is no manifest at all: is the directory the right one?"
    if snapshot.unseen:
        return f"manifests may be where none is read: {'; '.join(snapshot.unseen)}; {_APPROVE}"
    going = {each.uuid for each in due.values()}
    earlier = facts.recent - going
    known = {each.uuid for each in orphans.values()} | facts.recent
    most = max(1, int(SHARE * (len(snapshot.manifests) + len(known))))
    if len(going | earlier) <= most:
        return ""
    since = f" after {len(earlier)} within the last hour" if earlier else " at once"
    return (
        f"{len(going)} manifests are gone{since}, and at most {most} are pruned within an hour "
        f"without approval; {_APPROVE}"
    )


def why_older(mark: Statement, snapshot: Snapshot, includes: Includes) -> str:
    """Why manifests do not decide about a virtual server: they are older than what was applied.

    Args:
        mark: what was last applied to it.
        snapshot: the manifests in force, in which it is missing.
        includes: whether these are of a revision or a later one.

    Returns:
        The reason; "" if it is shown that they are not older.
    """
    revision, time = mark.notes.get(REVISION, ""), mark.notes.get(TIME, "")
    if not revision:
        return "it is not known from which revision it was last applied"
    included = revision == snapshot.revision or includes(revision)
    if included:
        return ""
    told = f"it was last applied from revision {revision[:12]}"
    if included is not None:
        return f"{told}, which the manifests in force do not follow"
    if not time or snapshot.time is None:
        return f"{told}, and whether the manifests in force are newer is not known"
    if snapshot.time < float(time):
        return f"{told} of {_clock(float(time))}, and those in force are of {_clock(snapshot.time)}"
    return ""


def _clock(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(" ", "seconds")


@dataclass(frozen=True, slots=True)
class Standing:
    """What is to be said of a virtual server that no manifest in force wants.

    Attributes:
        orphan: the virtual server.
        phase: its phase.
        message: one sentence for people.
    """

    orphan: Orphan
    phase: Phase
    message: str


def stand(
    orphans: Mapping[str, Orphan],
    verdict: Verdict,
    snapshot: Snapshot,
    known: frozenset[str] = frozenset(),
    *,
    when: str = "in {seconds:.0f} s",
) -> Mapping[str, Standing]:
    """What is to be said of each virtual server that no manifest in force wants.

    Args:
        orphans: the virtual servers.
        verdict: what may be done about them.
        snapshot: the manifests in force.
        known: the uuids of those whose manifests were gone when all were read last.
        when: how it is said when a grace period ends.
    """
    standings: dict[str, Standing] = {}
    for name, orphan in orphans.items():
        if not snapshot.complete and orphan.uuid not in known:
            first = f": {snapshot.problems[0]}" if snapshot.problems else ""
            message = f"no manifest in force states it, and not all can be read{first}"
            standings[name] = Standing(orphan, Phase.UNREADABLE, message)
            continue
        message = f"its manifest is gone; {_fate(name, orphan, verdict, when)}"
        standings[name] = Standing(orphan, Phase.UNMANAGED, message)
    return standings


def _fate(name: str, orphan: Orphan, verdict: Verdict, when: str) -> str:
    done = "undefined" if orphan.policy == "undefine" else "shut down"
    if name in verdict.held:
        return verdict.held[name]
    if name in verdict.pending:
        moment = when.format(seconds=verdict.pending[name])
        return f"it will be {done} {moment} unless its manifest returns"
    if name in verdict.pruned:
        return f"it is being {done}"
    return "it is left as it is" if orphan.policy == "keep" else "it is shut off"
