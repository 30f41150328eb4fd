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

from reconvirt.controller.converge import HUNG_SECONDS, Convergence, View
from reconvirt.controller.evaluate import held
from reconvirt.controller.holds import Hold
from reconvirt.controller.memory import Memory
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.controller.prune import Orphan, Standing
from reconvirt.controller.surroundings import Surroundings, find_hold
from reconvirt.domain.actions import Start
from reconvirt.domain.changes import Plan
from reconvirt.domain.desired import Desired
from reconvirt.domain.lifecycle import Circumstances, DumpFacts, plan_removal
from reconvirt.domain.mark import read_mark
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.placing import only_detaching, without_hotplug
from reconvirt.domain.plan import make_plan
from reconvirt.domain.rules import HostRules
from reconvirt.domain.xmltree import parse_xml
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.errors import HypervisorDown, HypervisorError, NotResponding

REMOVAL_FAILED = "device-removal-failed"
"""The event of a guest that does not release a device."""

_BY_WORD = ("destroyed", "saved", "migrated")


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
        try:
            outcome = self._reconcile(desired)
        except BaseException:
            # It comes again later; others must not wait for it meanwhile.
            self._around.gate.forget(desired.name)
            raise
        starts = any(isinstance(step.action, Start) for step in outcome.plan.steps)
        if outcome.phase is not Phase.WAITING or not starts:
            # It does not want to be started any more, or something stands against it.
            self._around.gate.forget(desired.name)
        return outcome

    def _reconcile(self, desired: Desired) -> Outcome:
        hypervisor = self._hypervisor()

        def look() -> View:
            observed = hypervisor.observe(desired.name, desired.expected_uuid)
            around = self._around
            resolved, host = hypervisor.look_around(desired, around.rules)
            memory = self._remember(desired.name, desired, observed)
            around.images.note(desired.expected_uuid, host.images)
            host = replace(
                host,
                known_images=around.images.known(host.images),
                happened=self._circumstances(desired, observed, memory),
                overdrawn=around.shares.ask(desired, around.rules.totals, hypervisor),
            )
            plan = make_plan(resolved, observed, memory.hindrances, host)
            return View(plan, observed, memory)

        with _bound(desired.name):
            try:
                hold = self._find_hold(desired, hypervisor)
                if hold is not None:
                    view = look()
                    return held(desired.name, view.plan, view.observed, str(hold))
                if (elsewhere := self._judge(desired, hypervisor, look)) is not None:
                    # It asks for nothing here: it is not woken when there is more to be had.
                    self._around.shares.forget(desired.name)
                    return elsewhere
                outcome = self._converge(desired.name, look, hypervisor, desired)
                outcome = self._told(desired, outcome)
            except HypervisorDown:
                raise
            except NotResponding as error:
                hung = (desired.name, Phase.FAILED, str(error), Plan(desired.name))
                outcome = Outcome(*hung, again_after=HUNG_SECONDS)
            except HypervisorError as error:
                failed = (desired.name, Phase.FAILED, str(error), Plan(desired.name))
                outcome = Outcome(*failed, retry=True)
            finally:
                self._around.shares.done(desired.name)
            memory = self._memories.get(desired.name)
            return memory.watch(outcome) if memory else outcome

    def _find_hold(self, desired: Desired, hypervisor: Hypervisor) -> Hold | None:
        """Why it is left alone, whatever its manifest calls it; None if it is not."""
        holds = self._around.holds
        if holds.empty:
            return find_hold(holds, desired)
        observed = hypervisor.observe(desired.name, desired.uuid)
        if observed is not None:
            holds.observed({observed.uuid: observed.name})
        return find_hold(holds, desired, observed)

    def _judge(
        self,
        desired: Desired,
        hypervisor: Hypervisor,
        look: Callable[[], View],
    ) -> Outcome | None:
        """What is to be said of one that is another host's; None if it is ours to work on."""
        placement = self._around.placement
        if placement is None or placement.alone(desired):
            return None
        observed = hypervisor.observe(desired.name, desired.expected_uuid)
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
        look: Callable[[], View],
    ) -> Outcome | None:
        """Take the hotplug devices away before it is moved (chapter 15); None if there are none."""
        bare, placement = without_hotplug(desired), self._around.placement
        if bare.statement == desired.statement:
            return None

        def look_at_hotplug() -> View:
            observed, memory = (
                hypervisor.observe(desired.name, desired.expected_uuid),
                look().memory,
            )
            plan = make_plan(bare, observed, memory.hindrances)
            return View(Plan(desired.name, only_detaching(plan, desired)), observed, memory)

        view = look_at_hotplug()
        if placement is not None and view.observed is not None and view.plan.steps:
            why = placement.why_not_leave(desired, view.observed)
            if why:
                return placement.waits(desired, view.observed, why)
        outcome = self._converge(desired.name, look_at_hotplug, hypervisor, desired)
        return None if outcome.phase is Phase.CONVERGED else outcome

    def remove(self, orphan: Orphan) -> Outcome:
        """Do about a virtual server whose manifest is gone what its mark says.

        Raises:
            HypervisorDown: the connection is lost.
        """
        hypervisor = self._hypervisor()
        self._forget_claims(orphan.name)

        def look() -> View:
            observed = hypervisor.observe(orphan.name)
            memory = self._remember(orphan.name, None, observed)
            if observed is None or not _is_still(orphan, observed):
                return View(Plan(orphan.name), observed, memory)
            asked = memory.requests.shutdown_asked(self._clock())
            placement = self._around.placement
            why = placement.why_not_resume(orphan, observed) if placement else ""
            happened = Circumstances(asked, resumable=not why, not_resumed=why)
            plan = plan_removal(observed, orphan.mark, happened)
            return View(plan, observed, memory)

        with _bound(orphan.name):
            holds = self._around.holds
            holds.observed({orphan.uuid: orphan.name})
            if (hold := holds.find(orphan.uuid, orphan.name)) is not None:
                view, message = look(), f"its manifest is gone; it is left alone: {hold}"
                held = (orphan.name, Phase.UNMANAGED, message, view.plan)
                return Outcome(*held, observed=view.observed, hold=str(hold))
            outcome = self._converge(orphan.name, look, hypervisor, None, orphan)
        if outcome.phase is Phase.CONVERGED:
            message = f"its manifest is gone; {_became(outcome.observed)}"
            return replace(outcome, phase=Phase.UNMANAGED, message=message)
        return outcome

    def observe(self, standing: Standing) -> Outcome:
        """Read how a virtual server is that no manifest wants, and do nothing about it.

        Raises:
            HypervisorDown: the connection is lost.
        """
        orphan, hypervisor = standing.orphan, self._hypervisor()
        self._forget_claims(orphan.name)
        told = (orphan.name, standing.phase, standing.message, Plan(orphan.name))
        try:
            observed = hypervisor.observe(orphan.name)
        except HypervisorDown:
            raise
        except HypervisorError as error:
            return Outcome(orphan.name, Phase.FAILED, str(error), Plan(orphan.name), retry=True)
        if observed is not None and observed.uuid != orphan.uuid:
            observed = None
        return Outcome(*told, observed=observed)

    def forget(self, name: str) -> None:
        """Remember nothing of a virtual server."""
        self._memories.pop(name, None)
        self._forget_claims(name)

    def _forget_claims(self, name: str) -> None:
        """Have it wait for nothing any more: no manifest wants anything for it."""
        around = self._around
        around.gate.forget(name)
        around.shares.forget(name)
        if around.placement is not None:
            around.placement.forget(name)
        if around.afar is not None:
            around.afar.forget(name)

    def admit(self, rules: HostRules) -> None:
        """Hold manifests against other rules of the host from now on."""
        self._around = replace(self._around, rules=rules)

    def try_anew(self, name: str) -> None:
        """Forget what was asked for and what has failed: somebody has said to try again."""
        if (memory := self._memories.get(name)) is not None:
            memory.try_anew()
            self._around.guard.budget.reset(memory.uuid)
        if self._around.placement is not None:
            self._around.placement.try_anew(name)

    def retry(self, name: str) -> None:
        """Let the next failure be the first one: what it was tried with before has changed."""
        if (memory := self._memories.get(name)) is not None:
            memory.failure = None

    def refuse_removal(self, name: str, alias: str) -> None:
        """A guest has refused to release a device; called on libvirt's event thread."""
        if (memory := self._memories.get(name)) is not None:
            memory.requests.refuse(alias)

    def _converge(
        self,
        name: str,
        look: Callable[[], View],
        hypervisor: Hypervisor,
        desired: Desired | None,
        orphan: Orphan | None = None,
    ) -> Outcome:
        context = (hypervisor, self._around, self._stopping, self._clock)
        priority = desired.priority if desired else 0
        return Convergence(name, look, *context, priority, desired, orphan).run()

    def _remember(self, name: str, desired: Desired | None, observed: Observed | None) -> Memory:
        """What is known of this virtual server since its last start."""
        memory = self._memories.setdefault(name, Memory())
        memory.see(desired, observed, self._clock())
        return memory

    def _circumstances(
        self, desired: Desired, observed: Observed | None, memory: Memory
    ) -> Circumstances:
        now = self._clock()
        state = observed.state if observed else None
        memory.starts.seen(
            now,
            runs=state not in (None, State.SHUTOFF, State.CRASHED),
            by_itself=observed is not None and observed.reason not in _BY_WORD,
        )
        return Circumstances(
            memory.requests.shutdown_asked(now),
            memory.starts.why_not_yet(now) or self._why_not_start(desired, observed),
            memory.restarted_for,
            self._around.dumps.facts(observed) if observed else DumpFacts(),
        )

    def _why_not_start(self, desired: Desired, observed: Observed | None) -> str:
        """For what its start must wait; nobody is asked about one that need not be started."""
        around = self._around
        starts = desired.state in ("running", "paused")
        if not starts or (observed is not None and observed.state is not State.SHUTOFF):
            if around.afar is not None:
                around.afar.forget(desired.name)
            return ""
        placement = around.placement
        return around.not_yet(desired) or (
            placement.why_not_start(desired, observed) if placement else ""
        )


def _is_still(orphan: Orphan, observed: Observed) -> bool:
    """Whether a domain is the orphan that was decided about, and nothing was applied since."""
    return observed.uuid == orphan.uuid and read_mark(parse_xml(observed.config)) == orphan.mark


def _became(observed: Observed | None) -> str:
    if observed is None:
        return "it is undefined"
    return "it is shut off" if observed.state is State.SHUTOFF else "it is left as it is"


def _bound(name: str) -> AbstractContextManager[None]:
    return structlog.contextvars.bound_contextvars(
        virtual_server=name, reconcile=uuid.uuid4().hex[:8]
    )
