"""Why a virtual server is not as its manifest wants it, in a paragraph for people."""

from __future__ import annotations

from collections.abc import Iterator

from reconvirt.controller.conditions import Kind, describe_changes
from reconvirt.controller.guide import PHASES
from reconvirt.controller.holds import BY_MANIFEST, BY_US, Hold
from reconvirt.controller.outcome import Phase
from reconvirt.controller.status import Fleet, Status
from reconvirt.domain.effects import Effect

# Where nothing else goes on, what can be done is told as well.
_ADVISED = (Phase.REFUSED, Phase.NO_ANSWER, Phase.STALLED, Phase.FAILED, Phase.DRIFTED)


def explain(status: Status, fleet: Fleet) -> str:
    """What it is waiting for, and what can be done about it."""
    return " ".join(_sentences(status, fleet))


def _sentences(status: Status, fleet: Fleet) -> Iterator[str]:
    where = f"{status.state} ({status.reason})" if status.reason else status.state
    yield f"{status.name} is {where}." if where else f"{status.name} is not defined on this host."
    if status.hold is not None:
        yield f"It is left alone: {status.hold}."
        yield _end_of_hold(status, status.hold)
    elif status.phase is Phase.CONVERGED:
        yield f"{_sentence(status.message)} Nothing is waited for."
    elif status.phase is not Phase.WAITING_FOR_RESTART:
        yield _sentence(status.message)
    if (end := status.migration.expected_end if status.migration else None) is not None:
        yield f"At this speed it is there in about {end:.0f} s."
    restart = [each for each in status.waiting if each.effect is Effect.NEXT_START]
    if restart:
        yield f"These changes wait for a restart: {describe_changes(restart)}."
        yield "Why: " + "; ".join(dict.fromkeys(each.reason for each in restart)) + "."
        yield (
            "Shut the guest down, and it is started with them; or state "
            "'policy: {restart: automatic}' or 'on-guest-reboot'."
        )
    if status.phase in _ADVISED:
        yield PHASES[status.phase].todo.format(name=status.name)
    yield from _storage(status)
    if status.unlisted:
        names = ", ".join(each.field for each in status.unlisted)
        yield f"Attached by hand, and listed nowhere: {names}."
    if status.condition(Kind.ORPHANED) is not None and fleet.prune_held:
        yield f"Nothing is done about it: {fleet.prune_held}."
    problems = [each for each in fleet.problems if status.name in str(each)]
    for problem in problems:
        yield f"Its manifest has a problem: {problem}."


def _storage(status: Status) -> Iterator[str]:
    """The disks that are not at the sources that are stated."""
    # The message has told why of the first one already.
    told = status.diverged[:1] if status.phase is Phase.DIVERGED else ()
    for each in status.diverged:
        stated = "nothing" if each.new is None else each.new
        yield f"{each.field} is at {each.old}, and its manifest states {stated}."
        if each not in told:
            yield _sentence(each.reason)
    for each in status.overlays:
        yield f"{each.field} is at {each.old}: {each.reason}."


def _end_of_hold(status: Status, hold: Hold) -> str:
    if hold.who == BY_US:
        return "Repair the file, or remove it if nothing is on hold; no restart is needed."
    if hold.who != BY_MANIFEST:
        return f"'reconvirt release {status.name}' ends that."
    if status.manifest:
        return "Take the annotation reconvirt/hold out of its manifest to end that."
    return (
        "Its manifest had the annotation reconvirt/hold when it was last there. It ends when the "
        f"manifest is back without it, or by 'reconvirt release {status.name}'."
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
