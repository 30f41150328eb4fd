"""The engine: a work queue of names, and workers that reconcile them.

The daemon and the command line run the same engine; they differ only in what they put in.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

import structlog

from reconvirt.controller.conditions import REASONS
from reconvirt.controller.hosts.dependencies import Dependencies
from reconvirt.controller.liveness import Pulse
from reconvirt.controller.missing import Missing
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.controller.prune import Orphan, Standing
from reconvirt.controller.reconcile import REMOVAL_FAILED, Reconciler
from reconvirt.controller.starts import StartGate
from reconvirt.controller.surroundings import Surroundings
from reconvirt.controller.workers import Workers
from reconvirt.controller.workqueue import Closed, Priority, WorkQueue
from reconvirt.domain.changes import Plan
from reconvirt.domain.desired import Desired
from reconvirt.domain.rules import HostRules
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.errors import HypervisorDown
from reconvirt.metrics.observer import SILENT, Observer

_DOWN_PAUSE = 1.0
_ERRORS = (Phase.FAILED, Phase.STALLED)
_WITHOUT_MANIFEST = (Phase.UNMANAGED, Phase.UNREADABLE)

_log = structlog.get_logger(__name__)


class Engine:
    """Reconciles the virtual servers whose names are put in, several at a time.

    A name is only a hint that something may have changed; what is wanted and what is there is
    looked up when its turn comes.

    Args:
        hypervisor: gives the current connection, or raises HypervisorDown.
        workers: how many virtual servers are worked on at a time.
        resync: seconds after which a virtual server is looked at again although nothing was
            heard of it, give or take a tenth; None for never.
        surroundings: what the host has and allows; the engine itself makes starts wait for
            others that must run before, and for each other.
        most_starts: how many virtual servers are started at a time.
        on_down: told when a call found the connection broken.
        on_outcome: told each outcome.
        observer: told of what waits, what is worked on, and what goes wrong.
    """

    def __init__(
        self,
        hypervisor: Callable[[], Hypervisor],
        *,
        workers: int = 4,
        resync: float | None = None,
        surroundings: Surroundings | None = None,
        most_starts: int = 4,
        on_down: Callable[[], None] = lambda: None,
        on_outcome: Callable[[Outcome], None] = lambda _outcome: None,
        observer: Observer = SILENT,
    ) -> None:
        self.queue: WorkQueue[str] = WorkQueue(observer=observer)
        self._observer = observer
        self.resync = resync
        self.pulse = Pulse(workers)
        self._stopping = threading.Event()
        surroundings = surroundings or Surroundings()
        self._history = surroundings.history
        self._dependencies = Dependencies(hypervisor, surroundings.afar)
        self._shares = surroundings.shares
        self._reconciler = Reconciler(
            hypervisor,
            replace(
                surroundings,
                not_yet=self._why_not_yet,
                gate=StartGate(most_starts, self.hint),
            ),
            self._stopping.is_set,
        )
        self.missing = Missing(hypervisor, self.retry)
        self._pruned: Mapping[str, Orphan] = {}
        self._standings: Mapping[str, Standing] = {}
        self._on_down = on_down
        self._on_outcome = on_outcome
        self._wanted: Mapping[str, Desired] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._workers = Workers(self._work, workers, self.pulse)

    def admit(self, rules: HostRules) -> None:
        """Hold manifests against other rules of the host from now on."""
        self._reconciler.admit(rules)

    @property
    def wanted(self) -> Mapping[str, Desired]:
        """What is wanted, by name."""
        return self._wanted

    @property
    def unwanted(self) -> Mapping[str, Standing]:
        """The virtual servers that are ours and that no manifest in force wants, by name."""
        return self._standings

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """The last outcome of each virtual server."""
        return dict(self._outcomes)

    def want(self, wanted: Mapping[str, Desired]) -> None:
        """Take over what is wanted from now on; look at whatever differs from before."""
        before, self._wanted = self._wanted, wanted
        for name in sorted({*before, *wanted}):
            if before.get(name) != wanted.get(name):
                # What failed with the old manifest says nothing of the new one.
                self.queue.forget(name)
                self.queue.add(name, Priority.CHANGE)
        if before != wanted:
            self._wake_refused("")

    def prune(self, standings: Mapping[str, Standing], pruned: Mapping[str, Orphan]) -> None:
        """Take over what is said of those that no manifest wants, and which of them are removed."""
        before = self._pruned, self._standings
        self._pruned, self._standings = pruned, standings
        for name in sorted({*before[1], *standings}):
            was = before[0].get(name), before[1].get(name)
            if was != (pruned.get(name), standings.get(name)):
                self.queue.add(name, Priority.CHANGE)

    def hint(self, name: str) -> None:
        """Something may have happened to a virtual server; others are not looked at."""
        if name in self._wanted or name in self._standings:
            self.queue.add(name, Priority.CHANGE)

    def heard(self, name: str, kind: str, device: str) -> None:
        """libvirt has sent an event; ``device`` is the alias of the one that it is about."""
        if kind == REMOVAL_FAILED:
            self._reconciler.refuse_removal(name, device)
        self.hint(name)
        if name not in self._wanted:
            self._wake_dependents(name)

    def look_at(self, name: str) -> None:
        """Look at one now, as if it had never failed."""
        self.queue.forget(name)
        self._reconciler.try_anew(name)
        self.hint(name)

    def retry(self, name: str) -> None:
        """Something that one has failed for is there now: what was tried before counts no more."""
        self.queue.forget(name)
        self._reconciler.retry(name)
        self.hint(name)

    def look_at_all(self) -> None:
        """Look at every virtual server again, after whatever has changed."""
        for name in (*self._wanted, *self._standings):
            self.queue.add(name, Priority.RESYNC)

    def delay_of(self, name: str) -> float | None:
        """Seconds until a virtual server is looked at again if nothing happens; None if never."""
        return self.queue.delay(name)

    def start(self) -> None:
        """Start the workers."""
        self._workers.start()

    def stop(self, patience: float | None = None) -> None:
        """Let the workers end the steps in hand, and no more.

        Those whose call to libvirt does not come back are left behind.

        Args:
            patience: seconds that such a call may take; None for as long as is usual for it.
        """
        self._stopping.set()
        self.queue.close()
        self._workers.stop(patience)

    def _work(self) -> bool:
        """Reconcile the next one; False when there is none any more."""
        try:
            name = self.queue.get()
        except Closed:
            return False
        if name is None:
            return True
        try:
            with self.pulse.busy():
                self._handle(name)
        except Exception as error:  # noqa: BLE001 - a worker outlives whatever it works on
            # One virtual server's trouble must not cost the others their worker.
            _log.exception("unexpected error, please report it", virtual_server=name)
            message = f"unexpected error, please report it: {error!r}"
            self._publish(Outcome(name, Phase.FAILED, message, Plan(name), retry=True))
            self._observer.panicked(name)
            self.queue.add_rate_limited(name)
        finally:
            self._wake_freed()
            self.queue.done(name)
        return True

    def _handle(self, name: str) -> None:
        desired, orphan = self._wanted.get(name), self._pruned.get(name)
        standing = self._standings.get(name)
        if desired is None:
            self.missing.forget(name)
        try:
            if desired is not None:
                outcome = self.missing.note(desired, self._reconciler.reconcile(desired))
            elif orphan is not None:
                outcome = self._reconciler.remove(orphan)
            elif standing is not None:
                outcome = self._reconciler.observe(standing)
            else:
                self._let_go(name)
                return
        except HypervisorDown:
            # Whoever makes the connection again has everything looked at; this is for the rest.
            self._on_down()
            self._observer.reconciled(name, "error")
            self.queue.add_after(name, _DOWN_PAUSE, Priority.RESYNC)
            return
        self._publish(outcome)
        self._schedule(outcome)
        self._on_outcome(outcome)

    def _let_go(self, name: str) -> None:
        """Forget one that is none of ours any more, or is not there any more."""
        self.queue.forget(name)
        self._reconciler.forget(name)
        self._outcomes.pop(name, None)
        self._on_outcome(Outcome(name, Phase.UNMANAGED, "", Plan(name)))

    def _publish(self, outcome: Outcome) -> None:
        before = self._outcomes.get(outcome.name)
        self._outcomes[outcome.name] = outcome
        # What is said of those without a manifest, the pruner has told already.
        told = outcome.phase in _WITHOUT_MANIFEST and not outcome.steps
        said = (outcome.phase, outcome.message)
        differs = before is None or (before.phase, before.message) != said
        if differs and not told:
            level = "error" if outcome.phase in _ERRORS else "info"
            reason = REASONS[outcome.phase]
            self._history.tell(outcome.name, reason, outcome.message, level=level)
        if _state_of(before) != _state_of(outcome):
            self._wake_dependents(outcome.name)
        if outcome.steps or _state_of(before) != _state_of(outcome):
            self._wake_refused(outcome.name)

    def _wake_refused(self, changed: str) -> None:
        """Look at those that the host had too little for: another may have less now."""
        for name in self._shares.refused - {changed}:
            self.hint(name)

    def _wake_freed(self) -> None:
        """Look at those from which something was kept for one that has not taken it."""
        for name in self._shares.freed():
            self.hint(name)

    def _why_not_yet(self, desired: Desired) -> str:
        known = self._wanted, self._outcomes
        sentence, again_after = self._dependencies.why_not_yet(desired, *known)
        if again_after is not None:
            self.queue.add_after(desired.name, again_after, Priority.CHANGE)
        return sentence

    def _wake_dependents(self, name: str) -> None:
        """Look at those that wait for this one to run."""
        for other, desired in self._wanted.items():
            if name in desired.depends_on:
                self.queue.add(other, Priority.CHANGE)

    def _schedule(self, outcome: Outcome) -> None:
        if outcome.retry:
            delay = self.queue.add_rate_limited(outcome.name)
            _log.debug("will be tried again", virtual_server=outcome.name, seconds=round(delay, 1))
            return
        self.queue.forget(outcome.name)
        if outcome.again_after is not None:
            self.queue.add_after(outcome.name, outcome.again_after, Priority.CHANGE)
        if self.resync is not None:
            # A little chance in it, so that a hundred virtual servers do not come all at once.
            delay = self.resync * random.uniform(0.9, 1.1)  # noqa: S311 - no secret
            self.queue.add_after(outcome.name, delay, Priority.RESYNC)


def _state_of(outcome: Outcome | None) -> object:
    return outcome.observed.state if outcome and outcome.observed else None
