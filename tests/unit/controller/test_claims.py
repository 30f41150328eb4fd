"""What other hosts say, and what follows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from peer_hosts import Rounds, Said, identity, known
from reconvirt.controller.hosts.census import Question, Round
from reconvirt.controller.hosts.claims import ASKING, FREE, InventoryClaims
from reconvirt.controller.hosts.known_hosts import KnownHost
from reconvirt.controller.state_store import Unreadable
from reconvirt.domain.observed import State
from reconvirt.domain.peers import HostAnswer, HostIdentity

UUID = "8f1c6a0e-5d0b-4c36-9d0e-6b0f6c1f2a11"
HOSTS = known("b", "c")


class Answering:
    """Another libvirt than before, without virtual servers."""

    def __init__(self, met: HostIdentity) -> None:
        self._round = Round(0.0, {"b": HostAnswer(identity=met)})

    def answers(self, _question: Question) -> Round:
        """Always the same."""
        return self._round

    def forget(self, _uuid: str, _purpose: str) -> None:
        """There is nothing to forget."""


def look(said: Said | None, *fenced: str, hosts: tuple[KnownHost, ...] = ()) -> tuple[str, str]:
    """Reason and host."""
    hosts = hosts or tuple(each for each in HOSTS if said is None or each.name in said)
    claims = InventoryClaims(
        Rounds(said, None), lambda: hosts, lambda host: host.name in fenced, lambda: identity("a")
    )
    claim = claims.look("web1", UUID, "start")
    return claim.reason, claim.host


def test_nobody_has_answered_yet() -> None:
    """It is not known, and no host is named."""
    assert (ASKING, "") == look(None)


def test_free_where_all_say_so() -> None:
    """Others' virtual servers do not matter."""
    assert ("", "") == look({"b": {}, "c": {"x": ("web2", State.RUNNING, "booted")}})
    assert FREE.reason == ""


def test_by_uuid_and_by_name() -> None:
    """Either is enough, in whatever state."""
    assert "b" == look({"b": {UUID: ("other", State.PAUSED, "user")}})[1]
    reason, host = look({"b": {"x": ("web1", State.SHUTOFF, "")}})
    assert ("b", True) == (host, "has its definition" in reason)


def test_unreachable_may_have_it_unless_fenced() -> None:
    """A fenced host that answers is believed, not the fence."""
    reason, host = look({"b": "no route"})

    assert "b" == host
    assert "reconvirt host fenced b" in reason
    assert ("", "") == look({"b": "no route"}, "b")
    assert "b" == look({"b": {UUID: ("web1", State.RUNNING, "")}}, "b")[1]


def test_who_has_it_is_told_before_who_may() -> None:
    """And it is sure, unless it is another one of the same name."""
    assert ("c", True) == sure({"b": "no route", "c": {UUID: ("web1", State.RUNNING, "booted")}})
    assert ("c", False) == sure({"b": "no route", "c": {"x": ("web1", State.RUNNING, "booted")}})
    assert ("b", False) == sure({"b": "no route", "c": {}})


def sure(said: Said) -> tuple[str, bool]:
    """The host, and whether that is sure."""
    claims = InventoryClaims(Rounds(said), lambda: HOSTS, lambda _host: False)
    claim = claims.look("web1", UUID, "start")
    return claim.host, claim.sure


def test_a_host_that_has_become_known_since_must_be_asked() -> None:
    """An answer in which it is missing says nothing of it."""
    assert (ASKING, "") == look({"b": {}}, hosts=HOSTS)


def test_a_retired_host_may_have_it() -> None:
    """What helps is said: fence it, and remove it if it never comes back."""
    reason, host = look({"b": "no route"}, hosts=known("b", described=False))

    assert "b" == host
    assert "which no manifest describes any more" in reason
    assert "reconvirt host remove b" in reason


def test_one_host_by_two_uris_need_answer_at_one_only() -> None:
    """As long as it is known that both lead there."""
    again = replace(HOSTS[0], name="b-by-ssh")
    both = (HOSTS[0], again)

    assert ("", "") == look({"b": {}, "b-by-ssh": "no route"}, hosts=both)
    stranger = replace(again, identity=replace(again.identity, hostname="other"))
    assert "b-by-ssh" == look({"b": {}, "b-by-ssh": "no route"}, hosts=(HOSTS[0], stranger))[1]


@pytest.mark.parametrize(
    ("met", "described", "counts"),
    [
        (HostIdentity("uuid-of-b", "b"), False, True),
        (HostIdentity("other", "other"), False, False),
        # Firmware without a uuid: libvirt makes one up at each start.
        (HostIdentity("other", "b"), False, False),
        (HostIdentity("other", "b"), True, True),
        (HostIdentity("other", "other"), True, False),
    ],
)
def test_what_another_libvirt_says_at_its_uri_does_not_count(
    met: HostIdentity, *, described: bool, counts: bool
) -> None:
    """The address was given away, while the host that had it may go on to run its guests."""
    (host,) = known("b", described=described)
    claims = InventoryClaims(
        Rounds({"b": {}}), lambda: (replace(host, identity=HostIdentity()),), lambda _host: False
    )
    assert FREE == claims.look("web1", UUID, "start")

    claims = InventoryClaims(Answering(met), lambda: (host,), lambda _host: False)
    claim = claims.look("web1", UUID, "start")

    assert ("" if counts else "b") == claim.host
    assert counts == ("another libvirt answers" not in claim.reason)


def test_what_this_very_libvirt_has_is_no_other_hosts() -> None:
    """A manifest of another name may lead here; the host uuid alone does not prove it."""
    running: Said = {"a": {UUID: ("web1", State.RUNNING, "booted")}}
    assert ("", "") == look(running, hosts=known("a"))

    claims = InventoryClaims(Rounds(running), lambda: known("a"), lambda _host: False)
    assert "a" == claims.look("web1", UUID, "start").host


def test_where_the_hosts_are_not_known_nothing_is_free() -> None:
    """The careful answer, with the file that must be repaired."""

    def unreadable() -> tuple[KnownHost, ...]:
        raise Unreadable("/var/lib/reconvirt/hosts.json cannot be read")

    claims = InventoryClaims(Rounds(), unreadable, lambda _host: False)

    assert "hosts.json cannot be read" in claims.look("web1", UUID, "define").reason


@pytest.mark.parametrize("purpose", ["start", "define"])
def test_answers_count_for_one_purpose(purpose: str) -> None:
    """What was asked before a definition was written does not allow its start."""
    rounds = Rounds({"b": {}}, None)
    claims = InventoryClaims(rounds, lambda: known("b"), lambda _host: False)
    other = {"start": "define", "define": "start"}[purpose]

    assert FREE == claims.look("web1", UUID, purpose)
    assert ASKING == claims.look("web1", UUID, other).reason
    assert FREE == claims.look("web1", UUID, purpose)
