"""Making the interface's answers from what the daemon knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconvirt.api.answers import (
    ConditionAnswer,
    DescriptionAnswer,
    EventAnswer,
    FleetAnswer,
    HoldAnswer,
    ProblemAnswer,
    StatusAnswer,
)
from reconvirt.api.moving import answer_migration
from reconvirt.api.wire import moment
from reconvirt.controller.conditions import Condition
from reconvirt.controller.desk import Description
from reconvirt.controller.history import Event
from reconvirt.controller.holds import Hold
from reconvirt.controller.status import Fleet, Status
from reconvirt.domain.xmltree import hide_passwords
from reconvirt.manifest.problem import Problem

_SECRET_KEYS = ("passwd", "password", "secret")


def answer_condition(condition: Condition) -> ConditionAnswer:
    """A condition."""
    return ConditionAnswer(
        condition.kind,
        condition.status,
        condition.reason,
        condition.message,
        moment(condition.since),
    )


def answer_hold(hold: Hold) -> HoldAnswer:
    """A hold."""
    return HoldAnswer(hold.reason, hold.who, moment(hold.since) if hold.since else None)


def answer_status(status: Status) -> StatusAnswer:
    """A status."""
    return StatusAnswer(
        name=status.name,
        state=status.state,
        reason=status.reason or None,
        phase=status.phase,
        message=status.message,
        vcpus=status.figures.get("vcpu.current"),
        vcpus_maximum=status.figures.get("vcpu.maximum"),
        memory=status.figures.get("memory.size"),
        shares=status.figures.get("cputune.shares"),
        uuid=status.uuid,
        domain_id=status.domain_id,
        manifest=status.manifest or None,
        labels=status.labels,
        conditions=tuple(answer_condition(each) for each in status.conditions),
        due=status.due,
        waiting=status.waiting,
        refused=status.refused,
        drifted=status.drifted,
        unlisted=status.unlisted,
        diverged=status.diverged,
        overlays=status.overlays,
        hold=answer_hold(status.hold) if status.hold else None,
        step=status.step or None,
        migration=answer_migration(status.migration) if status.migration else None,
        observed_revision=status.observed_revision,
        applied_revision=status.applied_revision,
        updated=moment(status.updated) if status.updated else None,
        next_look=None if status.next_look is None else moment(status.next_look),
    )


def answer_problem(problem: Problem) -> ProblemAnswer:
    """A problem of a manifest."""
    place = problem.position
    return ProblemAnswer(
        *(place.file, place.line, place.column, problem.field, problem.message, problem.allowed)
    )


def answer_fleet(fleet: Fleet) -> FleetAnswer:
    """All statuses, by name."""
    return FleetAnswer(
        fleet.version,
        fleet.revision,
        fleet.connected,
        fleet.prune_held,
        tuple(answer_status(status) for _, status in sorted(fleet.servers.items())),
        tuple(answer_problem(each) for each in fleet.problems),
        fleet.state_problems,
    )


def answer_event(event: Event) -> EventAnswer:
    """An event."""
    return EventAnswer(
        *(event.number, moment(event.time), event.virtual_server, event.reason, event.message),
        *(event.level, event.step, event.field, event.old, event.new, event.revision),
        *(event.count, moment(event.first_time)),
    )


def answer_description(description: Description) -> DescriptionAnswer:
    """All about one virtual server."""
    spec = description.spec
    return DescriptionAnswer(
        answer_status(description.status),
        None if spec is None else {key: _without_secrets(key, each) for key, each in spec.items()},
        description.lines,
        tuple(answer_event(each) for each in description.events),
    )


def _without_secrets(key: str, value: Any) -> Any:
    """A value of a manifest to be shown: a manifest need not hold passwords, but may."""
    if isinstance(value, Mapping):
        return {str(name): _without_secrets(str(name), each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(key, each) for each in value]
    if any(word in key.lower() for word in _SECRET_KEYS):
        return "(hidden)"
    return hide_passwords(value) if isinstance(value, str) else value
