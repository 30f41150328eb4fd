"""Reconciling one virtual server: observe, plan, take one step, and look again.

Nothing is assumed to have happened because a call returned: after every step libvirt is asked
again, and what the outcome says was read from it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from reconvirt.controller.outcome import Outcome, Phase, settle
from reconvirt.domain.actions import Action, Define, Start
from reconvirt.domain.desired import Desired
from reconvirt.domain.observed import Observed
from reconvirt.domain.plan import Plan, Step, make_plan
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.errors import (
    HypervisorDown,
    HypervisorError,
    NotLive,
    Rejected,
    Underway,
    VirtualServerGone,
)

ASK_AGAIN_SECONDS = 20.0
"""How long a guest has to answer before it is asked again."""

_MOST_STEPS = 256

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Memory:
    """What is remembered of a virtual server between two looks at it.

    Nothing that matters is lost with it: a guest may be asked once more, or a change that libvirt
    refused to make live may be tried once more.
    """

    domain_id: int | None
    desired: Desired
    asked: dict[Action, float] = field(default_factory=dict)
    hindrances: dict[str, str] = field(default_factory=dict)


class Reconciler:
    """Converges virtual servers, one at a time each.

    Args:
        hypervisor: gives the current connection, or raises HypervisorDown.
        stopping: whether to take no further step.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        hypervisor: Callable[[], Hypervisor],
        stopping: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hypervisor = hypervisor
        self._stopping = stopping
        self._clock = clock
        self._memories: dict[str, _Memory] = {}

    def reconcile(self, desired: Desired) -> Outcome:
        """Bring one virtual server as close to its manifest as can be done now.

        Raises:
            HypervisorDown: the connection is lost; nothing can be said of the virtual server.
        """
        with structlog.contextvars.bound_contextvars(
            virtual_server=desired.name, reconcile=uuid.uuid4().hex[:8]
        ):
            return self._converge(desired, self._hypervisor())

    def forget(self, name: str) -> None:
        """Remember nothing of a virtual server."""
        self._memories.pop(name, None)

    def _converge(self, desired: Desired, hypervisor: Hypervisor) -> Outcome:
        taken: list[Step] = []
        plan = Plan(desired.name)
        try:
            for _ in range(_MOST_STEPS):
                observed = hypervisor.observe(desired.name)
                memory = self._remember(desired, observed)
                plan = make_plan(desired, observed, memory.hindrances)
                step = self._next_step(plan, memory.asked)
                if step is None:
                    break
                if self._stopping():
                    due = ", ".join(each.action.verb for each in plan.steps)
                    return Outcome(
                        desired.name, Phase.DIFFERS, f"ended before {due}", plan, tuple(taken)
                    )
                if not step.asks and any(step.action == each.action for each in taken):
                    message = f"{step.action.verb}: libvirt took the call, but nothing has changed"
                    return _failure(plan, taken, message, retry=True)
                if self._take(step, hypervisor, memory):
                    taken.append(step)
        except HypervisorDown:
            raise
        except VirtualServerGone as error:
            return _failure(plan, taken, str(error), retry=True)
        except HypervisorError as error:
            return _failure(plan, taken, str(error), retry=not isinstance(error, Rejected))
        phase, message = settle(plan)
        waits = phase is Phase.WAITING_FOR_GUEST
        again = ASK_AGAIN_SECONDS if waits else None
        return Outcome(desired.name, phase, message, plan, tuple(taken), again_after=again)

    def _remember(self, desired: Desired, observed: Observed | None) -> _Memory:
        """What is known of this virtual server since its last start."""
        domain_id = observed.domain_id if observed else None
        memory = self._memories.get(desired.name)
        if memory is None or memory.domain_id != domain_id:
            memory = self._memories[desired.name] = _Memory(domain_id, desired)
        if memory.desired != desired:
            memory.desired = desired
            memory.hindrances.clear()
        return memory

    def _next_step(self, plan: Plan, asked: Mapping[Action, float]) -> Step | None:
        """The first step that is not waiting for the guest's answer."""
        now = self._clock()
        for step in plan.steps:
            if now - asked.get(step.action, -ASK_AGAIN_SECONDS) >= ASK_AGAIN_SECONDS:
                return step
        return None

    def _take(self, step: Step, hypervisor: Hypervisor, memory: _Memory) -> bool:
        """Take a step; False if libvirt cannot do it live, which is remembered."""
        name = memory.desired.name
        with structlog.contextvars.bound_contextvars(step=step.action.verb):
            changes = [f"{each.field}: {each.old} → {each.new}" for each in step.changes]
            try:
                hypervisor.act(name, step.action)
            except Underway:
                memory.asked[step.action] = self._clock()
                return True
            except (NotLive, Rejected) as error:
                # A live change that libvirt will never make is no reason to try for ever: the
                # configuration has it, so the next start brings it.
                if isinstance(step.action, Define | Start) or not step.changes:
                    _log.error("step failed", changes=changes, error=str(error))
                    if isinstance(step.action, Define):
                        raise Rejected(str(error)) from error
                    raise
                reason = f"libvirt cannot do it while it runs: {error}"
                memory.hindrances.update({each.field: reason for each in step.changes})
                _log.warning("must wait for a restart", changes=changes, error=str(error))
                return False
            except HypervisorError as error:
                _log.error("step failed", changes=changes, error=str(error))
                raise
            if step.asks:
                memory.asked[step.action] = self._clock()
            _log.info("step asked for" if step.asks else "step done", changes=changes)
        return True


def _failure(plan: Plan, taken: list[Step], message: str, *, retry: bool) -> Outcome:
    return Outcome(plan.name, Phase.FAILED, message, plan, tuple(taken), retry=retry)
