"""Claims in etcd: one key a virtual server says which host has it.

A claim that is there spares asking the hosts. One that is absent says nothing: etcd may have been
emptied or restored, so the hosts themselves are asked before it is taken.

A claim does not end with a lease. That a host is not heard of does not say that its virtual
servers do not run: only who has made sure of that (``reconvirt host fenced``) may take them. The
lease tells people whether the host that has it is heard of. The claim's revision is its fencing
token: it grows with every change of hands.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from reconvirt.controller.hosts.claims import ASKING, FREE, Claim, InventoryClaims
from reconvirt.controller.hosts.etcd import Etcd, EtcdDown
from reconvirt.controller.hosts.fences import Fences
from reconvirt.hypervisor.supervision import Beat

_ASSERT_SECONDS = 20.0
"""How soon a claim on what runs here is asserted again: at each resync, not at each look."""

_log = structlog.get_logger(__name__)


class EtcdClaims:
    """Keeps one claim a virtual server.

    Args:
        etcd: the client.
        prefix: what the keys begin with.
        own: the name of this host.
        inventory: asks the hosts themselves, where a claim is not enough.
        fences: the hosts that are off for sure.
        lease_seconds: how long the sign of life of a host outlasts it.
        clock: seconds that never go back.
    """

    asks_always = True

    def __init__(
        self,
        etcd: Etcd,
        prefix: str,
        own: str,
        inventory: InventoryClaims,
        fences: Fences,
        lease_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._etcd = etcd
        self._prefix = prefix
        self._own = own
        self._inventory = inventory
        self._fences = fences
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._ours: dict[str, int] = {}
        self._asserted: dict[str, float] = {}

    def look(self, name: str, uuid: str, purpose: str) -> Claim:
        """Whether a virtual server may be defined, started or resumed here; takes its claim.

        What a migration has left paused is asked of the hosts themselves: the claim does not say
        on which of the two it runs, nor whether the destination of one that is to leave is there.
        """
        if purpose in ("resume", "leave"):
            return self._inventory.look(name, uuid, purpose)
        try:
            return self._take(name, uuid, purpose)
        except EtcdDown as error:
            return Claim(f"etcd cannot be asked who has it ({error}); it is not started meanwhile")

    def runs_here(self, uuid: str) -> None:
        """A virtual server runs here: whatever the claim says, that is so.

        It is asserted again at each resync: etcd may have been emptied.
        """
        now = self._clock()
        asserted = self._asserted.get(uuid)
        if self._ours.get(uuid) and asserted is not None and now - asserted < _ASSERT_SECONDS:
            return
        try:
            found = self._etcd.get(self._key(uuid))
            if found is None or found.value != self._own:
                revision = found.revision if found else 0
                found = self._etcd.put_if(self._key(uuid), self._own, revision)
            if found is not None and found.value == self._own:
                self._ours[uuid], self._asserted[uuid] = found.revision, now
        except EtcdDown as error:
            _log.debug("claim not kept yet", uuid=uuid, error=str(error))

    def may_leave(self, name: str, uuid: str) -> str:
        """Why a virtual server must not be moved away now; "" if it may."""
        try:
            claim = self._take(name, uuid, "move")
        except EtcdDown as error:
            return f"etcd cannot be asked who has it ({error}); it is not moved meanwhile"
        return claim.reason

    def hand_over(self, uuid: str, host: str) -> None:
        """A virtual server is no longer here: its claim goes to this host, in one transaction."""
        if self._ours.get(uuid) == 0:
            return
        try:
            found = self._etcd.get(self._key(uuid))
            if found is not None and found.value == self._own:
                self._etcd.put_if(self._key(uuid), host, found.revision)
            self._ours[uuid] = 0
        except EtcdDown as error:
            _log.debug("claim not handed over yet", uuid=uuid, error=str(error))

    def forget(self, uuid: str, purpose: str) -> None:
        """What the hosts have answered for a purpose counts no more."""
        self._inventory.forget(uuid, purpose)

    def end_fences(self) -> None:
        """End the fences of hosts whose signs of life are in etcd."""
        for name in self._fences.names():
            try:
                alive = self._etcd.get(self._alive_key(name)) is not None
            except EtcdDown as error:
                _log.debug("etcd is away", error=str(error))
                return
            if alive:
                self._fences.seen_alive(name, time.time(), self._lease_seconds)

    def beat(self, stop: threading.Event, seconds: int, alive: Beat | None = None) -> None:
        """Show others that this host is heard of, until ``stop``; the body of a thread.

        Args:
            stop: ends it.
            seconds: for how long the others remember it.
            alive: gets the thread's own signs of life.
        """
        alive = alive or Beat()
        lease = 0
        while not stop.is_set():
            try:
                if not lease or not self._etcd.keep_alive(lease):
                    lease = self._etcd.grant(seconds)
                    self._etcd.put_leased(self._alive_key(self._own), str(time.time()), lease)
            except EtcdDown as error:
                _log.debug("etcd is away", error=str(error))
                lease = 0
            alive.wait(stop, seconds / 3)

    def _take(self, name: str, uuid: str, purpose: str) -> Claim:
        self._ours.pop(uuid, None)
        key = self._key(uuid)
        found = self._etcd.get(key)
        ours = found is not None and found.value == self._own
        # What is only to be defined is not here: a claim of ours may be one of a restored etcd.
        unsure = purpose != "move" if found is None else ours and purpose == "define"
        if unsure and (claim := self._inventory.look(name, uuid, purpose)) != FREE:
            return claim
        if found is None:
            found = self._etcd.put_if(key, self._own, 0)
        elif found.value != self._own and found.value in self._fences.names():
            if (back := self._is_back(found.value, name, uuid)) is not None:
                return back
            if found.value in self._fences.names():
                found = self._etcd.put_if(key, self._own, found.revision)
        if found is None:
            return Claim("its claim has changed hands meanwhile")
        if found.value == self._own:
            self._ours[uuid] = found.revision
            return FREE
        heard = self._etcd.get(self._alive_key(found.value)) is not None
        how = "which is heard of" if heard else "which is not heard of"
        return Claim(
            f"{found.value} has its claim, {how}; it gives it away when it has moved it, or, if it "
            f"is off for sure, 'reconvirt host fenced {found.value}' says so",
            found.value,
            sure=True,
        )

    def _is_back(self, fenced: str, name: str, uuid: str) -> Claim | None:
        """Why nothing may be taken from a fenced host yet; None if it is off.

        The hosts themselves are asked: it counts as off until it answers again, and then what it
        has is its own. What others have the claim tells.
        """
        found = self._inventory.look(name, uuid, "fenced")
        waits = found.reason == ASKING
        return found if waits or found.sure or found.host == fenced else None

    def _key(self, uuid: str) -> str:
        return f"{self._prefix}/claims/{uuid}"

    def _alive_key(self, host: str) -> str:
        return f"{self._prefix}/hosts/{host}"
