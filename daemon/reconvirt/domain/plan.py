"""Planning: from what is wanted and what is there, the steps to take and what must wait.

A pure function. The command line shows its result and the daemon acts on it, one step at a time,
observing and planning again after each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconvirt.domain.actions import (
    Action,
    AddIothread,
    Attach,
    Define,
    DeleteIothread,
    Detach,
    Record,
    SetLifecycleAction,
    SetShares,
    SetVcpus,
    Shutdown,
    Start,
)
from reconvirt.domain.compare import Difference, FieldDifference, compare
from reconvirt.domain.desired import Desired, Statement
from reconvirt.domain.effects import Effect, Running, Verdict
from reconvirt.domain.hotplug import judge_device
from reconvirt.domain.mark import mark_element, read_mark, write_mark
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.patch import empty_domain, patch
from reconvirt.domain.places import parse_xml, print_xml
from reconvirt.domain.show import Shown, show_difference

if TYPE_CHECKING:
    from lxml.etree import _Element


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not as wanted.

    Attributes:
        field: its place in the manifest, such as ``vcpu.current`` or ``devices.disks[vdb]``.
        old: what is there, as a person reads it; None for nothing.
        new: what is wanted; None for nothing.
        effect: when the change takes effect.
        reason: why then.
    """

    field: str
    old: Shown
    new: Shown
    effect: Effect
    reason: str


@dataclass(frozen=True, slots=True)
class Step:
    """One action and the changes that it makes."""

    action: Action
    changes: tuple[Change, ...]

    @property
    def asks(self) -> bool:
        """Whether the step has only asked when its call returns, and the answer comes later."""
        # Without a wait for the guest, too, libvirt takes a device away after the call.
        return isinstance(self.action, Detach) or any(
            change.effect is Effect.GUEST for change in self.changes
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about one virtual server.

    Attributes:
        name: its name.
        steps: what to do now, in order.
        waiting: what takes effect at the next start.
        refused: what will not be done, and why.
    """

    name: str
    steps: tuple[Step, ...] = ()
    waiting: tuple[Change, ...] = ()
    refused: tuple[Change, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do, to wait for or to complain about."""
        return not (self.steps or self.waiting or self.refused)


_ORDER = (
    Define,
    Record,
    AddIothread,
    SetVcpus,
    SetShares,
    SetLifecycleAction,
    Detach,
    Attach,
    DeleteIothread,
    Start,
    Shutdown,
)

_CONFIGURED = "stored in the configuration"
_RUNS = (State.RUNNING, State.BLOCKED)
_BY_HAND = {
    State.PAUSED: "it is paused; 'virsh resume' lets it go on",
    State.CRASHED: "it has crashed and is preserved; dump it, then 'virsh destroy' ends it",
    State.SUSPENDED: "the guest sleeps; 'virsh dompmwakeup' wakes it",
}


def make_plan(
    desired: Desired,
    observed: Observed | None,
    hindrances: Mapping[str, str] | None = None,
) -> Plan:
    """What to do so that a virtual server becomes as its manifest wants it.

    Args:
        desired: what is wanted.
        observed: what libvirt has; None where it has no such domain.
        hindrances: fields that libvirt refused to change live, with its reason; they wait for
            the next start.
    """
    mark = None
    if observed is None:
        config, refusals = empty_domain(desired.name, desired.expected_uuid), []
        differences = compare(desired.statement, None, config, live=False)
    else:
        config = parse_xml(observed.config)
        mark = read_mark(config)
        if strange := _strangers(desired, observed, mark):
            return Plan(desired.name, refused=(strange,))
        differences = compare(desired.statement, mark, config, live=False)
        refusals = [_refusal(each) for each in differences if _is_refused(each)]
        if refusals:
            return Plan(desired.name, refused=tuple(refusals))
    live = parse_xml(observed.live) if observed and observed.live else None
    target = patch(config, differences, live) if differences else config
    steps, waiting = list[Step](), list[Change]()
    going_on = desired.state == "running" and observed is not None and observed.state in _RUNS
    if live is not None and going_on:
        steps, waiting, refusals = _plan_live(desired, Running(live, target), hindrances or {})
    # One that was taken over and needs no change is not written to, not even for the mark.
    if observed is None or mark is not None or differences or steps:
        steps += _plan_config(desired, mark, target, differences, new=observed is None)
        if live is not None and going_on:
            steps += _record_live(desired.statement, live)
    state = _plan_state(desired, observed)
    steps += [each for each in state if isinstance(each, Step)]
    refusals += [each for each in state if isinstance(each, Change)]
    steps.sort(key=lambda step: _ORDER.index(type(step.action)))
    return Plan(desired.name, tuple(steps), tuple(waiting), tuple(refusals))


def render(desired: Desired, observed: Observed | None = None) -> str:
    """The domain XML that a manifest leads to: a new one, or the current one patched."""
    if observed is None:
        config = empty_domain(desired.name, desired.expected_uuid)
        differences = compare(desired.statement, None, config, live=False)
    else:
        config = parse_xml(observed.config)
        differences = compare(desired.statement, read_mark(config), config, live=False)
    target = patch(config, differences)
    write_mark(target, desired.statement)
    return print_xml(target)


def _strangers(desired: Desired, observed: Observed, mark: Statement | None) -> Change | None:
    """Why this virtual server is not ours to change, if it is not."""
    if desired.uuid is not None and desired.uuid != observed.uuid:
        why = "the virtual server of this name has another uuid, which cannot be changed"
        return Change("metadata.uuid", observed.uuid, desired.uuid, Effect.REFUSED, why)
    if mark is None and observed.uuid != desired.expected_uuid:
        why = (
            "a virtual server of this name exists that reconvirt did not make; to take it over, "
            f"state metadata.uuid: {observed.uuid}"
        )
        return Change("metadata.uuid", observed.uuid, None, Effect.REFUSED, why)
    return None


def _is_refused(difference: Difference) -> bool:
    return (
        isinstance(difference, FieldDifference) and difference.row.effects.effect is Effect.REFUSED
    )


def _refusal(difference: Difference) -> Change:
    reason = difference.row.effects.summary if isinstance(difference, FieldDifference) else ""
    return _change(difference, Effect.REFUSED, reason)


def _change(difference: Difference, effect: Effect, reason: str) -> Change:
    old, new = show_difference(difference)
    return Change(difference.path, old, new, effect, reason)


def _plan_config(
    desired: Desired,
    mark: Statement | None,
    target: _Element,
    differences: Iterable[Difference],
    *,
    new: bool,
) -> list[Step]:
    """At most one step: a define that makes all changes at once, or the mark alone."""
    changes = tuple(_change(each, Effect.NEXT_START, _CONFIGURED) for each in differences)
    if changes or new:
        write_mark(target, desired.statement)
        return [Step(Define(print_xml(target)), changes)]
    if mark != desired.statement:
        return [Step(Record(mark_element(desired.statement), live=False), ())]
    return []


def _plan_live(
    desired: Desired, running: Running, hindrances: Mapping[str, str]
) -> tuple[list[Step], list[Change], list[Change]]:
    """Steps, what waits, and what is refused, for the running virtual server."""
    steps: list[Step] = []
    waiting: list[Change] = []
    refused: list[Change] = []
    mark = read_mark(running.live)
    for difference in compare(desired.statement, mark, running.live, live=True):
        for path, judged, verdict in _judge(difference, running):
            if verdict.action is not None and path in hindrances:
                verdict = Verdict(Effect.NEXT_START, hindrances[path])  # noqa: PLW2901 - as decided
            change = replace(_change(judged, verdict.effect, verdict.reason), field=path)
            if verdict.action is not None:
                steps.append(Step(verdict.action, (change,)))
            elif verdict.effect is Effect.REFUSED:
                refused.append(change)
            else:
                waiting.append(change)
    return steps, waiting, refused


def _judge(difference: Difference, running: Running) -> Iterable[tuple[str, Difference, Verdict]]:
    if isinstance(difference, FieldDifference):
        for verdict in difference.row.effects.rule(running, difference.found, difference.wanted):
            yield difference.path, difference, verdict
    elif difference.fields:
        for field in difference.fields:
            for verdict in field.row.effects.rule(running, field.found, field.wanted):
                yield field.path, field, verdict
    else:
        yield difference.path, difference, judge_device(difference, running)


def _record_live(statement: Statement, live: _Element) -> list[Step]:
    """Keep the mark of the running virtual server true before anything is plugged.

    It lists what is wanted and what is still to be given back, so that a daemon that is killed
    at any moment knows afterwards what it has plugged.
    """
    mark = read_mark(live)
    target = statement.including(_outstanding(statement, mark, live))
    if mark == target:
        return []
    return [Step(Record(mark_element(target), live=True), ())]


def _outstanding(statement: Statement, mark: Statement | None, live: _Element) -> Statement:
    """What the running virtual server still has of what was stated once."""
    fields: dict[str, str | int | bool] = {}
    devices: dict[str, dict[str, Mapping[str, str | int | bool]]] = {}
    for each in compare(statement, mark, live, live=True):
        if isinstance(each, FieldDifference):
            if each.wanted is None and each.found is not None:
                fields[each.row.name] = each.found
        elif each.wanted is None and each.applied is not None:
            devices.setdefault(each.kind.name, {})[each.identity] = each.applied
    return Statement(fields, devices)


def _plan_state(desired: Desired, observed: Observed | None) -> list[Step | Change]:
    found = observed.state if observed else None
    if desired.state == "running":
        if found in (None, State.SHUTOFF):
            why = "it shall run"
            return [Step(Start(), (_state(found, "running", Effect.LIVE, why),))]
        if found in _BY_HAND:
            return [_state(found, "running", Effect.REFUSED, _BY_HAND[found])]
    elif found in _RUNS:
        why = "the guest is asked to shut down"
        return [Step(Shutdown(), (_state(found, "shut off", Effect.GUEST, why),))]
    elif found in _BY_HAND:
        return [_state(found, "shut off", Effect.REFUSED, _BY_HAND[found])]
    return []


def _state(found: State | None, wanted: str, effect: Effect, why: str) -> Change:
    return Change("state", found.value if found else None, wanted, effect, why)
