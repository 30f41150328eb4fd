"""``reconvirt apply`` beside a daemon that has the same manifests: it is asked to reconcile."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from reconvirt.api.wire import moment
from reconvirt.cli.client import Client, NoDaemon, one
from reconvirt.cli.failure import Failure
from reconvirt.controller.outcome import Phase
from reconvirt.controller.process_lock import Holder

_READ_SECONDS = 15.0
"""How long the daemon may take to read its manifests."""
_PAUSE_SECONDS = 0.3
_UNDERWAY = (Phase.WAITING_FOR_GUEST, Phase.WAITING, Phase.DIFFERS)
_TAKEN = ("StepDone", "StepAsked")

Found = Mapping[str, Any]


class AnotherSource(Failure):
    """The daemon has other manifests, or cannot be asked."""


def reconcile_by_daemon(
    daemon: Holder, revision: str, names: Iterable[str], timeout: float
) -> list[Found]:
    """Have the daemon reconcile virtual servers, and what they came to.

    Args:
        daemon: the daemon.
        revision: of the manifests that are to be applied.
        names: the virtual servers.
        timeout: seconds that all may take.

    Returns:
        For each what ``apply -o json`` prints; for one that has not been reconciled in time, that.

    Raises:
        AnotherSource: it has other manifests, or nothing listens at its socket.
        Failure: it refuses.
    """
    client, names = Client(Path(daemon.socket)), list(names)
    try:
        client.send("POST", "source/reconcile")
        _wait_for(client, revision)
    except NoDaemon as absent:
        raise AnotherSource(f"it cannot be asked: {absent}") from absent
    number = max((each["number"] for each in client.get("events")["events"]), default=0)
    asked = moment(time.time())
    for name in names:
        client.send("POST", one(name, "reconcile"))
    deadline = time.monotonic() + timeout
    settled: dict[str, Found] = {}
    while True:
        servers = {each["name"]: each for each in client.get("virtual-servers")["virtualServers"]}
        settled = {name: servers[name] for name in names if _is_settled(servers.get(name), asked)}
        if len(settled) == len(names) or time.monotonic() >= deadline:
            break
        time.sleep(_PAUSE_SECONDS)
    events = client.get("events", since=number)["events"]
    return [_outcome(name, settled.get(name) or servers.get(name), events) for name in names]


def _wait_for(client: Client, revision: str) -> None:
    """Wait until the daemon has these manifests.

    Raises:
        AnotherSource: it has others.
    """
    deadline = time.monotonic() + _READ_SECONDS
    while client.get("virtual-servers")["revision"] != revision:
        if time.monotonic() >= deadline:
            raise AnotherSource("its manifests are others than these")
        time.sleep(_PAUSE_SECONDS)


def _is_settled(status: Found | None, asked: str) -> bool:
    """Whether it was reconciled since it was asked for, and nothing more happens now."""
    if status is None or status["updated"] is None or status["updated"] < asked:
        return False
    return Phase(status["phase"]) not in _UNDERWAY and status["step"] is None


def _outcome(name: str, status: Found | None, events: Iterable[Found]) -> Found:
    if status is None:
        message = "the daemon has not reconciled it in time"
        status = {"phase": Phase.FAILED, "message": message}
    return {
        "name": name,
        "phase": str(status["phase"]),
        "message": status["message"],
        "steps": list(_steps(each for each in events if each["virtual_server"] == name)),
        **{key: list(status.get(key, ())) for key in ("waiting", "refused", "unlisted")},
    }


def _steps(events: Iterable[Found]) -> Iterator[Found]:
    """The steps that were taken, each with its changes."""
    last: dict[str, Any] | None = None
    for each in events:
        if each["reason"] not in _TAKEN:
            continue
        if last is None or last["action"] != each["step"]:
            if last is not None:
                yield last
            last = {"action": each["step"], "changes": []}
        shown = {key: each[key] for key in ("field", "old", "new")}
        last["changes"].append({**shown, "effect": "live", "reason": each["message"]})
    if last is not None:
        yield last
