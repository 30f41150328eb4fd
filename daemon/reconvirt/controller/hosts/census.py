"""What the other hosts have: each is asked once for all virtual servers that want to know.

Nobody waits for an answer. Whoever asks is told "not yet", and is woken when every host has
answered or has had its time. In steady state nobody asks, and no host is called.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from reconvirt.domain.observed import State
from reconvirt.hypervisor.errors import HypervisorError
from reconvirt.hypervisor.moving import Host
from reconvirt.manifest.host import HostManifest

ANSWER_SECONDS = 10.0
"""How long a host has to answer; then it may have what is asked for."""

_FRESH_SECONDS = 15.0

Answer: TypeAlias = Mapping[str, tuple[str, State, str]] | str
"""Name, state and reason by uuid; or why there is no answer."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Round:
    """The answers of all other hosts, asked at one time.

    Attributes:
        begun: when the first was asked, on the monotonic clock.
        answers: by host.
    """

    begun: float
    answers: Mapping[str, Answer]


class Census:
    """Asks the other hosts.

    Args:
        others: gives the other hosts, which may change.
        wake: called with the name of each virtual server that has asked, when there are answers.
    """

    def __init__(
        self, others: Callable[[], tuple[HostManifest, ...]], wake: Callable[[str], None]
    ) -> None:
        self._others = others
        self._wake = wake
        self._lock = threading.Lock()
        self._asked: dict[str, float] = {}
        self._last: Round | None = None
        self._asking = False
        self._hanging: set[str] = set()
        self.calls = 0

    def answers(self, name: str, purpose: str) -> Round | None:
        """What the others said after this was first asked; None if they have not answered yet.

        Args:
            name: the virtual server.
            purpose: what it is asked for; what was answered for another purpose does not count.
        """
        key = f"{purpose} {name}"
        with self._lock:
            now = time.monotonic()
            asked, last = self._asked.setdefault(key, now), self._last
            if last is not None and last.begun >= asked and now - last.begun <= _FRESH_SECONDS:
                del self._asked[key]
                return last
            if last is not None and last.begun >= asked:
                self._asked[key] = now
            if not self._asking:
                self._asking = True
                threading.Thread(target=self._ask, name="census", daemon=True).start()
            return None

    def _ask(self) -> None:
        try:
            self._ask_until_all_know()
        except Exception:  # noqa: BLE001 - or nobody would be asked any more, and nothing started
            _log.exception("unexpected error, please report it")
            with self._lock:
                self._asking = False

    def _ask_until_all_know(self) -> None:
        while True:
            with self._lock:
                begun = time.monotonic()
            answers = self._round()
            with self._lock:
                self._last = Round(begun, answers)
                answered = [key for key, asked in self._asked.items() if asked <= begun]
                late = len(answered) < len(self._asked)
                self._asking = late
            for key in answered:
                self._wake(key.partition(" ")[2])
            if not late:
                return

    def _round(self) -> dict[str, Answer]:
        answers: dict[str, Answer] = {}
        done = threading.Condition()
        others = self._others()

        def ask(host: HostManifest) -> None:
            answer = _census_of(host)
            with done:
                answers[host.name] = answer
                self._hanging.discard(host.name)
                done.notify_all()

        with done:
            for host in others:
                # One that has never come back from the last question is not asked once more.
                if host.name in self._hanging:
                    answers[host.name] = f"{host.uri} does not answer"
                    continue
                threading.Thread(
                    target=ask, args=(host,), name=f"census-{host.name}", daemon=True
                ).start()
                self._hanging.add(host.name)
                self.calls += 1
            done.wait_for(lambda: len(answers) == len(others), ANSWER_SECONDS)
            return {
                each.name: answers.get(each.name, f"{each.uri} does not answer") for each in others
            }


def _census_of(host: HostManifest) -> Answer:
    try:
        connection = Host(host.uri)
        try:
            return connection.census()
        finally:
            connection.close()
    except HypervisorError as error:
        _log.debug("host cannot be asked", host=host.name, error=str(error))
        return str(error)
