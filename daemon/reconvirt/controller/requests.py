"""What a guest has been asked for, and whether it answers.

Taking a device away is not done when libvirt's call returns: the guest is asked, and an event
tells the answer. A request is noted before the call, so that no answer comes too early for it.
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
    times: int = 1


@dataclass(slots=True)
class Requests:
    """The requests to one guest since it was started.

    Attributes:
        policy: how it is asked to shut down.
    """

    policy: ShutdownPolicy = ShutdownPolicy()  # noqa: RUF009 - it is frozen
    _made: dict[Action, _Request] = field(default_factory=dict)
    _refused: set[str] = field(default_factory=set)

    def may_ask(self, action: Action, now: float) -> bool:
        """Whether it is time to ask, for the first time or again."""
        request = self._made.get(action)
        if request is None:
            return True
        if self.is_refused(action) or self.is_silent(action, now):
            return False
        return now - request.last_at >= self.patience(action)

    def ask(self, action: Action, now: float) -> None:
        """Note a request, before the call that makes it."""
        if isinstance(action, Detach):
            self._refused.discard(action.alias)
        request = self._made.get(action)
        if request is None:
            self._made[action] = _Request(now, now)
        else:
            request.last_at, request.times = now, request.times + 1

    def take_back(self, action: Action) -> None:
        """The call has failed: the guest was not asked."""
        request = self._made[action]
        request.times -= 1
        if not request.times:
            del self._made[action]

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
                seconds = now - request.first_at
                told.append(
                    f"the guest has not answered {request.times} requests in {seconds:.0f} s "
                    f"for {names}"
                )
            else:
                return ""
        if not told:
            return ""
        return "; ".join(told) + "; it is asked again when its manifest changes or it is restarted"
