"""What a guest has been asked for, and whether it answers.

Taking a device away is not done when libvirt's call returns: the guest is asked, and an event
brings the answer, perhaps before the call has returned. A request counts from when libvirt has
taken it: one that libvirt refuses never reached the guest, and nothing may follow from its silence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from reconvirt.domain.actions import Action, Detach, Shutdown
from reconvirt.domain.changes import Step
from reconvirt.domain.policy import ShutdownPolicy

ASK_AGAIN_SECONDS = 20.0
"""How long a guest has to answer before it is asked again."""

MOST_REQUESTS = 8
"""How often a guest is asked for the same thing; for the shutdown its policy says how long."""


@dataclass(slots=True)
class _Request:
    first_at: float
    last_at: float
    times: int

    def put_off(self, seconds: float) -> None:
        """The guest could not answer for so long."""
        self.first_at += seconds
        self.last_at += seconds


@dataclass(slots=True)
class Requests:
    """The requests to one guest since it was started.

    Attributes:
        policy: how it is asked to shut down.
    """

    policy: ShutdownPolicy = ShutdownPolicy()  # noqa: RUF009 - it is frozen
    _made: dict[Action, _Request] = field(default_factory=dict)
    _refused: set[str] = field(default_factory=set)
    _seen: tuple[float, bool] | None = None

    def see(self, now: float, *, runs: bool) -> None:
        """The guest was observed.

        The time that it has for shutting down goes on only between two observations in both of
        which it ran: while it is paused it hears nothing.
        """
        if self._seen is not None and not (runs and self._seen[1]):
            for action, request in self._made.items():
                if isinstance(action, Shutdown):
                    request.put_off(now - self._seen[0])
        self._seen = (now, runs)

    def may_ask(self, action: Action, now: float) -> bool:
        """Whether it is time to ask, for the first time or again."""
        request = self._made.get(action)
        if request is None:
            return True
        if self.is_refused(action) or self.is_silent(action, now):
            return False
        return now - request.last_at >= self.patience(action)

    def begin(self, action: Action) -> None:
        """A call is about to be made: an answer that comes from now on is meant for it."""
        if isinstance(action, Detach):
            self._refused.discard(action.alias)

    def accept(self, action: Action, now: float) -> None:
        """libvirt has taken the request: from now on the guest has time to answer."""
        request = self._made.get(action)
        if request is None:
            self._made[action] = _Request(now, now, times=1)
        else:
            request.last_at, request.times = now, request.times + 1

    def refuse(self, alias: str) -> None:
        """The guest has refused to release a device."""
        self._refused.add(alias)

    def shutdown_asked(self, now: float) -> float | None:
        """Seconds since the guest was first asked to shut down; None if it was not."""
        first = [
            request.first_at
            for action, request in self._made.items()
            if isinstance(action, Shutdown)
        ]
        return now - min(first) if first else None

    def patience(self, action: Action) -> float:
        """Seconds that the guest has to answer before it is asked again."""
        return self.policy.retry if isinstance(action, Shutdown) else ASK_AGAIN_SECONDS

    def is_refused(self, action: Action) -> bool:
        """Whether the guest has refused what it was asked for."""
        return isinstance(action, Detach) and action in self._made and action.alias in self._refused

    def is_silent(self, action: Action, now: float) -> bool:
        """Whether the guest has left all requests unanswered."""
        request = self._made.get(action)
        if request is None:
            return False
        if isinstance(action, Shutdown):
            return now - request.first_at >= self.policy.timeout
        return request.times >= MOST_REQUESTS and now - request.last_at >= ASK_AGAIN_SECONDS

    def complaint(self, steps: Iterable[Step], now: float) -> str:
        """What the guest has refused or not answered; "" while there is hope."""
        told: list[str] = []
        for step in steps:
            names = ", ".join(dict.fromkeys(change.field for change in step.changes))
            if self.is_refused(step.action):
                told.append(f"the guest refuses to release {names}")
            elif self.is_silent(step.action, now):
                request = self._made[step.action]
                # Until the last one was given up: the sentence stays the same afterwards.
                seconds = request.last_at - request.first_at + self.patience(step.action)
                told.append(
                    f"the guest has not answered {request.times} requests in {seconds:.0f} s "
                    f"for {names}"
                )
            else:
                return ""
        if not told:
            return ""
        return "; ".join(told) + "; it is asked again when its manifest changes or it is restarted"
