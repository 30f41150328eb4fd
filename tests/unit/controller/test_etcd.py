"""The client, on a real etcd with TLS and passwords."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconvirt.controller.config.claims import EtcdSettings
from reconvirt.controller.hosts.census import Answer, Round
from reconvirt.controller.hosts.claims import ASKING, FREE, InventoryClaims
from reconvirt.controller.hosts.etcd import Etcd, EtcdDown
from reconvirt.controller.hosts.etcd_claims import EtcdClaims
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


class Nobody:
    """An inventory that is never asked."""

    def look(self, *_: str) -> None:
        raise AssertionError


def claims(settings: EtcdSettings, own: str, *fenced: str) -> EtcdClaims:
    """The claims of one host."""
    return EtcdClaims(Etcd(settings), "/test", own, Nobody(), lambda: frozenset(fenced))


class Fences:
    """Host b with its fenced hosts, and a census with these answers, one after the other."""

    def __init__(
        self, settings: EtcdSettings, answers: list[dict[str, Answer] | None], *fenced: str
    ) -> None:
        self.names = set(fenced)
        self._answers = list(answers)
        asked = InventoryClaims(self, self.fenced, self.names.discard)
        self.claims = EtcdClaims(Etcd(settings), "/test", "b", asked, self.fenced)

    def fenced(self) -> frozenset[str]:
        """Those that count as off now."""
        return frozenset(self.names)

    def answers(self, _name: str, _purpose: str) -> Round | None:
        """As a census has it; None while the hosts are being asked."""
        answers = self._answers.pop(0)
        return None if answers is None else Round(0.0, answers)


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
    away: dict[str, Answer] = {"a": "no route", "c": "no route"}
    answers: list[dict[str, Answer] | None] = [None, away]
    fences = Fences(settings, answers, "a")

    assert "a" == claims(settings, "b").look("web2", uuid, "start").host
    assert ASKING == fences.claims.look("web2", uuid, "start").reason
    assert FREE == fences.claims.look("web2", uuid, "start")
    assert {"a"} == fences.names


@pytest.mark.parametrize("has_it", [True, False])
def test_a_fenced_host_that_is_back_keeps_its_claim(settings: EtcdSettings, has_it: bool) -> None:
    """It answers, so it is not off any more: what it has may run there, or is on its way."""
    uuid = UUID.replace("8", "5" if has_it else "4")
    claims(settings, "a").look("web4", uuid, "start")
    there: dict[str, tuple[str, State, str]] = {uuid: ("web4", State.RUNNING, "booted")}
    answer: dict[str, Answer] = {"a": there if has_it else {}, "c": "no route"}
    fences = Fences(settings, [answer], "a")

    claim = fences.claims.look("web4", uuid, "start")

    assert ("a", True, set()) == (claim.host, claim.sure, fences.names)
    assert FREE == claims(settings, "a").look("web4", uuid, "start")


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
