"""Never two copies: a virtual server starts only where no other host has it, or may have it.

A host writes its own definition first and asks the others afterwards. Of two that start the same
one at once, at least the second to ask sees the other's definition, and leaves it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from reconvirt.controller.hosts.census import Answer, Question, Round
from reconvirt.controller.hosts.known_hosts import KnownHost
from reconvirt.controller.state_store import Unreadable
from reconvirt.domain.observed import State
from reconvirt.domain.peers import HostAnswer, HostIdentity

ASKING = "the other hosts are being asked whether they have it"


@dataclass(frozen=True, slots=True)
class Claim:
    """What is known of the other hosts.

    Attributes:
        reason: why it must not be defined, started or resumed here now; "" if it may.
        host: the host that has it, or may have it; "" where that is nobody, or not known yet.
        sure: whether that host has it: it is not only possible, nor another one of its name.
    """

    reason: str
    host: str = ""
    sure: bool = False


FREE = Claim("")


class Claims(Protocol):
    """Knows whether another host has a virtual server.

    Attributes:
        asks_always: whether it knows of hosts that are not known here.
    """

    asks_always: bool

    def look(self, name: str, uuid: str, purpose: str) -> Claim:
        """Whether a virtual server may be defined, started or resumed here."""

    def runs_here(self, uuid: str) -> None:
        """A virtual server runs here."""

    def may_leave(self, name: str, uuid: str) -> str:
        """Why a virtual server must not be moved away now; "" if it may."""

    def hand_over(self, uuid: str, host: str) -> None:
        """A virtual server is no longer here, but on this host."""

    def forget(self, uuid: str, purpose: str) -> None:
        """What was answered for a purpose counts no more: something has changed here."""


class Answers(Protocol):
    """Gives the answers to a question."""

    def answers(self, question: Question) -> Round | None:
        """What the others have said; None if they have not answered yet."""

    def forget(self, uuid: str, purpose: str) -> None:
        """What was answered counts no more."""


class InventoryClaims:
    """Asks the other hosts each time.

    Args:
        census: asks them.
        known: gives all known hosts, or raises Unreadable.
        counts_as_off: whether a host was fenced, and not heard of since.
        own: which host this is, as far as it is known.
    """

    asks_always = False

    def __init__(
        self,
        census: Answers,
        known: Callable[[], tuple[KnownHost, ...]],
        counts_as_off: Callable[[KnownHost], bool],
        own: Callable[[], HostIdentity] = HostIdentity,
    ) -> None:
        self._census = census
        self._known = known
        self._counts_as_off = counts_as_off
        self._own = own

    def look(self, name: str, uuid: str, purpose: str) -> Claim:
        """Whether a virtual server may be defined, started or resumed here.

        Args:
            name: its name.
            uuid: its uuid.
            purpose: what for; each has answers of its own.
        """
        try:
            known = self._known()
        except Unreadable as error:
            return Claim(f"it is not known which other hosts there are: {error}")
        found = self._census.answers(Question(uuid, name, purpose))
        if found is None:
            return Claim(ASKING)
        if any(each.name not in found.answers for each in known):
            # A host that has become known since.
            self._census.forget(uuid, purpose)
            self._census.answers(Question(uuid, name, purpose))
            return Claim(ASKING)
        return self._judge(name, uuid, known, found.answers)

    def runs_here(self, uuid: str) -> None:
        """Nothing need be kept: who asks is told."""

    def may_leave(self, name: str, uuid: str) -> str:
        """Nothing need be kept."""
        return "" if uuid else f"{name} has no uuid"

    def hand_over(self, uuid: str, host: str) -> None:
        """Nothing need be kept."""

    def forget(self, uuid: str, purpose: str) -> None:
        """What was answered for a purpose counts no more."""
        self._census.forget(uuid, purpose)

    def _judge(
        self,
        name: str,
        uuid: str,
        known: tuple[KnownHost, ...],
        answers: Mapping[str, Answer],
    ) -> Claim:
        unsure = FREE
        heard = [each.identity for each in answers.values() if isinstance(each, HostAnswer)]
        for host in known:
            answer = _answer_of(host, answers[host.name])
            if isinstance(answer, str):
                # One host may be known by two URIs: it need not answer at both.
                if any(host.identity.is_same(each) for each in heard):
                    continue
                if unsure == FREE and not self._counts_as_off(host):
                    unsure = Claim(_may_have_it(host, answer), host.name)
                continue
            if self._own().is_same(answer.identity):
                continue  # What that URI leads to is this libvirt.
            for key, (called, state, reason) in answer.servers.items():
                if key == uuid or called == name:
                    return Claim(_has_it(host.name, state, reason), host.name, sure=key == uuid)
        return unsure


def _answer_of(host: KnownHost, answer: Answer) -> Answer:
    """What a host has answered; why it has not, where another one answers at its URI.

    Its own virtual servers are then known to nobody: what another one has says nothing of them.
    """
    if isinstance(answer, str) or host.identity in (HostIdentity(), answer.identity):
        return answer
    if host.described and not host.identity.is_other(answer.identity):
        return answer
    who = answer.identity.hostname
    return f"another libvirt answers at {host.uri}: {who} with host uuid {answer.identity.uuid}"


def _may_have_it(host: KnownHost, why: str) -> str:
    who = host.name if host.described else f"{host.name}, which no manifest describes any more,"
    told = (
        f"{who} may have it, and cannot be asked ({why}); if it is off for sure, "
        f"'reconvirt host fenced {host.name}' says so"
    )
    if not host.described:
        told += f", and 'reconvirt host remove {host.name}' if it never comes back"
    return told


def _has_it(host: str, state: State, reason: str) -> str:
    if state is State.SHUTOFF:
        return f"{host} has its definition; it is moved from there, or undefined there"
    return f"{host} has it, {state}{f' ({reason})' if reason else ''}"
