"""How values look on the page: words, tones and rows; pure functions for the templates."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape

from reconvirt.api.moving import answer_migration, tell_progress
from reconvirt.controller.conditions import Condition, Kind
from reconvirt.controller.outcome import Phase
from reconvirt.controller.status import Status
from reconvirt.domain.changes import Change

_TONES = {
    Phase.CONVERGED: "good",
    Phase.WAITING_FOR_RESTART: "wait",
    Phase.WAITING_FOR_GUEST: "busy",
    Phase.WAITING: "busy",
    Phase.DIFFERS: "busy",
    Phase.DRIFTED: "wait",
    Phase.HELD: "held",
    Phase.STALLED: "bad",
    Phase.NO_ANSWER: "bad",
    Phase.REFUSED: "bad",
    Phase.FAILED: "bad",
    Phase.ELSEWHERE: "mute",
    Phase.UNMANAGED: "mute",
    Phase.UNREADABLE: "mute",
}
_CONDITION_TONES = {
    Kind.RECONCILING: "busy",
    Kind.STALLED: "bad",
    Kind.RESTART_REQUIRED: "wait",
    Kind.DRIFTED: "wait",
    Kind.HELD: "held",
    Kind.PAUSED: "mute",
    Kind.MIGRATING: "busy",
    Kind.HELD_BY_OTHER_HOST: "held",
    Kind.ORPHANED: "mute",
}
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True, slots=True)
class Badge:
    """A word in a tone.

    Attributes:
        word: the word.
        tone: ``good``, ``wait``, ``busy``, ``held``, ``bad`` or ``mute``.
        title: a sentence about it.
    """

    word: str
    tone: str
    title: str


@dataclass(frozen=True, slots=True)
class Count:
    """How many virtual servers are so."""

    number: int
    words: str
    tone: str


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """A change, and the word for what is done about it."""

    word: str
    tone: str
    change: Change


def breakable(path: object) -> Markup:
    """A value or the path of a field, which may go on in the next line after a dot or slash."""
    return Markup(re.sub(r"([./])", r"\1<wbr>", str(escape(path))))  # noqa: S704 - just escaped


def phase_tone(phase: Phase) -> str:
    """The tone of a phase."""
    return _TONES[phase]


def age(seconds: float) -> str:
    """A length of time in its largest unit, such as ``3 min``."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "0 s"


def condition_badges(conditions: Iterable[Condition]) -> list[Badge]:
    """The conditions that are worth a look; ``Ready`` is what the phase says already."""
    return [
        Badge(str(each.kind), _CONDITION_TONES[each.kind], each.message)
        for each in conditions
        if each.kind is not Kind.READY
    ]


def moving(status: Status) -> str:
    """How far it is on its way to another host; "" if it stays."""
    return tell_progress(answer_migration(status.migration)) if status.migration else ""


def change_rows(status: Status) -> list[ChangeRow]:
    """All that is not as wanted, the most urgent first."""
    groups = (
        ("refused", "bad", status.refused),
        ("due now", "busy", status.due),
        ("waits", "wait", status.waiting),
        ("changed by hand", "wait", status.drifted),
        ("attached by hand", "mute", status.unlisted),
    )
    return [ChangeRow(word, tone, each) for word, tone, changes in groups for each in changes]


def summary_of(servers: Iterable[Status]) -> list[Count]:
    """How many are how; what is not there is not counted, save those that are as wanted."""
    tones = [phase_tone(each.phase) for each in servers]
    words = {
        "good": "as wanted",
        "busy": "being worked on",
        "wait": "waiting or drifted",
        "held": "held",
        "bad": "in trouble",
        "mute": "without a manifest",
    }
    counts = [Count(tones.count(tone), text, tone) for tone, text in words.items()]
    return [each for each in counts if each.number or each.tone == "good"]
