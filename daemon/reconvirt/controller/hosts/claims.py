"""Never two copies: a virtual server starts only where no other host has it, or may have it.

A host writes its own definition first and asks the others afterwards. Of two that start the same
one at once, at least the second to ask sees the other's definition, and leaves it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Protocol

import structlog

from reconvirt.controller.holds import Hold
from reconvirt.controller.hosts.census import Census, Round
from reconvirt.controller.state_store import Document, StateStore, Unreadable
from reconvirt.domain.observed import State

_log = structlog.get_logger(__name__)

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
    """Knows whether another host has a virtual server."""

    def look(self, name: str, uuid: str, purpose: str) -> Claim:
        """Whether a virtual server may be defined, started or resumed here."""

    def runs_here(self, uuid: str) -> None:
        """A virtual server runs here."""

    def may_leave(self, name: str, uuid: str) -> str:
        """Why a virtual server must not be moved away now; "" if it may."""

    def hand_over(self, uuid: str, host: str) -> None:
        """A virtual server is no longer here, but on this host."""


class InventoryClaims:
    """Asks the other hosts of the inventory each time.

    Args:
        census: asks them.
        fenced: the hosts that a person has made sure of to be off, by name; read anew each time.
        answered: told the hosts that have answered: they are not off any more.
    """

    def __init__(
        self,
        census: Census,
        fenced: Callable[[], frozenset[str]],
        answered: Callable[[str], None],
    ) -> None:
        self._census = census
        self._fenced = fenced
        self._answered = answered

    def look(self, name: str, uuid: str, purpose: str) -> Claim:
        """Whether a virtual server may be defined, started or resumed here.

        Args:
            name: its name.
            uuid: its uuid.
            purpose: what for; each has answers of its own.
        """
        found = self._census.answers(name, purpose)
        if found is None:
            return Claim(ASKING)
        return self._judge(name, uuid, found)

    def runs_here(self, uuid: str) -> None:
        """Nothing need be kept: who asks is told."""

    def may_leave(self, name: str, uuid: str) -> str:
        """Nothing need be kept."""
        return "" if uuid else f"{name} has no uuid"

    def hand_over(self, uuid: str, host: str) -> None:
        """Nothing need be kept."""

    def _judge(self, name: str, uuid: str, found: Round) -> Claim:
        fenced = self._fenced()
        unsure = FREE
        for host, answer in found.answers.items():
            if isinstance(answer, str):
                if host not in fenced and unsure == FREE:
                    unsure = Claim(
                        f"{host} may have it, which cannot be asked ({answer}); if it is off for "
                        f"sure, 'reconvirt host fenced {host}' says so",
                        host,
                    )
                continue
            self._answered(host)
            for key, (called, state, reason) in answer.items():
                if key == uuid or called == name:
                    return Claim(_told(host, state, reason), host, sure=key == uuid)
        return unsure


def _told(host: str, state: State, reason: str) -> str:
    if state is State.SHUTOFF:
        return f"{host} has its definition; it is moved from there, or undefined there"
    return f"{host} has it, {state}{f' ({reason})' if reason else ''}"


class FencedHosts:
    """The hosts that a person, or a fencing tool, has made sure of to be off.

    They are stored, so that the command and the daemon agree; a host that answers again is taken
    out.

    Args:
        store: where they are stored.
    """

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def names(self) -> frozenset[str]:
        """Those that are; none where they cannot be read, which the store reports."""
        try:
            return frozenset(self._store.read(Document.FENCES))
        except Unreadable:
            return frozenset()

    def add(self, name: str, hold: Hold) -> None:
        """Take one in.

        Raises:
            OSError: it cannot be stored.
        """
        with self._store.change(Document.FENCES) as entries:
            entries[name] = asdict(hold)

    def release(self, name: str) -> None:
        """Take one out; it is tried again when the host answers again."""
        if name not in self.names():
            return
        try:
            with self._store.change(Document.FENCES) as entries:
                entries.pop(name, None)
        except OSError as error:
            _log.error("not stored", document=Document.FENCES, host=name, error=str(error))
