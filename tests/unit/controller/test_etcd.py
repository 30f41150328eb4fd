"""The client, on a real etcd with TLS and passwords."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer_hosts import Rounds, Said, known
from reconvirt.controller.config.claims import EtcdSettings
from reconvirt.controller.hosts.claims import ASKING, FREE, InventoryClaims
from reconvirt.controller.hosts.etcd import Etcd, EtcdDown, _encode
from reconvirt.controller.hosts.etcd_claims import EtcdClaims
from reconvirt.controller.hosts.fences import Fence, Fences
from reconvirt.controller.state_store import StateStore
from reconvirt.domain.observed import State
from testbed.etcd import EtcdServer

UUID = "8f1c6a0e-5d0b-4c36-9d0e-6b0f6c1f2a11"


def certificates(directory: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that vouches for itself, and its key."""
    certificate, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdSettings]:
    """How an etcd is reached that wants TLS and a password."""
    directory = tmp_path_factory.mktemp("etcd")
    certificate, key = certificates(directory)
    tls = ("--cert-file", str(certificate), "--key-file", str(key))
    server = EtcdServer(None, directory, "127.0.0.1", *tls, scheme="https")
    password = directory / "password"
    password.write_text("secret\n", encoding="utf-8")
    server.start()
    anybody = Etcd(EtcdSettings(endpoints=(server.url,), ca=certificate))
    calls = {
        "auth/user/add": {"name": "root", "password": "secret"},
        "auth/role/add": {"name": "root"},
        "auth/user/grant": {"user": "root", "role": "root"},
        "auth/enable": {},
    }
    for path, body in calls.items():
        anybody._call(path, body)
    yield EtcdSettings(
        endpoints=(server.url,), ca=certificate, username="root", password_file=password
    )
    server.kill()


class Member:
    """One host of three, with its fences, and with what the others answer one after the other."""

    def __init__(self, settings: EtcdSettings, own: str, *said: Said | None) -> None:
        self.others = known(*({"a", "b", "c"} - {own}))
        self.fences = Fences(StateStore())
        self.rounds = Rounds(*said)
        self.now = 0.0
        self._asked = InventoryClaims(self.rounds, lambda: self.others, self.fences.covers)
        self.claims = EtcdClaims(
            Etcd(settings), "/test", own, self._asked, self.fences, clock=lambda: self.now
        )

    def fence(self, name: str) -> None:
        """Have a host count as off."""
        (host,) = (each for each in self.others if each.name == name)
        self.fences.add(host, Fence("power cut", "me", 1.0))

    def hear(self, name: str) -> None:
        """It has answered."""
        (host,) = (each for each in self.others if each.name == name)
        self.fences.heard(host, host.identity.uuid, 2.0)


NOWHERE: Said = {"a": {}, "b": {}, "c": {}}


def claims(settings: EtcdSettings, own: str) -> EtcdClaims:
    """The claims of one host, where no other one has anything."""
    return Member(settings, own, *[NOWHERE] * 9).claims


def test_without_password_nothing_is_told(settings: EtcdSettings) -> None:
    """Nor with an unknown certificate."""
    for wrong in (
        EtcdSettings(endpoints=settings.endpoints, ca=settings.ca),
        EtcdSettings(endpoints=settings.endpoints),
    ):
        with pytest.raises(EtcdDown):
            Etcd(wrong).get("/test/x")


def test_a_claim_is_one_hosts_until_it_is_handed_over(settings: EtcdSettings) -> None:
    """Its revision, the fencing token, grows with each change of hands."""
    a, b = claims(settings, "a"), claims(settings, "b")

    assert FREE == a.look("web1", UUID, "start")
    token = a._ours[UUID]
    assert ("a", True) == (
        b.look("web1", UUID, "start").host,
        "not heard of" in b.look("web1", UUID, "start").reason,
    )
    assert "" == a.may_leave("web1", UUID)
    a.hand_over(UUID, "b")
    assert FREE == b.look("web1", UUID, "start")
    assert b._ours[UUID] > token
    assert "b" == a.look("web1", UUID, "start").host


def test_a_fenced_host_loses_its_claim(settings: EtcdSettings) -> None:
    """Only then, and once it was asked: that it is not heard of is not enough."""
    uuid = UUID.replace("8", "9")
    claims(settings, "a").look("web2", uuid, "start")
    away: Said = {"a": "no route", "c": {}}
    member = Member(settings, "b", None, away)

    assert "a" == claims(settings, "b").look("web2", uuid, "start").host
    member.fence("a")
    assert ASKING == member.claims.look("web2", uuid, "start").reason
    assert FREE == member.claims.look("web2", uuid, "start")


@pytest.mark.parametrize("has_it", [True, False])
def test_a_fenced_host_that_is_back_keeps_its_claim(settings: EtcdSettings, has_it: bool) -> None:
    """It answers, so it is not off any more: what it has may run there, or is on its way."""
    uuid = UUID.replace("8", "5" if has_it else "4")
    claims(settings, "a").look("web4", uuid, "start")
    there = {uuid: ("web4", State.RUNNING, "booted")} if has_it else {}
    member = Member(settings, "b", {"a": there, "c": {}})
    member.fence("a")
    member.rounds.on_ask = lambda: member.hear("a")

    claim = member.claims.look("web4", uuid, "start")

    assert ("a", True, frozenset()) == (claim.host, claim.sure, member.fences.names())
    assert FREE == claims(settings, "a").look("web4", uuid, "start")


def test_a_claim_that_is_absent_has_the_hosts_asked(settings: EtcdSettings) -> None:
    """etcd may have been emptied: what runs elsewhere says so itself."""
    uuid = UUID.replace("8", "3")
    there: Said = {"a": {uuid: ("web5", State.RUNNING, "booted")}, "c": {}}
    member = Member(settings, "b", None, there)

    assert ASKING == member.claims.look("web5", uuid, "define").reason
    assert "a has it, running (booted)" == member.claims.look("web5", uuid, "define").reason
    assert Etcd(settings).get(f"/test/claims/{uuid}") is None


def test_a_claim_of_ours_on_what_is_not_here_has_the_hosts_asked(settings: EtcdSettings) -> None:
    """etcd may have been restored from before it was moved away."""
    uuid = UUID.replace("8", "2")
    claims(settings, "b").look("web6", uuid, "start")
    there: Said = {"a": {uuid: ("web6", State.RUNNING, "migrated")}, "c": {}}
    member = Member(settings, "b", there)

    assert "a" == member.claims.look("web6", uuid, "define").host
    assert FREE == member.claims.look("web6", uuid, "start")


def test_what_runs_here_is_claimed_again(settings: EtcdSettings) -> None:
    """At each resync, not at each look: etcd may have been emptied meanwhile."""
    uuid = UUID.replace("8", "1")
    member, etcd = Member(settings, "a"), Etcd(settings)
    key = f"/test/claims/{uuid}"
    member.claims.runs_here(uuid)
    assert etcd.get(key) is not None
    etcd._call("kv/deleterange", {"key": _encode(key)})

    member.claims.runs_here(uuid)
    assert etcd.get(key) is None
    member.now = 300.0
    member.claims.runs_here(uuid)

    found = etcd.get(key)
    assert found is not None
    assert "a" == found.value


def test_a_host_that_is_alive_in_etcd_is_not_fenced(settings: EtcdSettings) -> None:
    """Once its sign of life cannot be one from before any more."""
    etcd, member = Etcd(settings), Member(settings, "b")
    member.fence("a")
    member.claims.end_fences()
    assert {"a"} == member.fences.names()

    etcd.put_leased("/test/hosts/a", "1", etcd.grant(60))
    member.claims.end_fences()

    assert not member.fences.names()


def test_what_runs_here_is_claimed(settings: EtcdSettings) -> None:
    """Whatever stood there before: it has come, and nobody else may start it."""
    uuid = UUID.replace("8", "7")
    a, b = claims(settings, "a"), claims(settings, "b")
    a.look("web3", uuid, "start")

    b.runs_here(uuid)

    assert "b" == a.look("web3", uuid, "start").host


def test_etcd_away() -> None:
    """Nothing starts, and the reason is told."""
    away = EtcdSettings(endpoints=("http://127.0.0.1:1",))

    claim = claims(away, "a").look("web1", UUID, "start")

    assert "etcd cannot be asked who has it" in claim.reason
    claims(away, "a").runs_here(UUID)
    claims(away, "a").hand_over(UUID, "b")
    assert claims(away, "a").may_leave("web1", UUID)
