"""The engine: a work queue of names, and workers that reconcile them.

The daemon and the command line run the same engine; they differ only in what they put in.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping

import structlog

from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.controller.reconcile import REMOVAL_FAILED, Reconciler
from reconvirt.controller.workqueue import Closed, Priority, WorkQueue
from reconvirt.domain.changes import Plan
from reconvirt.domain.desired import Desired
from reconvirt.domain.rules import NO_RULES, HostRules
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.errors import HypervisorDown
from reconvirt.metrics.observer import SILENT, Observer

_DOWN_PAUSE = 1.0

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
        rules: what the host allows in manifests.
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
        rules: HostRules = NO_RULES,
        on_down: Callable[[], None] = lambda: None,
        on_outcome: Callable[[Outcome], None] = lambda _outcome: None,
        observer: Observer = SILENT,
    ) -> None:
        self.queue: WorkQueue[str] = WorkQueue(observer=observer)
        self._observer = observer
        self.resync = resync
        self._stopping = threading.Event()
        self._reconciler = Reconciler(hypervisor, rules, self._stopping.is_set)
        self._on_down = on_down
        self._on_outcome = on_outcome
        self._wanted: Mapping[str, Desired] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{number}")
            for number in range(1, workers + 1)
        ]

    @property
    def wanted(self) -> Mapping[str, Desired]:
        """What is wanted, by name."""
        return self._wanted

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

    def hint(self, name: str) -> None:
        """Something may have happened to a virtual server; others are not looked at."""
        if name in self._wanted:
            self.queue.add(name, Priority.CHANGE)

    def heard(self, name: str, kind: str, device: str) -> None:
        """libvirt has sent an event; ``device`` is the alias of the one that it is about."""
        if kind == REMOVAL_FAILED:
            self._reconciler.refuse_removal(name, device)
        self.hint(name)

    def look_at_all(self) -> None:
        """Look at every virtual server again, after whatever has changed."""
        for name in self._wanted:
            self.queue.add(name, Priority.RESYNC)

    def start(self) -> None:
        """Start the workers."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let the workers end the steps in hand, and no more."""
        self._stopping.set()
        self.queue.close()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            try:
                name = self.queue.get()
            except Closed:
                return
            if name is None:
                continue
            try:
                self._handle(name)
            except Exception:  # noqa: BLE001 - a worker outlives whatever it works on
                # One virtual server's trouble must not cost the others their worker.
                _log.exception("unexpected error, please report it", virtual_server=name)
                self._observer.panicked(name)
                self.queue.add_rate_limited(name)
            finally:
                self.queue.done(name)

    def _handle(self, name: str) -> None:
        desired = self._wanted.get(name)
        if desired is None:
            self._let_go(name)
            return
        try:
            outcome = self._reconciler.reconcile(desired)
        except HypervisorDown:
            # Whoever makes the connection again has everything looked at; this is for the rest.
            self._on_down()
            self._observer.reconciled(name, "error")
            self.queue.add_after(name, _DOWN_PAUSE, Priority.RESYNC)
            return
        self._publish(outcome)
        self._schedule(outcome)

    def _let_go(self, name: str) -> None:
        self.queue.forget(name)
        self._reconciler.forget(name)
        message = "its manifest is gone; it is left as it is"
        self._publish(Outcome(name, Phase.UNMANAGED, message, Plan(name)))
        self._outcomes.pop(name, None)

    def _publish(self, outcome: Outcome) -> None:
        before = self._outcomes.get(outcome.name)
        self._outcomes[outcome.name] = outcome
        if before is None or (before.phase, before.message) != (outcome.phase, outcome.message):
            write = _log.error if outcome.phase is Phase.FAILED else _log.info
            write(outcome.phase, virtual_server=outcome.name, message=outcome.message)
        self._on_outcome(outcome)

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
