"""What the other hosts have: each is asked once for all virtual servers that want to know.

Nobody waits for an answer. Whoever asks is told "not yet", and is woken when every host has
answered or has had its time. An answer counts for the question that it was given to, and for no
later one of the same virtual server.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import structlog

from reconvirt.domain.peers import HostAnswer
from reconvirt.hypervisor.errors import HypervisorError
from reconvirt.hypervisor.moving import Host

ANSWER_SECONDS = 10.0
"""How long a host has to answer; then it may have what is asked for."""

FRESH_SECONDS = 15.0
"""How long an answer counts, from when the host was asked."""

_OFF_SECONDS = 2.0
"""How long a host that counts as off has to answer: meanwhile other answers grow old."""

Answer: TypeAlias = HostAnswer | str
"""What a host has said; or why there is no answer."""

_log = structlog.get_logger(__name__)


class Asked(Protocol):
    """A host that is asked."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def uri(self) -> str:
        """How its libvirt is reached."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the other hosts are asked.

    Attributes:
        uuid: of the virtual server; "" where only its name matters.
        name: its name; it is woken when there are answers.
        purpose: what for: what was answered for another purpose does not count.
    """

    uuid: str
    name: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Round:
    """The answers of all other hosts, asked at one time.

    Attributes:
        begun: when the first was asked, on the monotonic clock.
        answers: by host.
    """

    begun: float
    answers: Mapping[str, Answer]


Heard: TypeAlias = Callable[[Asked, HostAnswer, float], None]
"""Told which host has answered, what, and when it was asked, in seconds since the epoch."""


def _tell_nobody(_host: Asked, _answer: HostAnswer, _asked: float) -> None:
    return


class Census:
    """Asks the other hosts.

    Args:
        others: gives the other hosts, which may change.
        wake: called with the name of each virtual server that has asked, when there are answers.
        heard: told each answer as it comes.
        counts_as_off: whether a host need not be waited for as long as others.
    """

    def __init__(
        self,
        others: Callable[[], Iterable[Asked]],
        wake: Callable[[str], None],
        heard: Heard = _tell_nobody,
        counts_as_off: Callable[[str], bool] = lambda _name: False,
    ) -> None:
        self._others = others
        self._wake = wake
        self._heard = heard
        self._counts_as_off = counts_as_off
        self._lock = threading.Lock()
        self._asked: dict[Question, float] = {}
        self._answered: dict[Question, Round] = {}
        self._asking = False
        self._hanging: set[str] = set()
        self.calls = 0

    def answers(self, question: Question) -> Round | None:
        """What the others have said to this question; None if they have not answered yet.

        The answers to it count as long as they are fresh; then it is asked again.
        """
        with self._lock:
            now = time.monotonic()
            found = self._answered.get(question)
            if found is not None and now - found.begun <= FRESH_SECONDS:
                return found
            self._answered.pop(question, None)
            self._asked.setdefault(question, now)
            if not self._asking:
                self._asking = True
                threading.Thread(target=self._ask, name="census", daemon=True).start()
            return None

    def forget(self, uuid: str, purpose: str) -> None:
        """What was answered about a virtual server for a purpose counts no more."""
        with self._lock:
            for question in [
                each for each in self._answered if (each.uuid, each.purpose) == (uuid, purpose)
            ]:
                del self._answered[question]

    def survey(self, hosts: Iterable[Asked], *, marks: bool = False) -> Mapping[str, Answer]:
        """What hosts say now, by name; returns when all have answered or have had their time.

        Args:
            hosts: those to ask.
            marks: whether they are asked which virtual servers carry what was last applied.
        """
        return self._round(tuple(hosts), marks=marks)

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
            found = Round(begun, self._round(tuple(self._others())))
            with self._lock:
                answered = [each for each, asked in self._asked.items() if asked <= begun]
                for question in answered:
                    del self._asked[question]
                    self._answered[question] = found
                self._drop_old(time.monotonic())
                self._asking = late = bool(self._asked)
            for question in answered:
                self._wake(question.name)
            if not late:
                return

    def _drop_old(self, now: float) -> None:
        """Keep nothing of those that have not come for their answer."""
        self._answered = {
            question: found
            for question, found in self._answered.items()
            if now - found.begun <= FRESH_SECONDS
        }

    def _round(self, hosts: tuple[Asked, ...], *, marks: bool = False) -> dict[str, Answer]:
        answers: dict[str, Answer] = {}
        done = threading.Condition()

        def ask(host: Asked) -> None:
            asked = time.time()
            answer = _census_of(host, marks=marks)
            with done:
                answers[host.name] = answer
                self._hanging.discard(host.uri)
                done.notify_all()
            if isinstance(answer, HostAnswer):
                # However late it comes: the host has answered.
                self._heard(host, answer, asked)

        with done:
            for host in hosts:
                # One that has never come back from the last question is not asked once more.
                if host.uri in self._hanging:
                    answers[host.name] = f"{host.uri} does not answer"
                    continue
                threading.Thread(
                    target=ask, args=(host,), name=f"census-{host.name}", daemon=True
                ).start()
                self._hanging.add(host.uri)
                self.calls += 1
            patient = {each.name for each in hosts if not self._counts_as_off(each.name)}
            begun = time.monotonic()
            done.wait_for(lambda: answers.keys() >= patient, ANSWER_SECONDS)
            left = _OFF_SECONDS - (time.monotonic() - begun)
            done.wait_for(lambda: len(answers) == len(hosts), max(left, 0))
            return {
                each.name: answers.get(each.name, f"{each.uri} does not answer") for each in hosts
            }


def _census_of(host: Asked, *, marks: bool) -> Answer:
    try:
        connection = Host(host.uri)
        try:
            return connection.census(marks=marks)
        finally:
            connection.close()
    except HypervisorError as error:
        _log.debug("host cannot be asked", host=host.name, error=str(error))
        return str(error)
