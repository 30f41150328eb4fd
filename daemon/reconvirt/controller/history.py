"""What has happened lately: one event a transition, in the journal and in a bounded ring."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

_log = structlog.get_logger(__name__)
_MOST = 2000


@dataclass(frozen=True, slots=True)
class Event:
    """One transition.

    Attributes:
        number: counts up from 1; a later event has a higher number.
        time: seconds since the epoch.
        virtual_server: its name; "" for what concerns none alone.
        reason: what has happened, as a word.
        message: what has happened, as a sentence.
        level: ``info``, ``warning`` or ``error``.
        step: the step that was taken; "" if none.
        field: the field that it is about; "" if none.
        old: the value before, as a person reads it.
        new: the value afterwards.
        revision: of the manifests in force.
    """

    number: int
    time: float
    virtual_server: str
    reason: str
    message: str
    level: str = "info"
    step: str = ""
    field: str = ""
    old: str = ""
    new: str = ""
    revision: str = ""


class History:
    """The latest events.

    Args:
        clock: seconds since the epoch.
        most: how many are kept.
    """

    def __init__(self, clock: Callable[[], float] = time.time, most: int = _MOST) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._ring: deque[Event] = deque(maxlen=most)
        self._last = 0
        self.revision = ""

    def tell(
        self,
        virtual_server: str,
        reason: str,
        message: str,
        *,
        level: str = "info",
        step: str = "",
        field: str = "",
        old: object = "",
        new: object = "",
    ) -> None:
        """Add an event, and write it to the log with its fields."""
        with self._changed:
            self._last += 1
            event = Event(
                *(self._last, self._clock(), virtual_server, reason, message, level, step, field),
                *(_word(old), _word(new), self.revision),
            )
            self._ring.append(event)
            self._changed.notify_all()
        fields = {name: getattr(event, name) for name in ("step", "field", "old", "new")}
        told = {name: value for name, value in fields.items() if value}
        if virtual_server:
            told["virtual_server"] = virtual_server
        if event.revision:
            told["revision"] = event.revision
        # The event of a log line is the same for all of its kind; its words are in the message.
        words = re.sub(r"(?<!^)(?=[A-Z])", " ", reason).lower()
        getattr(_log, level)(words, reason=reason, message=message, **told)

    def since(self, number: int = 0, virtual_server: str | None = None) -> list[Event]:
        """The kept events after one of this number, the oldest first."""
        with self._changed:
            return [
                each
                for each in self._ring
                if each.number > number and virtual_server in (None, each.virtual_server)
            ]

    def follow(
        self, number: int, stop: Callable[[], bool], seconds: float
    ) -> Iterator[list[Event]]:
        """The events after one of this number as they come; none where none came in time."""
        while not stop():
            with self._changed:
                if self._last <= number:
                    self._changed.wait(seconds)
            events = self.since(number)
            number = events[-1].number if events else number
            yield events


def _word(value: object) -> str:
    return "" if value is None else str(value)
