"""Planning for what runs: which differences can be made good live, and what must wait."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconvirt.domain.actions import Action, Attach, Record
from reconvirt.domain.changes import Change, Step, make_change
from reconvirt.domain.compare import (
    DeviceDifference,
    Difference,
    FieldDifference,
    PieceDifference,
    compare,
    paths_of,
)
from reconvirt.domain.desired import NOTHING, Desired, Statement, spell
from reconvirt.domain.effects import Effect, Running, Verdict
from reconvirt.domain.foreign import find_foreign
from reconvirt.domain.hotplug import (
    judge_changes,
    judge_controllers,
    judge_device,
    judge_piece,
)
from reconvirt.domain.mark import mark_element, read_mark
from reconvirt.domain.policy import Policy
from reconvirt.domain.rows import Stated
from reconvirt.domain.values import Value

if TYPE_CHECKING:
    from lxml.etree import _Element


@dataclass(slots=True)
class LivePlan:
    """What to do about what runs; filled while the differences are gone through."""

    steps: list[Step] = field(default_factory=list)
    waiting: list[Change] = field(default_factory=list)
    refused: list[Change] = field(default_factory=list)

    def add(self, change: Change, action: Action | None) -> None:
        """Sort one change in; changes that one action makes together become one step."""
        if action is not None:
            for number, step in enumerate(self.steps):
                if step.action == action:
                    self.steps[number] = Step(action, (*step.changes, change))
                    return
            self.steps.append(Step(action, (change,)))
        elif change.effect is Effect.REFUSED:
            self.refused.append(change)
        else:
            self.waiting.append(change)


def plan_running(
    desired: Desired,
    running: Running,
    hindrances: Mapping[str, str],
    unsettled: frozenset[str],
) -> LivePlan:
    """Steps, what waits, and what is refused, for the running virtual server.

    Args:
        desired: what is wanted.
        running: what runs, and the configuration as it will be.
        hindrances: fields that libvirt refused to change live, with its reason.
        unsettled: paths at which the configuration is not as wanted yet.
    """
    plan = LivePlan()
    mark = read_mark(running.live)
    differences = compare(desired.statement, mark, running.live, live=True, unsettled=unsettled)
    if desired.policy.unlisted == "detach":
        differences += tuple(find_foreign(desired.statement, mark, running.live))
    for difference in differences:
        for judged, verdict in _judge(difference, running, desired.policy):
            if verdict.action is not None and judged.path in hindrances:
                verdict = Verdict(Effect.NEXT_START, hindrances[judged.path])  # noqa: PLW2901 - as decided
            plan.add(make_change(judged, verdict.effect, verdict.reason), verdict.action)
    return plan


def _judge(
    difference: Difference, running: Running, policy: Policy
) -> Iterator[tuple[Difference, Verdict]]:
    if isinstance(difference, FieldDifference):
        for verdict in difference.row.effects.rule(running, difference.found, difference.wanted):
            yield difference, verdict
    elif isinstance(difference, DeviceDifference) and difference.fields:
        yield from judge_changes(difference, running, policy)
    else:
        judged = (
            judge_piece(difference, running)
            if isinstance(difference, PieceDifference)
            else judge_device(difference, running)
        )
        if judged is not None and isinstance(judged.action, Attach):
            for verdict in judge_controllers(difference, running):
                yield difference, verdict
        if judged is not None:
            yield difference, judged


def record_live(
    statement: Statement,
    live: _Element,
    unsettled: frozenset[str],
    hindrances: Mapping[str, str],
    *,
    everything: bool = False,
) -> list[Step]:
    """Keep the mark of the running virtual server true before anything is plugged or defined.

    It lists what is wanted, what is still to be given back, and what waits for the next start
    though libvirt's XML does not show it, or libvirt has refused it; so a daemon that is killed at
    any moment knows it.

    Args:
        statement: what is wanted.
        live: what runs.
        unsettled: paths at which the configuration is not as wanted yet.
        hindrances: fields that libvirt refused to change live, with its reason.
        everything: note all that is not in force as wanted by the manifest, where what differs
            without such a note is drift that is only to be told.
    """
    mark = read_mark(live)
    differences = compare(statement, mark, live, live=True, unsettled=unsettled)
    outstanding = _outstanding(differences)
    before = mark or NOTHING
    unseen = _unseen(differences, statement, before.fields)
    pending = {path: spell(applied) if mark else "" for path, applied in unseen}
    if everything:
        pending = {**dict.fromkeys(paths_of(differences), ""), **pending}
    # What it was started with, the first change after the start has told.
    pending |= {
        path: before.pending[path] for path in paths_of(differences) & before.pending.keys()
    }
    hindered = {path: hindrances[path] for path in paths_of(differences) & hindrances.keys()}
    target = replace(statement.including(outstanding), pending=pending, hindered=hindered)
    if target.same_as(mark):
        return []
    return [Step(Record(mark_element(target), live=True), ())]


def _outstanding(differences: Iterable[Difference]) -> Statement:
    """What the running virtual server still has of what was stated once."""
    fields: dict[str, Value] = {}
    devices: dict[str, dict[str, Stated]] = {}
    pieces: dict[str, str] = {}
    for each in differences:
        if isinstance(each, FieldDifference):
            if each.wanted is None and each.found is not None:
                fields[each.row.name] = each.found
        elif isinstance(each, PieceDifference):
            if each.wanted is None and each.applied is not None:
                pieces[each.key] = each.applied
        elif each.wanted is None and each.applied is not None:
            devices.setdefault(each.kind.name, {})[each.identity] = each.applied
        elif left := {
            row.row.name: row.found
            for row in each.fields
            if row.wanted is None and row.found is not None
        }:
            devices.setdefault(each.kind.name, {})[each.identity] = left
    return Statement(fields, devices, pieces)


def _unseen(
    differences: Iterable[Difference], statement: Statement, before: Stated
) -> Iterator[tuple[str, object]]:
    """What is wanted and not in force, where only the mark can tell; with what was applied."""
    for each in differences:
        if isinstance(each, PieceDifference):
            if each.key in statement.pieces and each.found is not None:
                yield each.path, each.applied
        elif isinstance(each, FieldDifference):
            if each.row.expanded and each.wanted is not None:
                yield each.path, before.get(each.row.name)
        elif isinstance(each, DeviceDifference) and each.wanted is not None:
            if each.kind.where != "devices":
                yield each.path, each.applied
            for row in each.fields:
                if row.row.expanded and row.wanted is not None:
                    yield row.path, (each.applied or {}).get(row.row.name)
