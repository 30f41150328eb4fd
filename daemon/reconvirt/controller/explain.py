"""Why a virtual server is not as its manifest wants it, in a paragraph for people."""

from __future__ import annotations

from collections.abc import Iterator

from reconvirt.controller.conditions import Kind, describe_changes
from reconvirt.controller.guide import PHASES
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
        yield f"'reconvirt release {status.name}' ends that."
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
    if status.unlisted:
        names = ", ".join(each.field for each in status.unlisted)
        yield f"Attached by hand, and listed nowhere: {names}."
    if status.condition(Kind.ORPHANED) is not None and fleet.prune_held:
        yield f"Nothing is done about it: {fleet.prune_held}."
    problems = [each for each in fleet.problems if status.name in str(each)]
    for problem in problems:
        yield f"Its manifest has a problem: {problem}."


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
