"""The daemon as a service of systemd: when it is ready, what it says, whether it still lives."""

from __future__ import annotations

import faulthandler
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from reconvirt.controller.notify import Notifier
from reconvirt.controller.outcome import Outcome, Phase

_FIRST_LOOK_SECONDS = 60.0
_EXTENSION_SECONDS = 30.0
_EXTEND_EVERY = 5.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class State:
    """What the daemon knows at a moment.

    Attributes:
        connected: whether there is a connection to libvirt.
        revision: of the manifests; None before they were read.
        problems: how many of them are wrong.
        wanted: the names that the manifests state.
        outcomes: the last outcome of each virtual server.
    """

    connected: bool
    revision: str | None
    problems: int
    wanted: frozenset[str]
    outcomes: Mapping[str, Outcome]

    @property
    def observed(self) -> bool:
        """Whether every virtual server was looked at."""
        return self.revision is not None and self.wanted <= set(self.outcomes)


class Service:
    """Tells the service manager how the daemon is doing; :meth:`tick` is called every second.

    Args:
        state: what the daemon knows now.
        ages: gives how long ago each part of the daemon gave its last sign of life, in seconds.
        stuck: the age in seconds at which a part counts as stuck.
        notifier: tells the manager.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        state: Callable[[], State],
        ages: Callable[[], Mapping[str, float]],
        stuck: float,
        notifier: Notifier | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._ages = ages
        self._stuck = stuck
        self._notifier = notifier or Notifier()
        self._clock = clock
        self._ready = False
        self._could_look_since: float | None = None
        self._said = ""
        self._fed = self._extended = float("-inf")
        self._stuck_parts: tuple[str, ...] = ()
        if self._notifier.watchdog is not None and not faulthandler.is_enabled():
            # systemd ends us with SIGABRT; the journal then tells where every thread was.
            faulthandler.enable()

    def tick(self) -> None:
        """Say what has changed, and feed the watchdog if everything lives."""
        state, now = self._state(), self._clock()
        if not self._ready:
            self._try_ready(state, now)
        if (line := describe(state)) != self._said:
            self._said = line
            self._notifier.status(line)
        self._feed(now)

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """The configuration is reloaded inside the block."""
        self._notifier.reloading()
        try:
            yield
        finally:
            self._notifier.ready(describe(self._state()))
            self._ready = True

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """Steps in hand are finished inside the block: the manager is asked for patience."""
        self._notifier.stopping()
        ended = threading.Event()
        thread = threading.Thread(target=self._extend_until, args=(ended,), name="patience")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _try_ready(self, state: State, now: float) -> None:
        can_look = state.connected and state.revision is not None
        if not can_look:
            self._could_look_since = None
        elif self._could_look_since is None:
            self._could_look_since = now
        waited = 0.0 if self._could_look_since is None else now - self._could_look_since
        # One that hangs must not keep the others' daemon from being ready.
        if can_look and (state.observed or waited >= _FIRST_LOOK_SECONDS):
            self._ready = True
            self._said = describe(state)
            self._notifier.ready(self._said)
        elif now - self._extended >= _EXTEND_EVERY:
            self._extended = now
            self._notifier.extend(_EXTENSION_SECONDS)

    def _feed(self, now: float) -> None:
        stuck = tuple(name for name, age in self._ages().items() if age >= self._stuck)
        if stuck != self._stuck_parts:
            self._stuck_parts = stuck
            if stuck:
                _log.error("no sign of life", parts=list(stuck), seconds=self._stuck)
            else:
                _log.warning("all parts live again")
        period = self._notifier.watchdog
        if period is not None and not stuck and now - self._fed >= period / 4:
            self._fed = now
            self._notifier.alive()

    def _extend_until(self, ended: threading.Event) -> None:
        """Ask for more time as long as the steps in hand are not stuck."""
        while not any(age >= self._stuck for age in self._ages().values()):
            self._notifier.extend(_EXTENSION_SECONDS)
            if ended.wait(_EXTEND_EVERY):
                return


_TOLD = (
    (Phase.WAITING_FOR_RESTART, "waits for a restart", "wait for a restart"),
    (Phase.WAITING_FOR_GUEST, "waits for its guest", "wait for their guests"),
    (Phase.DIFFERS, "differs", "differ"),
    (Phase.FAILED, "has failed", "have failed"),
)


def describe(state: State) -> str:
    """One line: ``7 virtual servers, 1 waits for a restart, revision abc1234``."""
    if state.revision is None:
        return "reading the manifests"
    parts = [_count(len(state.wanted), "virtual server", "virtual servers")]
    phases = [each.phase for name, each in state.outcomes.items() if name in state.wanted]
    for phase, one, several in _TOLD:
        if number := phases.count(phase):
            parts.append(f"{number} {one if number == 1 else several}")
    if state.problems:
        parts.append(_count(state.problems, "problem in manifests", "problems in manifests"))
    if state.revision:
        parts.append(f"revision {state.revision[:7]}")
    if not state.connected:
        parts.append("no connection to libvirt")
    return ", ".join(parts)


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
