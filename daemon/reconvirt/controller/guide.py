"""What each condition and each reason means, and what to do about it.

``reconvirt why``, the manual page and the documentation tell it from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconvirt.controller.conditions import REASONS, Kind, conditions_of, paused_because
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.domain.changes import Change, Plan
from reconvirt.domain.effects import Effect


@dataclass(frozen=True, slots=True)
class Advice:
    """What something means, and what to do about it.

    Attributes:
        meaning: in a sentence.
        todo: in a sentence or two, where ``{name}`` stands for the virtual server.
    """

    meaning: str
    todo: str = ""


KINDS: Mapping[Kind, Advice] = {
    Kind.READY: Advice(
        "It is as its manifest wants it, as far as that can be without a restart, or it is "
        "another host's. The only one that is always there, and the only one that can be false.",
        "If it is false, its reason and its message say why.",
    ),
    Kind.RECONCILING: Advice(
        "Steps are being taken, something is awaited, or what has failed is tried again.",
        "Wait. If it stays, `reconvirt why {name}` tells what it waits for.",
    ),
    Kind.STALLED: Advice(
        "Nothing more happens until somebody does something.",
        "What its reason says, below.",
    ),
    Kind.RESTART_REQUIRED: Advice(
        "Changes are stored in the configuration and wait for the next start; the message has "
        "each field with old and new value.",
        "Shut the guest down, and it is started with them; or state "
        "`policy: {{restart: automatic}}` or `on-guest-reboot`.",
    ),
    Kind.DRIFTED: Advice(
        "Something was changed or attached by hand, and is only told: the policy `drift` or "
        "`unlisted` is `report`.",
        "Take it over into the manifest, undo it, or state `policy: {{drift: correct}}` or "
        "`{{unlisted: detach}}`.",
    ),
    Kind.HELD: Advice(
        "It is left alone on purpose, by `reconvirt hold` or the annotation `reconvirt/hold`; "
        "the message is why, and who said so.",
        "`reconvirt release {name}`, or take the annotation away.",
    ),
    Kind.PAUSED: Advice(
        "It is there, and its guest does nothing; the reason is libvirt's, below.",
        "If its manifest says `paused`, nothing. Else see its reason.",
    ),
    Kind.MIGRATING: Advice(
        "It is on its way to or from another host.",
        "Wait, or `reconvirt migrate --abort {name}` on the host that it leaves.",
    ),
    Kind.HELD_BY_OTHER_HOST: Advice(
        "The other host that the reason names has it, or may have it: it is not defined, started "
        "or resumed here.",
        "If that host is off for sure, `reconvirt host fenced HOST` on this one.",
    ),
    Kind.ORPHANED: Advice(
        "Its manifest is gone. What its last one said of `on_removal` is done after "
        "`prune_grace_seconds`.",
        "Bring the manifest back; or, if pruning is held, `reconvirt approve prune`.",
    ),
}

PHASES: Mapping[Phase, Advice] = {
    Phase.CONVERGED: Advice("It is as its manifest wants it."),
    Phase.WAITING_FOR_RESTART: Advice(
        "All that can be done while it runs is done.",
        "See the condition `RestartRequired`.",
    ),
    Phase.ELSEWHERE: Advice("It is, or shall be, on another host.", "Ask that host's daemon."),
    Phase.DIFFERS: Advice("Steps are due, and the daemon is ending or has just begun.", "Wait."),
    Phase.WAITING_FOR_GUEST: Advice(
        "The guest was asked to shut down, or to release something, and has not answered yet.",
        "Wait, or see what the guest does.",
    ),
    Phase.WAITING: Advice(
        "Something else must come first: another virtual server's start, an answer of another "
        "host, a free slot, a job of libvirt.",
        "Wait; the message says for what.",
    ),
    Phase.NO_ANSWER: Advice(
        "The guest was asked often enough and does nothing, or it has refused.",
        "See what the guest does (virsh console); restart it, or undo the change.",
    ),
    Phase.REFUSED: Advice(
        "Something is wanted that reconvirt does not do, or that the host does not admit; "
        "something stands against a migration, or a person has ended it. The message says what "
        "and why.",
        "Change its manifest, or what the message names; it is looked at again then. "
        "'reconvirt reconcile {name}' has it tried at once.",
    ),
    Phase.FAILED: Advice(
        "A call of libvirt or a migration has failed; the message is what was said.",
        "It is tried again by itself, less and less often; 'reconvirt reconcile {name}' tries it "
        "at once. What libvirt rejects as a definition waits for another manifest instead.",
    ),
    Phase.STALLED: Advice(
        "The same has failed five times in a row, and nothing has changed by it.",
        "See libvirt's log; 'reconvirt reconcile {name}' tries it at once.",
    ),
    Phase.DRIFTED: Advice(
        "Something was changed by hand, and the policy `drift` is `report`.",
        "Take the change over into its manifest, undo it, or state 'policy: {{drift: correct}}'.",
    ),
    Phase.HELD: Advice("It is left alone on purpose.", "See the condition `Held`."),
    Phase.UNMANAGED: Advice("Its manifest is gone.", "See the condition `Orphaned`."),
    Phase.UNREADABLE: Advice(
        "No manifest in force states it, and not all manifests can be read: it may have one. "
        "Nothing is done about it.",
        "Repair what `reconvirt get` shows as errors.",
    ),
}

PAUSES: Mapping[str, Advice] = {
    "user": Advice(
        "Somebody has suspended it: its manifest, or a person.",
        "A manifest that says `running` resumes it.",
    ),
    "I/O error": Advice(
        "A disk could not be written or read, and its `error_policy` stops the guest: often the "
        "host's file system is full.",
        "Make room or mend the path; then `virsh resume {name}`.",
    ),
    "watchdog": Advice(
        "Its watchdog expired, with the action `pause`.",
        "See the guest's console; the policy `watchdog` can resume it, have it dump "
        "itself, or restart it.",
    ),
    "crashed": Advice(
        "The guest has crashed, and is kept.",
        "Have it dumped or started anew by the policy `crash`, or by hand.",
    ),
    "api error": Advice(
        "libvirt could not let it go on.",
        "See libvirt's log; then `virsh resume {name}`.",
    ),
    "migrating": Advice("The last of its memory is being sent.", "Wait."),
    "saving": Advice("Its system image is being saved.", "Wait."),
    "dumping": Advice("Its memory is being dumped.", "Wait."),
    "starting up": Advice("QEMU is being set up.", "Wait."),
    "post-copy failed": Advice(
        "A migration after post-copy has lost the network: its memory is lost.",
        "`virsh destroy {name}`; it is started anew.",
    ),
}

FIXED: Mapping[Kind, tuple[str, str]] = {
    Kind.RESTART_REQUIRED: ("`ChangesWait`", "each field with old and new value"),
    Kind.DRIFTED: ("`ChangedByHand`", "each field, with what it should be"),
    Kind.HELD: ("`HeldOnPurpose`", "why, and who said so"),
    Kind.MIGRATING: ("`JobRuns`", "libvirt's job: outgoing or incoming migration"),
    Kind.HELD_BY_OTHER_HOST: ("the host's name", "what that host says of it"),
    Kind.PAUSED: ("libvirt's, see below", "the reason in libvirt's words"),
    Kind.ORPHANED: ("`ManifestGone`", "what is done about it"),
}

_INTRODUCTION = """\
# Conditions

What is the matter with a virtual server, as `reconvirt get`, `describe` and `get -o json` show it,
the [page](interface.md#the-page), and the metric `reconvirt_virtual_server_condition`. `Ready` is
always there, true or false; every other condition exists only while it is true. Each has a reason,
a message, and the time since when it is so.
"""


def conditions_reference() -> str:
    """All conditions and reasons for people, in Markdown."""
    return "\n".join(
        (
            _INTRODUCTION,
            *_table(("condition", "meaning", "what to do"), _kinds()),
            "",
            "## Reasons of `Ready`, `Reconciling` and `Stalled`",
            "",
            "They share one reason, which stands for how far it is: STATUS in `reconvirt get`.",
            "",
            *_table(("reason", "STATUS", "conditions", "meaning", "what to do"), _reasons()),
            "",
            "## Reasons of the others",
            "",
            *_table(("condition", "reason", "message"), _others()),
            "",
            "## Reasons of `Paused`",
            "",
            "libvirt's words, as one. Others than these go by themselves.",
            "",
            *_table(("reason", "meaning", "what to do"), _pauses()),
            "",
        )
    )


def _table(header: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _kinds() -> Iterator[tuple[str, ...]]:
    for kind in Kind:
        yield f"`{kind}`", KINDS[kind].meaning, _todo(KINDS[kind])


def _reasons() -> Iterator[tuple[str, ...]]:
    for phase, reason in sorted(REASONS.items(), key=lambda each: each[1]):
        advice = PHASES[phase]
        yield f"`{reason}`", str(phase), _conditions(phase), advice.meaning, _todo(advice)


def _conditions(phase: Phase) -> str:
    """The conditions that a phase leads to, as `conditions_of` makes them."""
    told = dict.fromkeys(_told(_example(phase, retry=retry)) for retry in (True, False))
    return " or, if it is not tried again, ".join(told)


def _told(outcome: Outcome) -> str:
    found = conditions_of(outcome, {}, 0.0)
    return ", ".join(f"`{kind}`" if each.status else "not ready" for kind, each in found.items())


def _example(phase: Phase, *, retry: bool) -> Outcome:
    change = Change("", None, None, Effect.NEXT_START, "")
    plan = {
        Phase.WAITING_FOR_RESTART: Plan("", waiting=(change,)),
        Phase.DRIFTED: Plan("", drifted=(change,)),
    }.get(phase, Plan(""))
    hold = "" if phase is Phase.HELD else None
    return Outcome("", phase, "", plan, retry=retry, hold=hold)


def _others() -> Iterator[tuple[str, ...]]:
    for kind, (reason, message) in FIXED.items():
        yield f"`{kind}`", reason, message


def _pauses() -> Iterator[tuple[str, ...]]:
    for reason, advice in PAUSES.items():
        yield f"`{paused_because(reason)}`", advice.meaning, _todo(advice)


def _todo(advice: Advice) -> str:
    """As Markdown: what is to be typed or written stands in quotes on a terminal."""
    return re.sub(r"(?<!\w)'([^']* [^']*)'(?!\w)", r"`\1`", advice.todo.format(name="NAME"))
