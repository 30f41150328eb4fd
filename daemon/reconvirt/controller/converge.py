"""Converging one virtual server: look, take one step, and look again, until none is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog

from reconvirt.controller.evaluate import held
from reconvirt.controller.guard import Call, OnHold, Outdated, Refusal
from reconvirt.controller.memory import Memory
from reconvirt.controller.outcome import Outcome, Phase, settle
from reconvirt.controller.prune import Orphan
from reconvirt.controller.surroundings import Surroundings
from reconvirt.domain.actions import Action, Define, Record, SetAutostart, Start
from reconvirt.domain.changes import Plan, Step
from reconvirt.domain.desired import Desired
from reconvirt.domain.observed import Observed
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.errors import (
    HypervisorDown,
    HypervisorError,
    NotLive,
    NotResponding,
    OperationFailed,
    Rejected,
    Underway,
)
from reconvirt.hypervisor.schema_check import guilty_pieces

_MOST_STEPS = 256
_MOST_OUTDATED = 5
RECHECK_SECONDS = 30.0
"""When it is seen again whether storage is there, or free, of which no event tells."""

HUNG_SECONDS = 10.0
"""After how many seconds one whose QEMU hangs is seen to again: no event says that it answers."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class View:
    """What one look at a virtual server has shown.

    Attributes:
        plan: what is to be done about it.
        observed: the virtual server; None if there is none.
        memory: what is remembered of it.
    """

    plan: Plan
    observed: Observed | None
    memory: Memory


@dataclass(slots=True)
class Convergence:
    """The steps of one reconcile.

    Attributes:
        name: the virtual server.
        look: looks at it, and plans.
        hypervisor: the connection.
        around: what the host has and allows.
        stopping: whether to take no further step.
        clock: seconds that never go back.
        priority: its turn among those that wait for a start.
        desired: the manifest in force; None if it is gone.
        orphan: what was last applied, if its manifest is gone.
    """

    name: str
    look: Callable[[], View]
    hypervisor: Hypervisor
    around: Surroundings
    stopping: Callable[[], bool]
    clock: Callable[[], float]
    priority: int = 0
    desired: Desired | None = None
    orphan: Orphan | None = None
    _view: View = field(init=False)
    _taken: list[Step] = field(default_factory=list)
    _failed: dict[Action, HypervisorError] = field(default_factory=dict)
    _blocked: dict[Action, HypervisorError] = field(default_factory=dict)

    def run(self) -> Outcome:
        """Take all steps that can be taken now.

        A change of what runs that fails keeps none of the other changes back; all that comes after
        them, such as a change of the state, waits until they have succeeded.

        Raises:
            HypervisorDown: the connection is lost.
        """
        self._view = View(Plan(self.name), None, Memory())
        try:
            ended = self._take_all()
        except HypervisorDown:
            raise
        except Refusal as refusal:
            return self._refused(refusal)
        except HypervisorError as error:
            return self._failure(*self._failed.values(), error)
        if ended is not None:
            return ended
        if self._failed:
            return self._failure(*self._failed.values())
        now, memory, plan = self.clock(), self._view.memory, self._view.plan
        phase, message = settle(plan, memory.requests.complaint(plan.steps, now))
        again = memory.look_again(plan.steps, now)
        if plan.recheck:
            again = RECHECK_SECONDS if again is None else min(again, RECHECK_SECONDS)
        return self._outcome(phase, message, again=again)

    def _take_all(self) -> Outcome | None:
        """Take the steps that are due, observing again after each; the outcome if one must wait.

        Raises:
            HypervisorError: one has failed, and nothing more can be done now.
            Refusal: the guard does not allow one.
        """
        outdated = 0
        for _ in range(_MOST_STEPS):
            self._view = self.look()
            step = self._next()
            if step is None:
                break
            if self.stopping():
                due = ", ".join(each.action.verb for each in self._view.plan.steps)
                return self._outcome(Phase.DIFFERS, f"ended before {due}")
            try:
                if (waits := self._try(step)) is not None:
                    return waits
            except Outdated:
                outdated += 1
                if outdated > _MOST_OUTDATED:
                    raise
        return None

    def _next(self) -> Step | None:
        """The step that is due; None if there is none."""
        now, requests = self.clock(), self._view.memory.requests
        for step in self._view.plan.steps:
            if self._failed and not (step.in_place or isinstance(step.action, Record)):
                return None
            if step.action not in self._failed and requests.may_ask(step.action, now):
                return step
        return None

    def _try(self, step: Step) -> Outcome | None:
        """Take a step, or note its failure; what it comes to where others go first.

        Raises:
            HypervisorError: it has failed, and nothing more can be done now.
        """
        try:
            self._refuse_to_repeat(step)
            is_start = isinstance(step.action, Start)
            if is_start and not self.around.gate.enter(self.name, self.priority):
                return self._outcome(Phase.WAITING, "it waits for others to be started")
            if self._take(step):
                self._taken.append(step)
        except OperationFailed as error:
            if not step.in_place:
                raise
            self._failed[step.action] = error
        return None

    def _refuse_to_repeat(self, step: Step) -> None:
        """See that neither what was done nor what libvirt has refused is due again.

        Raises:
            OperationFailed: it is.
        """
        if (error := self._blocked.get(step.action)) is not None:
            raise OperationFailed(str(error)) from error
        if not step.asks and any(step.action == each.action for each in self._taken):
            verb = step.action.verb
            raise OperationFailed(f"{verb}: libvirt took the call, but nothing has changed")

    def _take(self, step: Step) -> bool:
        """Take a step; False if libvirt cannot do it live, which is remembered."""
        action, memory = step.action, self._view.memory
        try:
            if step.asks:
                memory.requests.begin(action)
            self.around.on_step(self.name, action.verb)
            self.around.guard.act(self.hypervisor, self._call(action))
        except Underway:
            memory.requests.accept(action, self.clock())
            return True
        except HypervisorError as error:
            if isinstance(error, NotLive | Rejected):
                return self._hinder(step, error)
            self._tell(step, "StepFailed", str(error), "error")
            raise
        finally:
            self.around.on_step(self.name, "")
            if isinstance(action, Start):
                self.around.gate.leave(self.name)
        if step.asks:
            memory.requests.accept(action, self.clock())
        memory.note(step, self._view.plan, self.clock())
        self._tell(step, "StepAsked" if step.asks else "StepDone", "", "info")
        return True

    def _call(self, action: Action) -> Call:
        view = self._view
        uuid = view.observed.uuid if view.observed else ""
        if not uuid and self.desired is not None:
            uuid = self.desired.expected_uuid
        return Call(
            self.name, uuid, action, view.observed, self.desired, self.orphan, plan=view.plan
        )

    def _refused(self, refusal: Refusal) -> Outcome:
        """What a reconcile came to in which the guard did not allow a call."""
        if isinstance(refusal, OnHold):
            outcome = held(self.name, self._view.plan, self._view.observed, str(refusal))
            return replace(outcome, steps=tuple(self._taken))
        return self._outcome(refusal.phase, str(refusal), again=refusal.again_after)

    def _hinder(self, step: Step, error: HypervisorError) -> bool:
        """Let a change of what runs wait that libvirt never makes live: the next start brings it.

        Every other step has no other way than the one that libvirt has just refused.

        Raises:
            HypervisorError: it is no such change.
        """
        memory = self._view.memory
        waits = step.in_place and step.changes and not isinstance(step.action, SetAutostart)
        if not waits:
            self._tell(step, "StepFailed", str(error), "error")
            if isinstance(step.action, Define) and memory.desired is not None:
                raise Rejected(_explain(error, step.action, memory.desired)) from error
            raise error
        reason = f"libvirt cannot do it while it runs: {error}"
        memory.hindrances.update({each.field: reason for each in step.changes})
        self._blocked[step.action] = error
        self._tell(step, "MustWaitForRestart", str(error), "warning")
        return False

    def _outcome(self, phase: Phase, message: str, *, again: float | None = None) -> Outcome:
        taken, observed = tuple(self._taken), self._view.observed
        plan = self._view.plan
        return Outcome(self.name, phase, message, plan, taken, again_after=again, observed=observed)

    def _failure(self, *errors: HypervisorError) -> Outcome:
        told = "; ".join(dict.fromkeys(map(str, errors)))
        if any(isinstance(each, NotResponding) for each in errors):
            return self._outcome(Phase.FAILED, told, again=HUNG_SECONDS)
        retry = any(not isinstance(each, Rejected) for each in errors)
        return replace(self._outcome(Phase.FAILED, told), retry=retry)

    def _tell(self, step: Step, reason: str, message: str, level: str) -> None:
        """One event a change; a step without changes keeps the books only, and is logged alone."""
        verb, tell = step.action.verb, self.around.history.tell
        if not step.changes:
            _log.debug("step done", step=verb, message=message)
        is_new = isinstance(step.action, Define) and not step.action.base
        if level == "error" or is_new:
            # It has failed, or was made, as a whole: one event tells it.
            message = message or "it is defined"
            fields = ", ".join(dict.fromkeys(change.field for change in step.changes))
            tell(self.name, reason, message, level=level, step=verb, field=fields)
            return
        for change in step.changes:
            tell(
                self.name,
                reason,
                message or change.reason,
                level=level,
                step=verb,
                field=change.field,
                old=change.old,
                new=change.new,
            )


def _explain(error: HypervisorError, action: Define, desired: Desired) -> str:
    """Why libvirt refuses a definition, with the place in the manifest where that is known."""
    pieces = desired.statement.pieces
    if not pieces or "validate" not in str(error):
        return str(error)
    position = desired.positions.get("spec.xml")
    guilty = ", ".join(guilty_pieces(action.xml, pieces)) or ", ".join(pieces)
    place = f"{position}: " if position else ""
    return f"{place}spec.xml: libvirt's schema does not allow {guilty}: {error}"
