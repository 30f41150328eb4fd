"""What virtual servers may have of a host that they share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from reconvirt.domain.changes import Change
from reconvirt.domain.desired import Desired
from reconvirt.domain.totals import NOTHING, Share, Size, Totals, asked_size, share_out
from reconvirt.hypervisor.connection import Hypervisor, Taken

_NOT_THERE = Taken(NOTHING, active=False)


class Shares:
    """Decides who may have how much, while several are worked on at a time.

    Args:
        wanted: gives what all manifests want, by name.
        counts: whether one may be started or changed here; of others only what they have counts.
    """

    def __init__(
        self,
        wanted: Callable[[], Mapping[str, Desired]] = dict,
        counts: Callable[[Desired], bool] = lambda _desired: True,
    ) -> None:
        self._wanted = wanted
        self._counts = counts
        self._lock = threading.Lock()
        # What was given to those that are being worked on, and need not show in libvirt yet.
        self._given: dict[str, Size] = {}
        # Those of them that were given more than they had.
        self._growing: set[str] = set()
        # Never changed but replaced: who reads it must not wait for libvirt.
        self._refused: frozenset[str] = frozenset()
        # For whom something was kept when one was refused: what they have not taken is free again.
        self._kept_from: dict[str, frozenset[str]] = {}
        self._freed: set[str] = set()

    @property
    def refused(self) -> frozenset[str]:
        """Those that did not get what they ask for, and may once others have less."""
        return self._refused

    def ask(self, desired: Desired, totals: Totals, hypervisor: Hypervisor) -> tuple[Change, ...]:
        """Why a virtual server may not have what it asks for; nothing if it may.

        What it gets is kept for it until :meth:`done`.

        Raises:
            HypervisorError: libvirt does not say who has how much.
        """
        if not totals.limited:
            self.forget(desired.name)
            return ()
        # What is asked of libvirt must not be older than what was given.
        with self._lock:
            self._given.pop(desired.name, None)
            wanted = {**self._wanted(), desired.name: desired}
            shares = shares_of(wanted, hypervisor.sizes(), self._counts, self._given)
            share = shares[desired.name]
            objections = share_out(shares.values(), totals).get(desired.name, ())
            if objections:
                self._refused |= {desired.name}
                self._kept_from[desired.name] = frozenset(self._growing - {desired.name})
            else:
                self._allow(desired.name)
                self._given[desired.name] = share.wants
            if objections or share.wants == share.has:
                self._give_back(desired.name)
            else:
                self._growing.add(desired.name)
        return objections

    def done(self, name: str) -> None:
        """A virtual server is no longer worked on: what it has is what libvirt says."""
        with self._lock:
            self._given.pop(name, None)
            self._give_back(name)

    def freed(self) -> frozenset[str]:
        """Those that were refused while something was kept for one that is done; told once."""
        with self._lock:
            freed, self._freed = frozenset(self._freed), set()
        return freed

    def forget(self, name: str) -> None:
        """A virtual server asks for nothing any more."""
        self.done(name)
        with self._lock:
            self._allow(name)

    def _give_back(self, name: str) -> None:
        """One takes no more than it has: from whom that was kept may have it now."""
        if name not in self._growing:
            return
        self._growing.remove(name)
        waiting = [each for each, kept in self._kept_from.items() if name in kept]
        for each in waiting:
            del self._kept_from[each]
        self._freed.update(waiting)

    def _allow(self, name: str) -> None:
        """One is not refused, or no longer: nothing is to be told to it."""
        self._refused -= {name}
        self._kept_from.pop(name, None)
        self._freed.discard(name)


def shares_of(
    wanted: Mapping[str, Desired],
    sizes: Mapping[str, Taken],
    counts: Callable[[Desired], bool] = lambda _desired: True,
    given: Mapping[str, Size] | None = None,
) -> dict[str, Share]:
    """The shares of all virtual servers, by name.

    Args:
        wanted: what their manifests want.
        sizes: what libvirt says of them.
        counts: whether one may be started or changed here.
        given: what was promised to some, which libvirt need not show yet.
    """
    shares = {}
    for name, desired in wanted.items():
        found = sizes.get(name, _NOT_THERE)
        has = found.size if found.active else NOTHING
        if given and name in given:
            has = has.at_least(given[name])
        shall_run = desired.state in ("running", "paused") or (
            desired.state == "any" and found.active
        )
        asks = asked_size(desired, found.size) if shall_run and counts(desired) else NOTHING
        shares[name] = Share(name, has, asks, desired.priority)
    return shares


def overdrawn(
    wanted: Mapping[str, Desired],
    totals: Totals,
    sizes: Callable[[], Mapping[str, Taken]] = dict,
    counts: Callable[[Desired], bool] = lambda _desired: True,
) -> Mapping[str, tuple[Change, ...]]:
    """Why virtual servers may not have what they ask for, by name; for those that look once."""
    if not totals.limited:
        return {}
    return share_out(shares_of(wanted, sizes(), counts).values(), totals)
