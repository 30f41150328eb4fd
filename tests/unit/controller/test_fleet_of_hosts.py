"""What a fleet costs: the calls to other hosts do not grow with hosts and virtual servers."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from peer_hosts import Rounds, Said, known
from reconvirt.controller.hosts.census import Census, Question
from reconvirt.controller.hosts.claims import ASKING, InventoryClaims
from reconvirt.controller.hosts.known_hosts import KnownHost
from reconvirt.controller.hosts.placement import Placement
from reconvirt.controller.outcome import Phase
from reconvirt.domain.desired import NOTHING, Desired
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.placing import Inventory
from reconvirt.manifest.host import HostManifest

HOSTS = {
    f"host{number}": HostManifest(
        f"host{number}", f"qemu+unix:///system?socket=/nonexistent/{number}"
    )
    for number in range(10)
}
SERVERS = [
    Desired(f"web{number}", None, "running", NOTHING, host=f"host{number % 10}")
    for number in range(500)
]
XML = "<domain type='kvm'><name>x</name></domain>"


QUESTION = Question("u", "web1", "start")


def known_hosts_of(inventory: Inventory) -> tuple[KnownHost, ...]:
    """The other hosts as they are known to this one."""
    return tuple(KnownHost(each.name, each.uri) for each in inventory.others)


class Member:
    """One host of the fleet, as far as it decides whose business a virtual server is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.woken: set[str] = set()
        self.all_woken = threading.Event()
        inventory = Inventory(name, HOSTS)
        self.census = Census(lambda: inventory.others, self._wake)
        others = known_hosts_of(inventory)
        claims = InventoryClaims(self.census, lambda: others, lambda _host: False)
        self.placement = Placement(lambda: inventory, claims, None, lambda: others)

    def own(self) -> list[Desired]:
        """The virtual servers that shall be here."""
        return [each for each in SERVERS if each.host == self.name]

    def _wake(self, name: str) -> None:
        self.woken.add(name)
        if len(self.woken) == len(self.own()):
            self.all_woken.set()


def running(desired: Desired) -> Observed:
    """It runs."""
    return Observed(
        desired.name, desired.expected_uuid, 1, State.RUNNING, "booted", XML, XML, job=""
    )


def test_in_steady_state_no_other_host_is_called() -> None:
    """500 virtual servers on 10 hosts, each looked at on each host, ten times."""
    members = [Member(name) for name in HOSTS]
    for member in members:
        for desired in SERVERS * 10:
            mine = desired.host == member.name
            outcome = member.placement.judge(desired, running(desired) if mine else None)
            assert outcome is None if mine else outcome.phase is Phase.ELSEWHERE

    assert 0 == sum(each.census.calls for each in members)


@pytest.mark.timeout(60)
def test_many_that_are_new_cost_no_more_calls_than_few() -> None:
    """Each other host is asked for all of them at once: in one round, or in two."""
    member = Member("host0")
    for desired in member.own():
        outcome = member.placement.judge(desired, None)
        assert outcome is not None

    assert member.all_woken.wait(30)
    assert len(member.own()) == 50
    assert member.census.calls <= 2 * (len(HOSTS) - 1)
    again = member.placement.judge(member.own()[0], None)
    assert again is not None
    assert "may have it" in again.message


@pytest.mark.parametrize("hosts", [{}, {"host0": HOSTS["host0"]}, {**HOSTS}])
def test_one_for_a_host_that_nobody_describes_is_left_alone(hosts: dict[str, HostManifest]) -> None:
    """It may run there, and is neither defined nor started here."""
    hosts.pop("host1", None)
    inventory = Inventory("host0", hosts)
    census = Census(lambda: inventory.others, lambda _name: None)
    others = known_hosts_of(inventory)
    claims = InventoryClaims(census, lambda: others, lambda _host: False)
    placement = Placement(lambda: inventory, claims, None, lambda: others)
    desired = SERVERS[1]

    assert not placement.alone(desired)
    for observed in (None, running(desired)):
        outcome = placement.judge(desired, observed)
        assert outcome is not None
        assert (Phase.REFUSED, ()) == (outcome.phase, outcome.plan.steps)
        assert "no manifest describes host1" in outcome.message
    assert placement.alone(SERVERS[0]) is (hosts.keys() <= {"host0"})


def test_what_leaves_an_evacuated_host_is_missed_twice_in_a_row_before_it_is_made() -> None:
    """What was missed once and found afterwards must be missed twice again."""
    desired = replace(SERVERS[0], hosts=("host1", "host2"))
    hosts = {**HOSTS, "host0": replace(HOSTS["host0"], evacuate=True)}
    inventory, rounds = Inventory("host1", hosts), Rounds()
    others = known("host2")
    claims = InventoryClaims(rounds, lambda: others, lambda _host: False)
    placement = Placement(lambda: inventory, claims, None, lambda: others)
    there: Said = {"host2": {desired.expected_uuid: (desired.name, State.RUNNING, "migrated")}}
    nowhere: Said = {"host2": {}}

    def look(*answers: Said | None) -> str | None:
        claims.forget(desired.expected_uuid, "define")
        rounds.next = list(answers)
        outcome = placement.judge(desired, None)
        assert [] == rounds.next
        return outcome and outcome.message

    on_host2 = "it is on host2, while host0 is to be emptied"
    assert [ASKING, on_host2] == [look(nowhere, None), look(there)]
    assert [ASKING, ASKING, on_host2] == [look(nowhere, None), look(None), look(there)]
    assert [ASKING, ASKING, None] == [look(nowhere, None), look(None), look(nowhere)]


@pytest.mark.timeout(60)
def test_an_error_of_ours_does_not_end_the_asking() -> None:
    """Else nothing would be started any more until the daemon is."""
    woken, failed = threading.Event(), threading.Event()

    def others() -> tuple[HostManifest, ...]:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("can't start new thread")
        return (HOSTS["host1"],)

    census = Census(others, lambda _name: woken.set())
    while not woken.wait(0.05):
        census.answers(QUESTION)

    found = census.answers(QUESTION)
    assert failed.is_set()
    assert found is not None
    assert {"host1"} == found.answers.keys()
