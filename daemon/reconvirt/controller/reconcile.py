"""Reconciling one virtual server: observe, plan, take one step, and look again.

Nothing is assumed to have happened because a call returned: after every step libvirt is asked
again, and what the outcome says was read from it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from reconvirt.controller.outcome import Outcome, Phase, settle
from reconvirt.controller.requests import ASK_AGAIN_SECONDS, Requests
from reconvirt.domain.actions import Define, Start
from reconvirt.domain.changes import Plan, Step
from reconvirt.domain.desired import Desired
from reconvirt.domain.observed import Observed
from reconvirt.domain.plan import make_plan
from reconvirt.domain.rules import NO_RULES, HostRules
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

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Memory:
    """What is remembered of a virtual server between two looks at it.

    Nothing that matters is lost with it: a guest may be asked once more, or a change that libvirt
    refused to make live may be tried once more.
    """

    domain_id: int | None
    desired: Desired
    requests: Requests = field(default_factory=Requests)
    hindrances: dict[str, str] = field(default_factory=dict)


class Reconciler:
    """Converges virtual servers, one at a time each.

    Args:
        hypervisor: gives the current connection, or raises HypervisorDown.
        rules: what the host allows in manifests.
        stopping: whether to take no further step.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        hypervisor: Callable[[], Hypervisor],
        rules: HostRules = NO_RULES,
        stopping: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hypervisor = hypervisor
        self.rules = rules
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

    def refuse_removal(self, name: str, alias: str) -> None:
        """A guest has refused to release a device; called on libvirt's event thread."""
        if (memory := self._memories.get(name)) is not None:
            memory.requests.refuse(alias)

    def _converge(self, manifest: Desired, hypervisor: Hypervisor) -> Outcome:
        taken: list[Step] = []
        plan, complaint = Plan(manifest.name), ""
        try:
            for _ in range(_MOST_STEPS):
                observed = hypervisor.observe(manifest.name)
                desired, host = hypervisor.look_around(manifest, self.rules)
                memory = self._remember(manifest, observed)
                plan = make_plan(desired, observed, memory.hindrances, host)
                now = self._clock()
                step = next((s for s in plan.steps if memory.requests.may_ask(s.action, now)), None)
                if step is None:
                    complaint = memory.requests.complaint(plan.steps, now)
                    break
                if self._stopping():
                    due = ", ".join(each.action.verb for each in plan.steps)
                    return Outcome(
                        manifest.name, Phase.DIFFERS, f"ended before {due}", plan, tuple(taken)
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
        phase, message = settle(plan, complaint)
        waits = phase is Phase.WAITING_FOR_GUEST
        again = ASK_AGAIN_SECONDS if waits else None
        return Outcome(manifest.name, phase, message, plan, tuple(taken), again_after=again)

    def _remember(self, desired: Desired, observed: Observed | None) -> _Memory:
        """What is known of this virtual server since its last start."""
        domain_id = observed.domain_id if observed else None
        memory = self._memories.get(desired.name)
        if memory is None or memory.domain_id != domain_id:
            memory = self._memories[desired.name] = _Memory(domain_id, desired)
        if memory.desired != desired:
            memory.desired = desired
            memory.hindrances.clear()
            memory.requests = Requests()
        return memory

    def _take(self, step: Step, hypervisor: Hypervisor, memory: _Memory) -> bool:
        """Take a step; False if libvirt cannot do it live, which is remembered."""
        name = memory.desired.name
        with structlog.contextvars.bound_contextvars(step=step.action.verb):
            changes = [f"{each.field}: {each.old} → {each.new}" for each in step.changes]
            if step.asks:
                memory.requests.ask(step.action, self._clock())
            try:
                hypervisor.act(name, step.action)
            except Underway:
                return True
            except (NotLive, Rejected) as error:
                # A live change that libvirt will never make is no reason to try for ever: the
                # configuration has it, so the next start brings it.
                if isinstance(step.action, Define | Start) or not step.changes:
                    _log.error("step failed", changes=changes, error=str(error))
                    if isinstance(step.action, Define):
                        raise Rejected(_explain(error, step.action, memory.desired)) from error
                    raise
                reason = f"libvirt cannot do it while it runs: {error}"
                memory.hindrances.update({each.field: reason for each in step.changes})
                _log.warning("must wait for a restart", changes=changes, error=str(error))
                return False
            except HypervisorError as error:
                if step.asks:
                    memory.requests.take_back(step.action)
                _log.error("step failed", changes=changes, error=str(error))
                raise
            _log.info("step asked for" if step.asks else "step done", changes=changes)
        return True


def _failure(plan: Plan, taken: list[Step], message: str, *, retry: bool) -> Outcome:
    return Outcome(plan.name, Phase.FAILED, message, plan, tuple(taken), retry=retry)


def _explain(error: HypervisorError, action: Define, desired: Desired) -> str:
    """Why libvirt refuses a definition, with the place in the manifest where that is known."""
    pieces = desired.statement.pieces
    if not pieces or "validate" not in str(error):
        return str(error)
    position = desired.positions.get("spec.xml")
    guilty = ", ".join(guilty_pieces(action.xml, pieces)) or ", ".join(pieces)
    place = f"{position}: " if position else ""
    return f"{place}spec.xml: libvirt's schema does not allow {guilty}: {error}"
