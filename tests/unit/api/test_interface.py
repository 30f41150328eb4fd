"""The interface on a socket: what it answers, refuses and tells as it happens."""

from __future__ import annotations

import getpass
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from office import Office
from reconvirt.api.protocols import MOST_CONNECTIONS
from reconvirt.api.server import Server
from reconvirt.cli.client import Client, one
from reconvirt.cli.failure import Failure
from reconvirt.controller.config import Config
from reconvirt.controller.state_store import Document
from testbed.waiting import limit, wait_until

Check = Callable[[str, Any], None]


def ask(config: Config, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
    """One request as it is: what a client of another make sends."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(config.socket.path))
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, json.loads(response.read())


def test_every_answer_keeps_to_its_description(client: Client, keeps_to: Check) -> None:
    """Read, one after the other."""
    fleet = client.get("virtual-servers")
    keeps_to("FleetAnswer", fleet)
    keeps_to("StatusAnswer", client.get(one("test")))
    keeps_to("DescriptionAnswer", client.get(one("test", "description")))
    keeps_to("LinesAnswer", client.get(one("test", "lines")))
    keeps_to("ExplanationAnswer", client.get(one("test", "explanation")))
    keeps_to("EventsAnswer", client.get("events"))

    (status,) = fleet["virtualServers"]
    assert ("test", "running", "waiting for a restart") == (
        status["name"],
        status["state"],
        status["phase"],
    )
    assert ["Ready", "RestartRequired"] == [each["type"] for each in status["conditions"]]
    assert ("8 GiB", "16 GiB") == (status["waiting"][0]["old"], status["waiting"][0]["new"])


def test_passwords_are_never_answered(client: Client) -> None:
    """Not even those that a manifest has."""
    description = client.get(one("test", "description"))

    assert "graphics" in json.dumps(description["spec"])
    assert "hunter2" not in json.dumps(description)


def test_a_hold_has_the_name_of_who_asked(client: Client, keeps_to: Check) -> None:
    """The kernel says who it is; nothing in the request does."""
    held = client.send("PUT", one("test", "hold"), {"reason": "new disk", "who": "somebody"})

    keeps_to("HoldAnswer", held)
    assert ("new disk", getpass.getuser()) == (held["reason"], held["who"])

    assert "test is released" == client.send("DELETE", one("test", "hold"))["message"]
    with pytest.raises(Failure, match="it is not held"):
        client.send("DELETE", one("test", "hold"))


def test_reconcile_and_approve(client: Client, office: Office) -> None:
    """Each reaches the desk."""
    assert "test is looked at now" == client.send("POST", one("test", "reconcile"))["message"]
    client.send("POST", "source/reconcile")

    assert ["poked"] == office.poked
    assert [] == client.send("POST", "prune/approve")["names"]


def test_a_migration_is_ended(client: Client, office: Office) -> None:
    """Who wanted it is told; where none runs that is said."""
    answer = client.send("DELETE", one("test", "migration"))

    assert "test: its migration is being ended" == answer["message"]
    (event,) = office.history.since(0, "test")[-1:]
    assert ("MigrationAborted", f"by {getpass.getuser()}") == (event.reason, event.message)
    with pytest.raises(Failure, match="no migration of test runs"):
        client.send("DELETE", one("test", "migration"))


def test_state_that_cannot_be_read_is_told(client: Client, office: Office, keeps_to: Check) -> None:
    """Of all, as it may concern all."""
    assert [] == client.get("virtual-servers")["state_problems"]
    office.book.describe(state_problems=("holds.json cannot be read",))

    fleet = client.get("virtual-servers")

    keeps_to("FleetAnswer", fleet)
    assert ["holds.json cannot be read"] == fleet["state_problems"]


def test_holds_that_cannot_be_read(client: Client, tmp_path: Path) -> None:
    """None is set over them, and the answer says which file it is."""
    (tmp_path / Document.HOLDS).write_text("{", encoding="utf-8")

    with pytest.raises(Failure, match=r"holds\.json cannot be read .*repair it"):
        client.send("PUT", one("test", "hold"), {"reason": "new disk"})


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "why"),
    [
        ("GET", "/v1/virtual-servers/none", b"", 404, "no manifest states it"),
        ("POST", "/v1/virtual-servers/none/reconcile", b"", 404, "no manifest states it"),
        ("GET", "/v1/nothing", b"", 404, "Not Found"),
        ("POST", "/v1/events", b"", 405, "Method Not Allowed"),
        ("GET", "/v1/events?since=x", b"", 400, "since: 'x' is not a whole number"),
        ("GET", "/v1/events?follow=1&since=x", b"", 400, "since: 'x' is not a whole number"),
        ("PUT", "/v1/virtual-servers/test/hold", b"", 400, "the body is not JSON"),
        ("PUT", "/v1/virtual-servers/test/hold", b"[" * 60000, 400, "the body is not JSON"),
        ("PUT", "/v1/virtual-servers/test/hold", b"[]", 400, "a text must say why"),
        ("PUT", "/v1/virtual-servers/test/hold", b'{"reason": " "}', 400, "a text must say why"),
        ("PUT", "/v1/virtual-servers/test/hold", b'{"reason": "a\\nb"}', 400, "in one line"),
        ("PUT", "/v1/virtual-servers/test/hold", b" " * 70000, 400, "more than 65536 bytes"),
    ],
)
@pytest.mark.usefixtures("server")
def test_what_is_refused_is_told(
    config: Config, keeps_to: Check, method: str, path: str, body: bytes, status: int, why: str
) -> None:
    """What was not done, why, and what to do."""
    found, answer = ask(config, method, path, body)

    assert status == found
    keeps_to("ErrorAnswer", answer)
    assert why in answer["why"]
    assert all(answer.values())


def test_the_description_is_served(client: Client) -> None:
    assert "3.1.0" == client.get("openapi.json")["openapi"]


def test_a_lost_libvirt_is_told(client: Client, office: Office) -> None:
    """And what the daemon knows by itself is answered all the same."""
    office.hypervisor.close()

    with pytest.raises(Failure, match=r"libvirt: .*\nSee whether libvirt runs"):
        client.get(one("test", "lines"))
    assert client.get(one("test"))["state"] == "running"


def test_watch_tells_each_change(client: Client, office: Office, keeps_to: Check) -> None:
    """First how it is, then what changes."""
    fleets = client.stream("watch")
    first = next(fleets)
    office.book.describe(prune_held="too many")
    second = next(fleets)

    keeps_to("FleetAnswer", first)
    assert ("", "too many") == (first["prune_held"], second["prune_held"])
    assert second["version"] > first["version"]


def test_a_watch_goes_on_although_the_daemon_counts_anew(client: Client) -> None:
    """What an earlier daemon has counted is no reason to wait."""
    assert next(client.stream("watch", since=10**9))["version"] > 0


def test_events_are_followed(client: Client, office: Office, keeps_to: Check) -> None:
    """From a number on, and only those of one virtual server if it is named."""
    office.history.tell("test", "Old", "it was")
    events = client.stream("events", follow=1, since=1, name="test")
    threading.Timer(0.3, lambda: office.history.tell("other", "New", "no")).start()
    threading.Timer(0.6, lambda: office.history.tell("test", "New", "yes")).start()

    event = next(events)

    keeps_to("EventAnswer", event)
    assert ("New", "yes", 3) == (event["reason"], event["message"], event["number"])


def test_an_event_that_happens_again_comes_again(client: Client, office: Office) -> None:
    """With its count, its first and its last time; and it is one event for who asks later."""
    office.history.tell("test", "StepFailed", "no such file")
    events = client.stream("events", follow=1, since=1)
    threading.Timer(0.3, lambda: office.history.tell("test", "StepFailed", "no such file")).start()

    event = next(events)

    assert (2, 2) == (event["number"], event["count"])
    assert event["first_time"] <= event["time"]
    assert [event] == client.get("events")["events"]


def test_the_end_of_the_server_ends_its_streams(office: Office, config: Config) -> None:
    """Soon, and readers are told."""
    with Server(office.desk, config):
        fleets = Client(config.socket.path).stream("watch")
        next(fleets)
        began = time.monotonic()

    with pytest.raises(Failure, match="has ended"):
        next(fleets)
    assert time.monotonic() - began < limit(5)
    assert not config.socket.path.exists()


def test_too_many_streams_are_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a thread."""
    monkeypatch.setattr("reconvirt.api.streams._MOST_STREAMS", 1)
    first = client.stream("watch")
    next(first)

    with pytest.raises(Failure, match="1 streams are open already"):
        next(client.stream("watch"))


def open_files() -> int:
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("where", ["socket", "page"])
def test_those_who_only_connect_do_no_harm(
    server: Server, config: Config, client: Client, where: str
) -> None:
    """The daemon keeps its files for itself; who waits too long is sent away."""
    before = open_files()
    idle = []
    for _ in range(2 * MOST_CONNECTIONS):
        family = socket.AF_UNIX if where == "socket" else socket.AF_INET
        each = socket.socket(family)
        address = ("127.0.0.1", config.page.port)
        each.connect(str(config.socket.path) if where == "socket" else address)
        idle.append(each)
    ours = len(idle)
    wait_until(
        lambda: open_files() - before - ours <= MOST_CONNECTIONS + 10,
        10,
        "the rest to be sent away",
    )

    def answered() -> bool:
        try:
            return bool(client.get("virtual-servers"))
        except Failure:
            return False  # there are too many yet

    wait_until(answered, 30, "others to be answered again")
    wait_until(
        lambda: open_files() - before - ours <= 10,
        30,
        "the silent ones to be sent away",
    )
    assert client.get("virtual-servers")
    assert server.page_url
    for each in idle:
        each.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"socket": {"read_group": "no-such-group"}},
        {"page": {"address": "192.0.2.1"}},
        {"page": {"port": 70000}},
    ],
)
def test_what_cannot_be_served_does_no_harm(
    office: Office, config: Config, settings: dict[str, Any]
) -> None:
    """The other of socket and page is there all the same."""
    from dataclasses import replace  # noqa: PLC0415 - only here

    changed = {name: replace(getattr(config, name), **each) for name, each in settings.items()}
    with Server(office.desk, replace(config, **changed)) as server:
        assert ("socket" in settings) == bool(server.page_url)
        assert ("socket" in settings) != config.socket.path.exists()
