"""What a guest has been asked for, and whether it answers.

Taking a device away is not done when libvirt's call returns: the guest is asked, and an event
tells the answer. A request is noted before the call, so that no answer comes too early for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from reconvirt.domain.actions import Action, Detach, Shutdown
from reconvirt.domain.changes import Step

ASK_AGAIN_SECONDS = 20.0
"""How long a guest has to answer before it is asked again."""

MOST_REQUESTS = 8
"""How often a guest is asked for the same thing; the request to shut down is not counted."""


@dataclass(slots=True)
class _Request:
    asked_at: float
    times: int = 1


@dataclass(slots=True)
class Requests:
    """The requests to one guest since it was started."""

    _made: dict[Action, _Request] = field(default_factory=dict)
    _refused: set[str] = field(default_factory=set)

    def may_ask(self, action: Action, now: float) -> bool:
        """Whether it is time to ask, for the first time or again."""
        request = self._made.get(action)
        if request is None:
            return True
        if self.is_refused(action) or self.is_silent(action):
            return False
        return now - request.asked_at >= ASK_AGAIN_SECONDS

    def ask(self, action: Action, now: float) -> None:
        """Note a request, before the call that makes it."""
        if isinstance(action, Detach):
            self._refused.discard(action.alias)
        before = self._made.get(action)
        self._made[action] = _Request(now, before.times + 1 if before else 1)

    def take_back(self, action: Action) -> None:
        """The call has failed: the guest was not asked."""
        request = self._made[action]
        request.times -= 1
        if not request.times:
            del self._made[action]

    def refuse(self, alias: str) -> None:
        """The guest has refused to release a device."""
        self._refused.add(alias)

    def is_refused(self, action: Action) -> bool:
        """Whether the guest has refused what it was asked for."""
        return isinstance(action, Detach) and action in self._made and action.alias in self._refused

    def is_silent(self, action: Action) -> bool:
        """Whether the guest has left all requests unanswered."""
        request = self._made.get(action)
        return (
            request is not None
            and not isinstance(action, Shutdown)
            and request.times >= MOST_REQUESTS
        )

    def complaint(self, steps: Iterable[Step], now: float) -> str:
        """What the guest has refused or not answered; "" while there is hope."""
        told: list[str] = []
        for step in steps:
            names = ", ".join(dict.fromkeys(change.field for change in step.changes))
            if self.is_refused(step.action):
                told.append(f"the guest refuses to release {names}")
            elif self.is_silent(step.action):
                request = self._made[step.action]
                if now - request.asked_at < ASK_AGAIN_SECONDS:
                    return ""
                told.append(
                    f"the guest has not answered {request.times} requests, "
                    f"{ASK_AGAIN_SECONDS:.0f} s each, for {names}"
                )
            else:
                return ""
        if not told:
            return ""
        return "; ".join(told) + "; it is asked again when its manifest changes or it is restarted"
