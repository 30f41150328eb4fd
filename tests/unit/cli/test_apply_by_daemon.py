"""What ``apply`` makes out of a daemon's answers."""

from __future__ import annotations

from typing import Any

import pytest

from reconvirt.cli import apply_by_daemon
from reconvirt.cli.apply_by_daemon import AnotherSource, reconcile_by_daemon
from reconvirt.cli.client import NoDaemon
from reconvirt.controller.process_lock import Holder

DAEMON = Holder("run", 7, "today", "/state", "/socket")
LATER = "2999-01-01T00:00:00.000Z"


def status(phase: str = "converged", updated: str = LATER, **more: Any) -> dict[str, Any]:
    return {
        "name": "web1",
        "phase": phase,
        "message": "as its manifest wants it",
        "updated": updated,
        "step": None,
        "waiting": [],
        "refused": [],
        "unlisted": [],
        **more,
    }


def event(number: int, reason: str, step: str, field: str, name: str = "web1") -> dict[str, Any]:
    told = {"number": number, "reason": reason, "step": step, "field": field, "message": "why"}
    return {**told, "virtual_server": name, "old": "1", "new": "2"}


class Client:
    """A daemon that answers so."""

    fleets: list[dict[str, Any]]
    events: list[dict[str, Any]]
    sent: list[str]

    def __init__(self, _path: object) -> None:
        """Whatever its socket."""

    def get(self, path: str, since: int = 0) -> Any:
        if path == "events":
            return {"events": [each for each in self.events if each["number"] > since]}
        return self.fleets[0] if len(self.fleets) == 1 else self.fleets.pop(0)

    def send(self, _method: str, path: str) -> None:
        self.sent.append(path)


@pytest.fixture(autouse=True)
def client(monkeypatch: pytest.MonkeyPatch) -> type[Client]:
    Client.fleets, Client.events, Client.sent = [], [], []
    monkeypatch.setattr(apply_by_daemon, "Client", Client)
    monkeypatch.setattr(apply_by_daemon, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(apply_by_daemon, "_READ_SECONDS", 0.0)
    return Client


def fleet(*servers: dict[str, Any], revision: str = "r1") -> dict[str, Any]:
    return {"revision": revision, "virtualServers": list(servers)}


def test_it_waits_for_an_outcome_of_its_own(client: type[Client]) -> None:
    """Not one of before it has asked, nor one of a reconcile that goes on."""
    client.fleets = [
        fleet(status()),
        fleet(status(updated="2000-01-01T00:00:00.000Z")),
        fleet(status("differs")),
        fleet(status(step="define")),
        fleet(status("waiting for a restart", waiting=[{"field": "memory"}])),
    ]

    (found,) = reconcile_by_daemon(DAEMON, "r1", ["web1"], 60)

    assert ["source/reconcile", "virtual-servers/web1/reconcile"] == client.sent
    assert ("waiting for a restart", [{"field": "memory"}]) == (found["phase"], found["waiting"])


def test_the_steps_since_then(client: type[Client]) -> None:
    """Of this one alone; several changes may be one step."""
    client.fleets = [fleet(status())]
    client.events = [event(1, "StepDone", "define", "title")]
    made = [
        event(2, "StepDone", "define", "memory.size"),
        event(3, "StepDone", "define", "vcpu.maximum"),
        event(4, "StepDone", "define", "title", "db1"),
        event(5, "Converged", "", ""),
        event(6, "StepAsked", "detach", "devices.disks[vdb]"),
    ]
    answer = client.get

    def get(self: Client, path: str, since: int = 0) -> Any:
        if path == "events" and since:
            client.events = [*client.events, *made]
        return answer(self, path, since)

    client.get = get  # type: ignore[method-assign]
    try:
        (found,) = reconcile_by_daemon(DAEMON, "r1", ["web1"], 60)
    finally:
        client.get = answer  # type: ignore[method-assign]

    assert ["define", "detach"] == [each["action"] for each in found["steps"]]
    assert ["memory.size", "vcpu.maximum"] == [
        each["field"] for each in found["steps"][0]["changes"]
    ]


def test_one_that_is_not_reconciled_in_time(client: type[Client]) -> None:
    """What is known of it is told; of one that is not there, that."""
    client.fleets = [fleet(status("waiting"))]

    waits, absent = reconcile_by_daemon(DAEMON, "r1", ["web1", "db1"], 0)

    assert ("waiting", "failed") == (waits["phase"], absent["phase"])
    assert "not reconciled it in time" in absent["message"]


def test_other_manifests(client: type[Client], monkeypatch: pytest.MonkeyPatch) -> None:
    """And a daemon that cannot be asked: nothing is reconciled."""
    client.fleets = [fleet(status(), revision="r2")]
    with pytest.raises(AnotherSource, match="its manifests are others"):
        reconcile_by_daemon(DAEMON, "r1", ["web1"], 60)
    assert ["source/reconcile"] == client.sent

    def absent(_self: Client, _method: str, _path: str) -> None:
        raise NoDaemon("no daemon listens")

    monkeypatch.setattr(client, "send", absent)
    with pytest.raises(AnotherSource, match="cannot be asked: no daemon listens"):
        reconcile_by_daemon(DAEMON, "r1", ["web1"], 60)
