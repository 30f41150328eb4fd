"""What must run before a virtual server is started: here, whoever made it, or on other hosts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

from reconvirt.controller.hosts.census import Answer, Census, Question
from reconvirt.controller.outcome import Outcome
from reconvirt.domain.desired import Desired
from reconvirt.domain.lifecycle import RUNS
from reconvirt.domain.observed import State
from reconvirt.domain.placing import Inventory
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.manifest.host import HostManifest

ASK_AGAIN_SECONDS = 10.0
"""How often other hosts are asked while a virtual server waits for one of theirs."""

_PURPOSE = "dependsOn"


class Afar:
    """Whether virtual servers run on other hosts; only those are asked on which they may be.

    Args:
        inventory: gives this host and the others, which may change.
        wake: called with the name of one that has asked, when there are answers.
    """

    def __init__(self, inventory: Callable[[], Inventory], wake: Callable[[str], None]) -> None:
        self._inventory = inventory
        self._census = Census(self._others, wake)
        self._lock = threading.Lock()
        self._asked: dict[str, frozenset[str]] = {}
        self._told: dict[str, list[str]] = {}

    def hosts_of(self, desired: Desired) -> frozenset[str]:
        """The other hosts on which a virtual server may be by its manifest."""
        inventory = self._inventory()
        stated = {desired.host, *desired.hosts} & inventory.hosts.keys()
        return frozenset(str(name) for name in stated if name != inventory.own)

    def missing(self, asker: str, wanted: Iterable[Desired]) -> list[str]:
        """Which of these do not run, in words; nobody waits for the answers of the hosts.

        Args:
            asker: the virtual server that waits for them; it is woken when there are answers.
            wanted: what is wanted of those that it needs.
        """
        needed = [(each, self.hosts_of(each)) for each in wanted]
        if not needed:
            self.forget(asker)
            return []
        with self._lock:
            self._asked[asker] = frozenset().union(*(hosts for _, hosts in needed))
        found = self._census.answers(Question(asker, asker, _PURPOSE))
        # The next time there must be newer ones.
        self._census.forget(asker, _PURPOSE)
        if found is None:
            # What was known last stays true until there is something newer.
            asking = [f"{each.name} (other hosts are being asked)" for each, _ in needed]
            return self._told.get(asker, asking)
        judged = (_judge(each, found.answers, hosts) for each, hosts in needed)
        self._told[asker] = told = [words for words in judged if words]
        if not told:
            self.forget(asker)
        return told

    def forget(self, asker: str) -> None:
        """One waits no more."""
        with self._lock:
            self._asked.pop(asker, None)
            self._told.pop(asker, None)

    def _others(self) -> tuple[HostManifest, ...]:
        with self._lock:
            names = frozenset().union(*self._asked.values())
        return tuple(each for each in self._inventory().others if each.name in names)


def _judge(needed: Desired, answers: Mapping[str, Answer], hosts: frozenset[str]) -> str:
    """Why one does not count as running on any of these hosts; "" if it does."""
    told = []
    for host in sorted(hosts):
        answer = answers.get(host, "it has not been asked yet")
        if isinstance(answer, str):
            told.append(f"{host} cannot be asked: {answer}")
            continue
        for uuid, (name, state, _) in answer.servers.items():
            if name == needed.name or uuid == needed.expected_uuid:
                if state in RUNS:
                    return ""
                told.append(f"{state} on {host}")
    return f"{needed.name} ({', '.join(told) or 'not there'})"


class Dependencies:
    """Knows whether what a virtual server depends on runs.

    Args:
        hypervisor: gives the current connection, or raises HypervisorDown.
        afar: knows those of other hosts; None where there are no others.
    """

    def __init__(self, hypervisor: Callable[[], Hypervisor], afar: Afar | None) -> None:
        self._hypervisor = hypervisor
        self._afar = afar

    def why_not_yet(
        self,
        desired: Desired,
        wanted: Mapping[str, Desired],
        outcomes: Mapping[str, Outcome],
    ) -> tuple[str, float | None]:
        """For which virtual servers one must wait; "" if for none.

        Args:
            desired: what is wanted of it.
            wanted: what is wanted of all.
            outcomes: what the last look at each came to.

        Returns:
            A sentence, and after how many seconds it must be seen to again; None if it is woken.
        """
        missing, afar = [], []
        for name in sorted(desired.depends_on):
            state = self._state(name, wanted, outcomes)
            if state in RUNS:
                continue
            if self._afar is not None and name in wanted and self._afar.hosts_of(wanted[name]):
                afar.append(wanted[name])
            else:
                missing.append(f"{name} ({state or 'not there'})")
        if self._afar is not None:
            missing += self._afar.missing(desired.name, afar)
        sentence = f"it waits for {', '.join(missing)} to run" if missing else ""
        return sentence, ASK_AGAIN_SECONDS if afar and missing else None

    def _state(
        self, name: str, wanted: Mapping[str, Desired], outcomes: Mapping[str, Outcome]
    ) -> State | None:
        if name in wanted:
            outcome = outcomes.get(name)
            return outcome.observed.state if outcome and outcome.observed else None
        observed = self._hypervisor().observe(name)
        return observed.state if observed else None
