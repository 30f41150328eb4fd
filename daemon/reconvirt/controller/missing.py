"""Trying again as soon as what was missing is there.

What has failed or stalled since a file, a network device or a libvirt network was missing need not
wait for its next attempt, which may be a quarter of an hour away: the missing things are
remembered, and the poller checks them, and nothing else, every few seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import replace

import structlog

from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.domain.actions import CreateImage
from reconvirt.domain.desired import Desired
from reconvirt.domain.needs import Need, NeedKind, needs_of, needs_of_images
from reconvirt.domain.plan import render
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.errors import HypervisorError

_PHASES = (Phase.FAILED, Phase.STALLED, Phase.REFUSED)
_MOST_NAMED = 3
_PATIENCE_SECONDS = 2.0

_log = structlog.get_logger(__name__)

Needs = frozenset[Need]


class Missing:
    """What virtual servers need that is not there.

    Args:
        hypervisor: gives the current connection, or raises HypervisorDown.
        wake: called with the name of a virtual server for which something has appeared.
    """

    def __init__(self, hypervisor: Callable[[], Hypervisor], wake: Callable[[str], None]) -> None:
        self._hypervisor = hypervisor
        self._wake = wake
        self._lock = threading.Lock()
        self._needs: dict[str, Needs] = {}
        self._check: threading.Thread | None = None

    def note(self, desired: Desired, outcome: Outcome) -> Outcome:
        """The outcome, which names what is missing where that may be the cause; it is remembered.

        Args:
            desired: the manifest in force.
            outcome: what its reconcile came to.
        """
        if outcome.phase not in _PHASES:
            self.forget(desired.name)
            return outcome
        made = {
            step.action.path for step in outcome.plan.steps if isinstance(step.action, CreateImage)
        }
        needs = needs_of(render(desired, outcome.observed)) | needs_of_images(desired)
        try:
            found = self._hypervisor().missing(
                each for each in needs if each.kind is not NeedKind.FILE or each.name not in made
            )
        except HypervisorError:
            return outcome
        with self._lock:
            before = self._needs.pop(desired.name, frozenset())
            if found:
                self._needs[desired.name] = frozenset(found)
        if before - set(found):
            # It appeared after the attempt, or during it.
            self._wake(desired.name)
        return replace(outcome, message=outcome.message + _told(found)) if found else outcome

    def forget(self, name: str) -> None:
        """A virtual server waits for nothing."""
        with self._lock:
            self._needs.pop(name, None)

    def look(self) -> None:
        """Check what is missing, and wake those for which something has appeared."""
        with self._lock:
            needs = dict(self._needs)
        if not needs:
            return
        wanted = frozenset[Need]().union(*needs.values())
        files = frozenset(each for each in wanted if each.kind is NeedKind.FILE)
        try:
            hypervisor = self._hypervisor()
            still = frozenset(hypervisor.missing(wanted - files))
        except HypervisorError:
            return  # whoever makes the connection again has everything reconciled
        still |= self._missing_files(hypervisor, files)
        for name, missed in needs.items():
            if missed - still and self._take_over(name, missed, still):
                there = ", ".join(map(str, sorted(missed - still)))
                _log.info("tried again: what was missing is there", virtual_server=name, now=there)
                self._wake(name)

    def _missing_files(self, hypervisor: Hypervisor, files: Needs) -> Needs:
        """The files that are still missing; all of them while a file system does not answer.

        They are checked in a thread that nothing waits for any longer than a moment.
        """
        if not files or (self._check is not None and self._check.is_alive()):
            return files
        answers: list[Needs] = []

        def check() -> None:
            answers.append(frozenset(hypervisor.missing(files)))

        self._check = threading.Thread(target=check, name="missing-files", daemon=True)
        self._check.start()
        self._check.join(_PATIENCE_SECONDS)
        return answers[0] if answers else files

    def _take_over(self, name: str, missed: Needs, still: Needs) -> bool:
        """Remember what is still missing; False if a reconcile has found out more meanwhile."""
        with self._lock:
            if self._needs.get(name) != missed:
                return False
            if missed & still:
                self._needs[name] = missed & still
            else:
                del self._needs[name]
            return True


def _told(found: Collection[Need]) -> str:
    """For the end of a message: the first few by name, so that it stays readable."""
    named = ", ".join(map(str, sorted(found)[:_MOST_NAMED]))
    more = len(found) - _MOST_NAMED
    return f"; missing on this host: {named}" + (f" and {more} more" if more > 0 else "")
