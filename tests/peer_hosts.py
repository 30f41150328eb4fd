"""Other hosts as tests know them: what they answer, and how they are asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from reconvirt.controller.hosts.census import Answer, Question, Round
from reconvirt.controller.hosts.known_hosts import KnownHost
from reconvirt.domain.observed import State
from reconvirt.domain.peers import HostAnswer, HostIdentity

Servers: TypeAlias = Mapping[str, tuple[str, State, str]]
Said: TypeAlias = Mapping[str, Servers | str]
"""By host: the virtual servers that it has, or why it does not answer."""


def identity(host: str) -> HostIdentity:
    """Which host answers for this name."""
    return HostIdentity(f"uuid-of-{host}", host)


def known(*names: str, described: bool = True) -> tuple[KnownHost, ...]:
    """Known hosts that have answered before."""
    return tuple(
        KnownHost(each, f"test:///{each}", identity(each), described=described) for each in names
    )


def answers_of(said: Said) -> dict[str, Answer]:
    """What hosts have answered."""
    return {
        host: what if isinstance(what, str) else HostAnswer(what, identity(host))
        for host, what in said.items()
    }


class Rounds:
    """A census whose answers are known beforehand; None while the hosts are being asked.

    As with a real one, an answer counts until it is forgotten.

    Attributes:
        next: what the hosts say the next times that they are asked.
        asked: the questions that were put.
        on_ask: called when the hosts are asked.
    """

    def __init__(self, *said: Said | None) -> None:
        self.next: list[Said | None] = list(said)
        self.asked: list[Question] = []
        self.on_ask: Callable[[], object] = lambda: None
        self._answered: dict[Question, Round] = {}

    def answers(self, question: Question) -> Round | None:
        """The answers to a question."""
        if question in self._answered:
            return self._answered[question]
        self.asked.append(question)
        self.on_ask()
        said = self.next.pop(0)
        if said is None:
            return None
        self._answered[question] = found = Round(0.0, answers_of(said))
        return found

    def forget(self, uuid: str, purpose: str) -> None:
        """What was answered counts no more."""
        for each in list(self._answered):
            if (each.uuid, each.purpose) == (uuid, purpose):
                del self._answered[each]
