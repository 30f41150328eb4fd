"""Observing many virtual servers, of which some may hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from reconvirt.domain.observed import Observed
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.errors import HypervisorDown, HypervisorError

OBSERVE_SECONDS = 10.0
"""How long observing one virtual server may take."""

_AT_A_TIME = 4
_MOST_STUCK = 10
_TICK = 0.2


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of observing many.

    Attributes:
        observed: those that are there, by the names that they have now.
        unseen: why others could not be observed, by the name that they were asked for by.
    """

    observed: Mapping[str, Observed] = field(default_factory=dict)
    unseen: Mapping[str, str] = field(default_factory=dict)


def observe_each(
    hypervisor: Hypervisor,
    domains: Mapping[str, str],
    *,
    bound: float = OBSERVE_SECONDS,
    most_stuck: int = _MOST_STUCK,
) -> Seen:
    """Observe virtual servers, several at a time; one that hangs delays no other.

    Args:
        hypervisor: the connection.
        domains: their uuids by name, such as :meth:`Hypervisor.list_all` gives; one that has
            another name is found by its uuid.
        bound: seconds that one may take.
        most_stuck: how many may hang before the rest is given up.

    Raises:
        HypervisorDown: the connection is lost.
    """
    return _Sweep(hypervisor.observe_now, domains, bound, most_stuck).run()


class _Sweep:
    """One such observation."""

    def __init__(
        self,
        observe: Callable[[str, str], Observed | None],
        domains: Mapping[str, str],
        bound: float,
        most_stuck: int,
    ) -> None:
        self._observe = observe
        self._uuids = domains
        self._names = tuple(domains)
        self._bound = bound
        self._most_stuck = most_stuck
        self._changed = threading.Condition()
        self._next = 0
        self._busy: dict[int, tuple[str, float]] = {}
        self._threads = 0
        self._stuck = 0
        self._observed: dict[str, Observed] = {}
        self._unseen: dict[str, str] = {}
        self._lost: HypervisorDown | None = None

    def run(self) -> Seen:
        """Observe them all, or say why not."""
        with self._changed:
            for _ in range(min(_AT_A_TIME, len(self._names))):
                self._start()
            while self._lost is None and (self._busy or self._next < len(self._names)):
                self._changed.wait(_TICK)
                self._leave_stuck()
            if self._lost is not None:
                raise self._lost
            found = [self._observed[name] for name in self._names if name in self._observed]
            return Seen({each.name: each for each in found}, dict(self._unseen))

    def _start(self) -> None:
        self._threads += 1
        threading.Thread(
            target=self._work, args=(self._threads,), name=f"observe-{self._threads}", daemon=True
        ).start()

    def _leave_stuck(self) -> None:
        now = time.monotonic()
        for number, (name, since) in tuple(self._busy.items()):
            if now - since <= self._bound:
                continue
            del self._busy[number]
            self._unseen[name] = f"libvirt has not answered for {self._bound:g} s when asked for it"
            self._stuck += 1
            if self._stuck < self._most_stuck:
                self._start()
        if not self._busy and self._stuck >= self._most_stuck:
            rest, self._next = self._names[self._next :], len(self._names)
            why = f"{self._stuck} others hang; no more were asked for"
            self._unseen.update(dict.fromkeys(rest, why))

    def _work(self, number: int) -> None:
        while (name := self._take(number)) is not None:
            found: Observed | None = None
            why = ""
            try:
                found = self._observe(name, self._uuids[name])
            except HypervisorDown as error:
                with self._changed:
                    self._lost = error
                    self._changed.notify_all()
                return
            except HypervisorError as error:
                why = str(error)
            with self._changed:
                if self._busy.pop(number, None) is None:
                    return  # it was left behind, and another goes on in its place
                if found is not None:
                    self._observed[name] = found
                elif why:
                    self._unseen[name] = why

    def _take(self, number: int) -> str | None:
        with self._changed:
            if self._next >= len(self._names) or self._lost is not None:
                self._changed.notify_all()
                return None
            name = self._names[self._next]
            self._next += 1
            self._busy[number] = (name, time.monotonic())
            return name
