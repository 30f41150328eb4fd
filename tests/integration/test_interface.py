"""The commands against a daemon on a real libvirt, and who may use its socket."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testbed import Daemon, Desired, LibvirtHost, Reconvirt, wait_until
from testbed.waiting import limit

Name = Callable[..., str]

SOON = 60.0  # seconds; it takes a hundredth of that on an idle machine
ASK = """
import http.client, json, socket, sys
path, method, target, body = sys.argv[1:]
connection = http.client.HTTPConnection("reconvirt")
connection.sock = socket.socket(socket.AF_UNIX)
try:
    connection.sock.connect(path)
except PermissionError:
    sys.exit(77)
connection.request(method, target, body or None)
response = connection.getresponse()
print(response.status, response.read().decode())
"""
PYTHON = Path(sys.base_prefix) / "bin" / "python3"


def ask_as(
    reconvirt: Reconvirt, groups: str, method: str, target: str, body: str = ""
) -> tuple[int, Any]:
    """The status and the answer that a process of nobody, in these groups, gets; 0 if it may not
    even connect."""
    nobody = pwd.getpwnam("nobody")
    group = f"--groups={groups}" if groups else "--clear-groups"
    become = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", group]
    ask = [str(PYTHON), "-c", ASK, str(reconvirt.socket), method, target, body]
    done = subprocess.run(
        [*become, *ask], capture_output=True, text=True, check=False, timeout=limit(60)
    )
    if done.returncode == 77:
        return 0, None
    assert 0 == done.returncode, done.stderr
    status, _, answer = done.stdout.partition(" ")
    return int(status), json.loads(answer)


def converged(daemon: Daemon, name: str) -> None:
    """Wait until the daemon has said that a virtual server is as wanted."""
    daemon.wait_for("converged", SOON, virtual_server=name)


def test_every_command_tells_what_is(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Of a guest that runs, and for which something waits for its next start."""
    name = unique_name()
    desired.manifest(name)
    with reconvirt.run() as daemon:
        converged(daemon, name)
        desired.manifest(name, memory="256 MiB", vcpu={"maximum": 2, "current": 2})
        daemon.wait_for("restart required", SOON, virtual_server=name)

        (status,) = reconvirt.json("get", name)["virtualServers"]
        assert ("running", "waiting for a restart") == (status["state"], status["phase"])
        assert ("192 MiB", 2, 2) == (status["memory"], status["vcpus"], status["vcpus_maximum"])
        (waiting,) = status["waiting"]
        assert ("memory.size", "192 MiB", "256 MiB") == tuple(
            waiting[key] for key in ("field", "old", "new")
        )
        assert ["Ready", "RestartRequired"] == [each["type"] for each in status["conditions"]]
        assert status["observed_revision"] == status["applied_revision"] != ""
        assert re.search(
            rf"^{name} +running +waiting for a restart +2/2 +192 MiB +RestartRequired ",
            reconvirt("get"),
            re.MULTILINE,
        )
        uuid = host.virsh("domuuid", name).strip()
        assert uuid in reconvirt("get", "-o", "wide")
        assert f"name: {name}" in reconvirt("get", name, "-o", "yaml")

        text = reconvirt("describe", name)
        for words in (
            r"^State +running \(booted\)",
            r"^RestartRequired +True +ChangesWait +[\d:]+ +memory.size: 192 MiB → 256 MiB",
            r"^≠ +memory.size +256 MiB +256 MiB +192 MiB",
            r"^ +devices.memballoon.model +none +none +none",
            r"^memory: 256 MiB",
            r"^[\d:]+ +StepDone +.*vcpu.current 1 → 2",
        ):
            assert re.search(words, text, re.MULTILINE), words
        described = reconvirt.json("describe", name)
        assert described["status"]["uuid"] == uuid
        assert described["spec"]["memory"] == "256 MiB"

        assert re.search(
            r"≠ +memory.size +256 MiB +256 MiB +192 MiB", reconvirt("diff", name, status=2)
        )
        assert "vcpu.current" not in reconvirt("diff", name, status=2)
        assert "vcpu.current" in reconvirt("diff", name, "--all", status=2)

        why = reconvirt("why", name)
        assert "These changes wait for a restart: memory.size: 192 MiB → 256 MiB." in why
        assert "policy: {restart: automatic}" in why

        events = reconvirt.json("events", name)["events"]
        assert {name} == {each["virtual_server"] for each in events}
        assert "RestartRequired" == events[-1]["reason"]
        assert 1 == len(reconvirt("events", "--last", "1").splitlines()) - 1


def test_without_a_daemon_libvirt_says_the_same(
    desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """As far as it can know."""
    name = unique_name()
    desired.manifest(name, state="shutoff")
    with reconvirt.run() as daemon:
        converged(daemon, name)
        told = reconvirt.json("get", name)["virtualServers"][0]
        lines = reconvirt.json("diff", name, "--all")

    (looked,) = reconvirt.json("get", name)["virtualServers"]

    apart = {"conditions", "updated", "next_look", "applied_revision", "observed_revision"}
    assert {k: v for k, v in told.items() if k not in apart} == {
        k: v for k, v in looked.items() if k not in apart
    }
    assert lines == reconvirt.json("diff", name, "--all")
    assert "state: shutoff" in reconvirt("describe", name)
    assert "no daemon listens" in reconvirt("events", status=1)


def test_changes_are_seen_as_they_happen(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """By 'get --watch' and 'events --follow', until the daemon ends."""
    name = unique_name()
    desired.manifest(name, state="any")
    with reconvirt.run() as daemon:
        converged(daemon, name)
        with (
            reconvirt.follow("get", name, "--watch") as table,
            reconvirt.follow("events", name, "--follow", "--last", "1") as events,
            reconvirt.follow("events", "--follow", "--last", "1", "-o", "json") as documents,
        ):
            table.wait_for(rf"^{name} +shut off +converged +1/2 ")
            # From now on they follow: they know the last event before the change.
            events.wait_for("Converged")
            documents.wait_for("Converged")

            desired.manifest(name, state="any", vcpu={"maximum": 4, "current": 3})

            table.wait_for(rf"^{name} +shut off +converged +3/4 ")
            events.wait_for(rf"^[\d:]+ +{name} +StepDone +.*vcpu.maximum 2 → 4")
            documents.wait_for(r'"field": "vcpu.maximum", "old": "2", "new": "4"')

            host.virsh("start", "--paused", name)
            table.wait_for(rf"^{name} +paused .* Paused ")

            daemon.stop()
            assert 1 == table.process.wait(limit(SOON))
            assert 1 == events.process.wait(limit(SOON))


def test_a_hold_outlives_the_daemon(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Even a killed one; what differs is shown, and put right only after the release."""
    name = unique_name()
    desired.manifest(name, state="shutoff")
    with reconvirt.run() as daemon:
        converged(daemon, name)
        assert f"{name} is held by root: new disk" in reconvirt(
            "hold", name, "--reason", "new disk"
        )
        told = daemon.wait_for("held", SOON, virtual_server=name)
        assert "left alone: new disk (root)" == told["message"]
        daemon.kill()

        daemon.start()
        desired.manifest(name, state="shutoff", vcpu={"maximum": 4, "current": 3})
        wait_until(lambda: reconvirt.json("get", name)["virtualServers"], SOON, "the first look")
        reconvirt("reconcile", "--source")
        shown = wait_until(lambda: _due(reconvirt, name), SOON, "the change to be shown")
        assert {"vcpu.current", "vcpu.maximum"} <= shown
        reconvirt("reconcile", name)
        time.sleep(1)  # time enough to do what it must not
        assert "2" == host.virsh("vcpucount", "--config", "--maximum", name).strip()
        (status,) = reconvirt.json("get", name)["virtualServers"]
        assert ("held", "new disk", "root") == (
            status["phase"],
            status["hold"]["reason"],
            status["hold"]["who"],
        )
        assert "It is left alone: new disk (root)." in reconvirt("why", name)

        assert f"{name} is released" in reconvirt("release", name)
        daemon.wait_for("converged", SOON, virtual_server=name)
        assert "4" == host.virsh("vcpucount", "--config", "--maximum", name).strip()
        assert "it is not held" in reconvirt("release", name, status=1)
        daemon.stop()

        daemon.start()
        converged(daemon, name)
        assert reconvirt.json("get", name)["virtualServers"][0]["hold"] is None


def _due(reconvirt: Reconvirt, name: str) -> set[str]:
    servers = reconvirt.json("get", name)["virtualServers"]
    return {each["field"] for status in servers for each in status["due"]}


def test_a_held_pruning_is_approved(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name, tmp_path: Path
) -> None:
    """Those go whose manifests are gone, and no others."""
    names = [unique_name() for _ in range(4)]
    team = desired.path / "team"
    team.mkdir()
    for name in names:
        file = desired.manifest(name, state="shutoff", policy={"on_removal": "undefine"})
        if name != names[3]:
            file.rename(team / file.name)
    with reconvirt.run() as daemon:
        for name in names:
            converged(daemon, name)
        team.rename(tmp_path / "gone")  # all at once: a single one would be let go
        reconvirt("reconcile", "--source")
        wait_until(
            lambda: reconvirt.json("get")["prune_held"], SOON, "the pruning to be held and shown"
        )
        assert set(names) <= set(host.names())

        assert "approved: " + ", ".join(sorted(names[:3])) in reconvirt("approve", "prune")

        wait_until(lambda: names[3:] == host.names(), SOON, "those to go")
        wait_until(lambda: not reconvirt.json("get")["prune_held"], SOON, "nothing to be held")
        assert "nothing is held" in reconvirt("approve", "prune")


def test_who_may_use_the_socket(desired: Desired, reconvirt: Reconvirt, unique_name: Name) -> None:
    """Others cannot connect; one group reads, another one acts; the kernel says who it is."""
    name = unique_name()
    desired.manifest(name, state="shutoff")
    fleet, hold = "/v1/virtual-servers", f"/v1/virtual-servers/{name}/hold"
    with reconvirt.run() as daemon:
        converged(daemon, name)
        assert 0o660 == stat.S_IMODE(reconvirt.socket.stat().st_mode)
        assert (0, None) == ask_as(reconvirt, "users,games", "GET", fleet)

    reconvirt.configure(socket__read_group="users", socket__write_group="games")
    with reconvirt.run() as daemon:
        converged(daemon, name)
        assert (0, None) == ask_as(reconvirt, "", "GET", fleet)
        assert (0, None) == ask_as(reconvirt, "games", "GET", fleet)

        status, answer = ask_as(reconvirt, "users", "GET", fleet)
        assert (200, name) == (status, answer["virtualServers"][0]["name"])
        for method, target in (
            ("PUT", hold),
            ("DELETE", hold),
            ("POST", f"{fleet}/{name}/reconcile"),
            ("POST", "/v1/source/reconcile"),
            ("POST", "/v1/prune/approve"),
        ):
            status, answer = ask_as(reconvirt, "users", method, target, '{"reason": "mine"}')
            assert (403, "nobody may not do that") == (status, answer["why"])
            assert "socket.write_group" in answer["do"]

        status, answer = ask_as(reconvirt, "users,games", "PUT", hold, '{"reason": "mine"}')
        assert (200, "nobody", "mine") == (status, answer["who"], answer["reason"])
        assert daemon.logged("asked for", user="nobody")


def test_one_daemon_listens(
    desired: Desired, reconvirt: Reconvirt, unique_name: Name, tmp_path: Path, host: LibvirtHost
) -> None:
    """A second one says so and leaves the socket alone; a killed one's socket is replaced."""
    name = unique_name()
    desired.manifest(name, state="shutoff")
    aside = tmp_path / "aside"
    aside.mkdir()
    with reconvirt.run() as daemon:
        converged(daemon, name)
        text = Reconvirt(host, desired.path, aside)("run", status=1)
        assert f"is in use by the daemon (pid {daemon.process.pid}" in text
        assert name in reconvirt("get")

        daemon.kill()
        assert reconvirt.socket.is_socket()
        assert "no daemon listens" in reconvirt("events", status=1)
        daemon.start()
        assert "Held" not in reconvirt("events")
    assert not reconvirt.socket.exists()


def test_the_page_that_cannot_be_served_stops_nothing(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Its port is taken."""
    name = unique_name()
    desired.manifest(name, state="shutoff")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(reconvirt.page_url.rstrip("/").rpartition(":")[2])))
        taken.listen()
        with reconvirt.run() as daemon:
            assert "Address already in use" in daemon.logged("page not served")[0]["error"]
            converged(daemon, name)
            assert name in host.names()


def test_a_reader_who_does_not_read_holds_up_nobody(
    desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Nor the end of the daemon."""
    name = unique_name()
    desired.manifest(name, state="shutoff")
    with reconvirt.run() as daemon, reconvirt.follow("get", "--watch", "-o", "json") as stopped:
        stopped.wait_for('"virtualServers"')
        os.kill(stopped.process.pid, signal.SIGSTOP)
        converged(daemon, name)
        for count in (2, 1, 2):
            desired.manifest(name, state="shutoff", vcpu={"maximum": 2, "current": count})
            time.sleep(0.5)
        assert name in reconvirt("get")

        began = time.monotonic()
        assert 0 == daemon.stop()
        assert time.monotonic() - began < limit(15)
