"""What is asked of other hosts at every resync, although no virtual server wants to know.

Fenced hosts, whether they are back. Hosts that no manifest describes any more, whether they still
have one of our virtual servers. Hosts that never answered, which libvirt they lead to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping

import structlog

from reconvirt.controller.hosts.census import Census
from reconvirt.controller.hosts.fences import Fences
from reconvirt.controller.hosts.known_hosts import KnownHost, KnownHosts
from reconvirt.controller.hosts.migration_journal import MigrationJournal
from reconvirt.controller.hosts.report import ARRIVING
from reconvirt.controller.state_store import Unreadable
from reconvirt.domain.desired import Desired
from reconvirt.domain.observed import State
from reconvirt.domain.peers import HostAnswer, HostIdentity
from reconvirt.hypervisor.supervision import Beat

_OWN = ""
"""The name under which this host itself is asked."""
_ENDED = (State.SHUTOFF, State.CRASHED)

_log = structlog.get_logger(__name__)


class HostResync:
    """Asks the hosts of which something must be known at every resync.

    Args:
        uri: where libvirt is here.
        known: the other hosts.
        fences: those of them that count as off.
        census: asks them.
        journal: knows which migrations are under way.
        wanted: gives what all manifests want, by name.
        runs_here: told the uuid of each of our virtual servers that runs here; None if nobody need
            be told.
        tell: told what has happened: a reason as a word, and a sentence.
        on_settled: called when it is found out where the manifest of this host's name leads.
    """

    def __init__(
        self,
        uri: str,
        known: KnownHosts,
        fences: Fences,
        census: Census,
        journal: MigrationJournal,
        wanted: Callable[[], Mapping[str, Desired]],
        runs_here: Callable[[str], None] | None,
        tell: Callable[[str, str], None],
        on_settled: Callable[[], None] = lambda: None,
    ) -> None:
        self._own = KnownHost(_OWN, uri)
        self._known = known
        self._fences = fences
        self._census = census
        self._journal = journal
        self._wanted = wanted
        self._runs_here = runs_here
        self._tell = tell
        self._on_settled = on_settled
        self._due = threading.Event()
        self._unreadable = ""
        self.own = HostIdentity()

    def poke(self) -> None:
        """Have it done soon."""
        self._due.set()

    def wait(self, seconds: float, beat: Beat) -> None:
        """Wait until it is due again, and give signs of life meanwhile."""
        beat.wait(self._due, seconds)
        self._due.clear()

    def run(self) -> None:
        """Ask them, and take over what they say."""
        runs_here = self._runs_here
        own = self.identify(marks=runs_here is not None)
        if own is not None and runs_here is not None:
            for uuid in _running(own):
                runs_here(uuid)
        try:
            known = self._known.others()
        except Unreadable as error:
            self._report_unreadable(str(error))
            return
        self._report_unreadable("")
        retired = tuple(each for each in known if not each.described)
        others = tuple(
            each
            for each in known
            if each.described and (not each.identity.uuid or self._fences.covers(each))
        )
        self._census.survey(others)
        answers = self._census.survey(retired, marks=True)
        for host in retired:
            self._judge(host, answers[host.name])

    def identify(self, *, marks: bool = False) -> HostAnswer | None:
        """Ask which libvirt is here, and which one the manifest of this host's name leads to.

        Args:
            marks: whether it is asked which virtual servers carry what was last applied.
        """
        own = self._census.survey((self._own,), marks=marks)[_OWN]
        if not isinstance(own, HostAnswer):
            return None
        self.own = own.identity
        self._check_own_manifest()
        return own

    def _check_own_manifest(self) -> None:
        """See that the manifest of this host's own name leads to this libvirt.

        Whether it does is not known where it cannot be asked from here: many hosts do not let
        themselves in. What was shown before counts then.
        """
        described = self._known.own_described
        if described is None:
            return
        answer = self._census.survey((described,))[described.name]
        if not isinstance(answer, HostAnswer):
            if self._known.own_is_not_asked():
                self._on_settled()
            return
        found = answer.identity
        here = found == self.own or not (found.uuid and found.hostname)
        if not self._known.own_leads(here=here, identity=found):
            return
        if not here:
            self._tell(
                "HostNameTaken",
                f"the Host manifest of the name that this host has, at {described.uri}, leads to "
                f"another libvirt, {found.hostname}, while this one is {self.own.hostname}: set "
                "host_name in the configuration of this host to a name of its own; until then, "
                "that host is asked like all others",
            )
        self._on_settled()

    def also_own(self, known: Iterable[KnownHost]) -> frozenset[str]:
        """The names of described hosts that are this very libvirt, under another name."""
        return frozenset(
            each.name for each in known if each.described and self.own.is_same(each.identity)
        )

    def _judge(self, host: KnownHost, answer: object) -> None:
        """Forget a host that no manifest describes, if it has none of ours."""
        if not isinstance(answer, HostAnswer):
            return
        if self.own.is_same(answer.identity):
            self._forget(host, "it is this very libvirt")
        elif host.identity.uuid and host.identity != answer.identity:
            # The one that was meant has not said anything.
            _log.debug("another host answers", host=host.name, uri=host.uri)
        elif not remains(answer, self._wanted()) and not self._journal.goes_to(host.uri):
            self._forget(host, "it has answered that it has none of our virtual servers")

    def _forget(self, host: KnownHost, why: str) -> None:
        try:
            self._known.forget(host.uri)
            self._fences.release(host.name)
        except (OSError, Unreadable) as error:
            _log.error("host not forgotten", host=host.name, error=str(error))
            return
        self._tell(
            "HostForgotten",
            f"{host.name} ({host.uri}), which no manifest describes any more, is not asked any "
            f"more: {why}",
        )

    def _report_unreadable(self, why: str) -> None:
        if why and why != self._unreadable:
            self._tell(
                "HostsUnreadable",
                f"nothing is defined, started or resumed, since the other hosts are unknown: {why}",
            )
        self._unreadable = why


def _running(answer: HostAnswer) -> Iterator[str]:
    """The uuids of our virtual servers that run on a host, held ones and orphans included."""
    for uuid, (_, state, reason) in answer.servers.items():
        arriving = state is State.PAUSED and reason in ARRIVING
        if uuid in (answer.ours or ()) and state not in _ENDED and not arriving:
            yield uuid


def remains(answer: HostAnswer, wanted: Mapping[str, Desired]) -> tuple[str, ...]:
    """The names of our virtual servers that a host has.

    Args:
        answer: what it says, with what was last applied.
        wanted: what all manifests want, by name.
    """
    uuids = {each.expected_uuid for each in wanted.values()}
    return tuple(
        sorted(
            name
            for uuid, (name, _, _) in answer.servers.items()
            if uuid in uuids or name in wanted or uuid in (answer.ours or ())
        )
    )
