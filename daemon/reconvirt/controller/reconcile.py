"""Reconciling one virtual server: observe, plan, take one step, and look again.

Nothing is assumed to have happened because a call returned: after every step libvirt is asked
again, and what the outcome says was read from it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

import structlog

from reconvirt.controller.memory import Memory
from reconvirt.controller.outcome import Outcome, Phase, settle
from reconvirt.controller.prune import Orphan
from reconvirt.controller.surroundings import Surroundings
from reconvirt.domain.actions import Define, Start
from reconvirt.domain.changes import Plan, Step
from reconvirt.domain.desired import Desired
from reconvirt.domain.lifecycle import Circumstances, DumpFacts, plan_removal
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.placing import only_detaching, without_hotplug
from reconvirt.domain.plan import make_plan
from reconvirt.domain.rules import HostRules
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.errors import (
    HypervisorDown,
    HypervisorError,
    NotLive,
    Rejected,
    Underway,
    VirtualServerGone,
)
from reconvirt.hypervisor.schema_check import guilty_pieces

REMOVAL_FAILED = "device-removal-failed"
"""The event of a guest that does not release a device."""

_MOST_STEPS = 256
_BY_WORD = ("destroyed", "saved", "migrated")

_log = structlog.get_logger(__name__)


class Reconciler:
    """Converges virtual servers, one at a time each.

    Args:
        hypervisor: gives the current connection, or raises HypervisorDown.
        surroundings: what the host has and allows.
        stopping: whether to take no further step.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        hypervisor: Callable[[], Hypervisor],
        surroundings: Surroundings | None = None,
        stopping: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hypervisor = hypervisor
        self._around = surroundings or Surroundings()
        self._stopping = stopping
        self._clock = clock
        self._memories: dict[str, Memory] = {}

    def reconcile(self, desired: Desired) -> Outcome:
        """Bring one virtual server as close to its manifest as can be done now.

        Raises:
            HypervisorDown: the connection is lost; nothing can be said of the virtual server.
        """
        hypervisor = self._hypervisor()

        def look() -> tuple[Plan, Observed | None, Memory]:
            observed = hypervisor.observe(desired.name, desired.uuid)
            around = self._around
            resolved, host = hypervisor.look_around(desired, around.rules)
            memory = self._remember(desired.name, desired, observed)
            host = replace(
                host,
                happened=self._circumstances(desired, observed, memory),
                overdrawn=around.shares.ask(desired, around.rules.totals, hypervisor),
            )
            plan = make_plan(resolved, observed, memory.hindrances, host)
            return plan, observed, memory

        with _bound(desired.name):
            try:
                hold = self._around.hold(desired)
                if hold is not None:
                    plan, observed, _ = look()
                    message = f"left alone: {hold}"
                    held = (desired.name, Phase.HELD, message, plan)
                    return Outcome(*held, observed=observed, hold=hold)
                if (elsewhere := self._judge(desired, hypervisor, look)) is not None:
                    return elsewhere
                outcome = self._converge(desired.name, look, hypervisor, desired.priority)
                outcome = self._told(desired, outcome)
            except HypervisorDown:
                raise
            except HypervisorError as error:
                failed = (desired.name, Phase.FAILED, str(error), Plan(desired.name))
                outcome = Outcome(*failed, retry=True)
            finally:
                self._around.shares.done(desired.name)
            memory = self._memories.get(desired.name)
            return memory.watch(outcome) if memory else outcome

    def _judge(
        self,
        desired: Desired,
        hypervisor: Hypervisor,
        look: Callable[[], tuple[Plan, Observed | None, Memory]],
    ) -> Outcome | None:
        """What is to be said of one that is another host's; None if it is ours to work on."""
        placement = self._around.placement
        if placement is None or placement.alone:
            return None
        observed = hypervisor.observe(desired.name, desired.uuid)
        if placement.leaves(desired, observed) and not placement.moving(desired.name):
            detached = self._detach_hotplug(desired, hypervisor, look)
            if detached is not None:
                return detached
        outcome = placement.judge(desired, observed)
        return None if outcome is None else self._told(desired, outcome)

    def _told(self, desired: Desired, outcome: Outcome) -> Outcome:
        placement = self._around.placement
        return placement.told(desired, outcome) if placement else outcome

    def _detach_hotplug(
        self,
        desired: Desired,
        hypervisor: Hypervisor,
        look: Callable[[], tuple[Plan, Observed | None, Memory]],
    ) -> Outcome | None:
        """Take the hotplug devices away before it is moved (chapter 15); None if there are none."""
        bare = without_hotplug(desired)
        if bare.statement == desired.statement:
            return None

        def look_at_hotplug() -> tuple[Plan, Observed | None, Memory]:
            observed, memory = hypervisor.observe(desired.name, desired.uuid), look()[2]
            plan = make_plan(bare, observed, memory.hindrances)
            return Plan(desired.name, only_detaching(plan, desired)), observed, memory

        outcome = self._converge(desired.name, look_at_hotplug, hypervisor, 0)
        return None if outcome.phase is Phase.CONVERGED else outcome

    def remove(self, orphan: Orphan) -> Outcome:
        """Do about a virtual server whose manifest is gone what its mark says.

        Raises:
            HypervisorDown: the connection is lost.
        """
        hypervisor = self._hypervisor()

        def look() -> tuple[Plan, Observed | None, Memory]:
            observed = hypervisor.observe(orphan.name)
            memory = self._remember(orphan.name, None, observed)
            if observed is None or observed.uuid != orphan.uuid:
                return Plan(orphan.name), observed, memory
            asked = memory.requests.shutdown_asked(self._clock())
            plan = plan_removal(observed, orphan.mark, Circumstances(shutdown_asked=asked))
            return plan, observed, memory

        with _bound(orphan.name):
            outcome = self._converge(orphan.name, look, hypervisor, 0)
        if outcome.phase is Phase.CONVERGED:
            done = "is undefined" if outcome.observed is None else "is shut off"
            return replace(
                outcome, phase=Phase.UNMANAGED, message=f"its manifest is gone; it {done}"
            )
        return outcome

    def forget(self, name: str) -> None:
        """Remember nothing of a virtual server."""
        self._memories.pop(name, None)
        self._around.gate.forget(name)
        self._around.shares.forget(name)

    def admit(self, rules: HostRules) -> None:
        """Hold manifests against other rules of the host from now on."""
        self._around = replace(self._around, rules=rules)

    def try_anew(self, name: str) -> None:
        """Forget what was asked for and what has failed: somebody has said to try again."""
        if (memory := self._memories.get(name)) is not None:
            memory.try_anew()
        if self._around.placement is not None:
            self._around.placement.try_anew(name)

    def refuse_removal(self, name: str, alias: str) -> None:
        """A guest has refused to release a device; called on libvirt's event thread."""
        if (memory := self._memories.get(name)) is not None:
            memory.requests.refuse(alias)

    def _converge(
        self,
        name: str,
        look: Callable[[], tuple[Plan, Observed | None, Memory]],
        hypervisor: Hypervisor,
        priority: int,
    ) -> Outcome:
        taken: list[Step] = []
        plan, observed, complaint, again = Plan(name), None, "", None

        def outcome(phase: Phase, message: str, *, retry: bool = False) -> Outcome:
            return Outcome(
                *(name, phase, message, plan, tuple(taken)),
                retry=retry,
                again_after=again,
                observed=observed,
            )

        try:
            for _ in range(_MOST_STEPS):
                plan, observed, memory = look()
                now = self._clock()
                step = next((s for s in plan.steps if memory.requests.may_ask(s.action, now)), None)
                if step is None:
                    complaint = memory.requests.complaint(plan.steps, now)
                    again = memory.look_again(plan.steps, now)
                    break
                if (hurdle := self._hurdle(name, step, taken, plan, priority)) is not None:
                    phase, message = hurdle
                    return outcome(phase, message, retry=phase is Phase.FAILED)
                if self._take(name, step, plan, hypervisor, memory):
                    taken.append(step)
        except HypervisorDown:
            raise
        except VirtualServerGone as error:
            return outcome(Phase.FAILED, str(error), retry=True)
        except HypervisorError as error:
            return outcome(Phase.FAILED, str(error), retry=not isinstance(error, Rejected))
        return outcome(*settle(plan, complaint))

    def _hurdle(
        self, name: str, step: Step, taken: list[Step], plan: Plan, priority: int
    ) -> tuple[Phase, str] | None:
        """Why a step is not taken though it is due."""
        if self._stopping():
            due = ", ".join(each.action.verb for each in plan.steps)
            return Phase.DIFFERS, f"ended before {due}"
        if not step.asks and any(step.action == each.action for each in taken):
            message = f"{step.action.verb}: libvirt took the call, but nothing has changed"
            return Phase.FAILED, message
        if isinstance(step.action, Start) and not self._around.gate.enter(name, priority):
            return Phase.WAITING, "it waits for others to be started"
        return None

    def _remember(self, name: str, desired: Desired | None, observed: Observed | None) -> Memory:
        """What is known of this virtual server since its last start."""
        memory = self._memories.setdefault(name, Memory())
        memory.see(desired, observed)
        return memory

    def _circumstances(
        self, desired: Desired, observed: Observed | None, memory: Memory
    ) -> Circumstances:
        now = self._clock()
        state, placement = observed.state if observed else None, self._around.placement
        memory.starts.seen(
            now,
            runs=state not in (None, State.SHUTOFF, State.CRASHED),
            by_itself=observed is not None and observed.reason not in _BY_WORD,
        )
        return Circumstances(
            memory.requests.shutdown_asked(now),
            memory.starts.why_not_yet(now)
            or self._around.not_yet(desired)
            or (placement.why_not_start(desired, observed) if placement else ""),
            memory.restarted_for,
            self._around.dumps.facts(observed) if observed else DumpFacts(),
        )

    def _take(
        self, name: str, step: Step, plan: Plan, hypervisor: Hypervisor, memory: Memory
    ) -> bool:
        """Take a step; False if libvirt cannot do it live, which is remembered."""
        action = step.action
        try:
            if step.asks:
                memory.requests.ask(action, self._clock())
            self._around.on_step(name, action.verb)
            hypervisor.act(name, action)
        except Underway:
            return True
        except (NotLive, Rejected) as error:
            return self._hinder(name, step, error, memory)
        except HypervisorError as error:
            if step.asks:
                memory.requests.take_back(action)
            self._tell(name, step, "StepFailed", str(error), "error")
            raise
        finally:
            self._around.on_step(name, "")
            if isinstance(action, Start):
                self._around.gate.leave(name)
        memory.note(step, plan, self._clock())
        self._tell(name, step, "StepAsked" if step.asks else "StepDone", "", "info")
        return True

    def _hinder(self, name: str, step: Step, error: HypervisorError, memory: Memory) -> bool:
        """Let a live change wait that libvirt will never make: the next start brings it.

        Raises:
            HypervisorError: it is no such change.
        """
        if isinstance(step.action, Define | Start) or not step.changes:
            self._tell(name, step, "StepFailed", str(error), "error")
            if isinstance(step.action, Define) and memory.desired is not None:
                raise Rejected(_explain(error, step.action, memory.desired)) from error
            raise error
        reason = f"libvirt cannot do it while it runs: {error}"
        memory.hindrances.update({each.field: reason for each in step.changes})
        self._tell(name, step, "MustWaitForRestart", str(error), "warning")
        return False

    def _tell(self, name: str, step: Step, reason: str, message: str, level: str) -> None:
        """One event a change; a step without changes keeps the books only, and is logged alone."""
        verb = step.action.verb
        if not step.changes:
            _log.debug("step done", step=verb, message=message)
        is_new = isinstance(step.action, Define) and not step.action.base
        if level == "error" or is_new:
            # It has failed, or was made, as a whole: one event tells it.
            message = message or "it is defined"
            fields = ", ".join(dict.fromkeys(change.field for change in step.changes))
            self._around.history.tell(name, reason, message, level=level, step=verb, field=fields)
            return
        for change in step.changes:
            self._around.history.tell(
                name,
                reason,
                message or change.reason,
                level=level,
                step=verb,
                field=change.field,
                old=change.old,
                new=change.new,
            )


def _bound(name: str) -> AbstractContextManager[None]:
    return structlog.contextvars.bound_contextvars(
        virtual_server=name, reconcile=uuid.uuid4().hex[:8]
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
