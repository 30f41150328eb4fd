"""What is the matter with a virtual server, in conditions as Kubernetes knows them.

``Ready`` is always there; the others exist only while they are true.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.domain.changes import Change
from reconvirt.domain.effects import Effect
from reconvirt.domain.observed import State


class Kind(StrEnum):
    """The kinds of conditions."""

    READY = "Ready"
    """It is as its manifest wants it, as far as that can be without a restart."""
    RECONCILING = "Reconciling"
    """Steps are being taken, or an answer of the guest is awaited."""
    STALLED = "Stalled"
    """Nothing more happens until somebody does something."""
    RESTART_REQUIRED = "RestartRequired"
    """Changes wait for a restart."""
    DRIFTED = "Drifted"
    """Something was changed by hand."""
    HELD = "Held"
    """It is left alone on purpose."""
    PAUSED = "Paused"
    """It is there, and its guest does nothing."""
    MIGRATING = "Migrating"
    """It is on its way to another host."""
    HELD_BY_OTHER_HOST = "HeldByOtherHost"
    """Another host has it, or may have it: it is not started here."""
    ORPHANED = "Orphaned"
    """Its manifest is gone."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition.

    Attributes:
        kind: which.
        status: whether it is true; only ``Ready`` is ever false.
        reason: why, as a word.
        message: why, as a sentence.
        since: when it became so, in seconds since the epoch.
    """

    kind: Kind
    status: bool
    reason: str
    message: str
    since: float


REASONS = {
    Phase.DRIFTED: "Drifted",
    Phase.CONVERGED: "Converged",
    Phase.WAITING_FOR_RESTART: "RestartRequired",
    Phase.WAITING_FOR_GUEST: "WaitingForGuest",
    Phase.WAITING: "Waiting",
    Phase.NO_ANSWER: "GuestDoesNotAnswer",
    Phase.REFUSED: "Refused",
    Phase.FAILED: "Failed",
    Phase.DIFFERS: "Differs",
    Phase.HELD: "Held",
    Phase.UNMANAGED: "ManifestGone",
    Phase.UNREADABLE: "ManifestNotReadable",
    Phase.ELSEWHERE: "OnAnotherHost",
    Phase.STALLED: "NoProgress",
}
_RECONCILING = (Phase.WAITING_FOR_GUEST, Phase.WAITING, Phase.DIFFERS)
_STALLED = (Phase.STALLED, Phase.REFUSED, Phase.NO_ANSWER)


def conditions_of(
    outcome: Outcome, before: Mapping[Kind, Condition], now: float
) -> Mapping[Kind, Condition]:
    """The conditions of a virtual server after a look at it.

    Args:
        outcome: what the look came to.
        before: its conditions before; one that stays keeps its beginning.
        now: seconds since the epoch.
    """
    found = {each.kind: each for each in _conditions(outcome, now)}
    return {
        kind: replace(each, since=before[kind].since)
        if kind in before and before[kind].status == each.status
        else each
        for kind, each in found.items()
    }


def _conditions(outcome: Outcome, now: float) -> Iterator[Condition]:
    phase, message = outcome.phase, outcome.message
    reason = REASONS[phase]
    ready = phase in (Phase.CONVERGED, Phase.WAITING_FOR_RESTART, Phase.ELSEWHERE)
    yield Condition(Kind.READY, ready, reason, message, now)
    again = outcome.retry or outcome.again_after is not None
    if phase in _RECONCILING or (phase is Phase.FAILED and again):
        yield Condition(Kind.RECONCILING, True, reason, message, now)
    if phase in _STALLED or (phase is Phase.FAILED and not again):
        yield Condition(Kind.STALLED, True, reason, message, now)
    waiting = [each for each in outcome.plan.waiting if each.effect is Effect.NEXT_START]
    if waiting:
        told = describe_changes(waiting)
        yield Condition(Kind.RESTART_REQUIRED, True, "ChangesWait", told, now)
    if drift := (*outcome.plan.drifted, *outcome.plan.unlisted):
        yield Condition(Kind.DRIFTED, True, "ChangedByHand", describe_changes(drift), now)
    if outcome.hold is not None:
        yield Condition(Kind.HELD, True, "HeldOnPurpose", outcome.hold, now)
    if outcome.other_host:
        yield Condition(Kind.HELD_BY_OTHER_HOST, True, outcome.other_host, message, now)
    yield from _states(outcome, now)
    if phase is Phase.UNMANAGED:
        yield Condition(Kind.ORPHANED, True, reason, message, now)


def _states(outcome: Outcome, now: float) -> Iterator[Condition]:
    observed = outcome.observed
    if observed is None:
        return
    if observed.job.endswith("migration"):
        yield Condition(Kind.MIGRATING, True, "JobRuns", observed.job, now)
    elif observed.state is State.PAUSED:
        word = paused_because(observed.reason)
        yield Condition(Kind.PAUSED, True, word, f"paused: {observed.reason}", now)


def paused_because(reason: str) -> str:
    """libvirt's reason for a pause in one word, such as ``PostCopyFailed``."""
    return "".join(part[:1].upper() + part[1:] for part in re.findall("[A-Za-z]+", reason))


def describe_changes(changes: Iterable[Change]) -> str:
    """Changes as one sentence: each field with old and new value."""
    return "; ".join(f"{each.field}: {_word(each.old)} → {_word(each.new)}" for each in changes)


def _word(value: object) -> str:
    return "none" if value is None else str(value)
