"""One process at a time changes the virtual servers of a libvirt; every other one says which."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed import Desired, LibvirtHost, Reconvirt, wait_until

Name = Callable[..., str]


@pytest.fixture
def another(host: LibvirtHost, desired: Desired, tmp_path: Path) -> Reconvirt:
    """The program with a state directory of its own, for the same libvirt."""
    directory = tmp_path / "another"
    directory.mkdir()
    return Reconvirt(host, desired.path, directory)


def test_a_second_daemon_ends_at_once(
    host: LibvirtHost,
    desired: Desired,
    reconvirt: Reconvirt,
    another: Reconvirt,
    unique_name: Name,
) -> None:
    """For the state directory before it does anything, for libvirt once it has reached it."""
    name = unique_name()
    desired.manifest(name, state="shutoff")
    with reconvirt.run() as daemon:
        daemon.wait_for("converged", 60, virtual_server=name)
        reconvirt("hold", name, "--reason", "maintenance")
        desired.manifest(name, state="shutoff", vcpu={"maximum": 4})
        first = f"is in use by the daemon (pid {daemon.process.pid}, since "

        told = reconvirt("run", status=1)
        assert f"state {first}" in told.replace(f"directory {reconvirt.state} ", "")
        assert "stop it first ('systemctl stop reconvirtd'" in told

        told = another("run", status=1)
        assert f"libvirt at {host.uri} {first}" in told
        assert "Traceback" not in told
        assert "2" == host.virsh("vcpucount", "--config", "--maximum", name).strip()
        assert name in reconvirt("get", name), "the first one still answers"

    with another.run() as other:
        other.wait_for("converged", 60, virtual_server=name)
        assert "4" == host.virsh("vcpucount", "--config", "--maximum", name).strip()


def test_a_second_daemon_that_was_started_while_libvirt_was_down(
    host: LibvirtHost,
    desired: Desired,
    reconvirt: Reconvirt,
    another: Reconvirt,
    unique_name: Name,
) -> None:
    """It waits for libvirt like the first, and ends before it writes anything."""
    name = unique_name()
    desired.manifest(name, state="shutoff")
    with reconvirt.run() as first:
        first.wait_for("connected to libvirt", 60)
        host.kill_libvirtd()
        first.wait_for("connection to libvirt lost", 60)
        second = another.run().start()
        try:
            second.wait_for("cannot connect to libvirt", 60)
            host.start_libvirtd()
            first.wait_for("connected to libvirt", 60)

            assert 1 == second.process.wait(60)
        finally:
            second.stop()
        assert f"is in use by the daemon (pid {first.process.pid}" in second.text
        assert "step done" not in second.text
        first.wait_for("converged", 60, virtual_server=name)


class TestApply:
    """``apply`` is a writer, too."""

    def test_it_is_refused_beside_a_daemon(
        self,
        host: LibvirtHost,
        desired: Desired,
        reconvirt: Reconvirt,
        another: Reconvirt,
        unique_name: Name,
    ) -> None:
        """Whatever its state directory; what to do instead is said."""
        name = unique_name()
        with reconvirt.run() as daemon:
            daemon.wait_for("connected to libvirt", 60)
            reconvirt("reconcile", "--source")
            alone = desired.path.parent / "alone"
            alone.mkdir()
            desired.manifest(name, state="shutoff").rename(alone / "one.yaml")

            for program in (reconvirt, another):
                told = program("apply", "--desired", alone, status=1)
                assert f"apply is refused: the daemon (pid {daemon.process.pid}, since" in told
                assert "'reconvirt reconcile NAME'" in told
            assert name not in host.names()

        assert "converged" in reconvirt("apply", "--desired", alone)

    def test_a_daemon_with_the_same_manifests_does_it(
        self,
        host: LibvirtHost,
        desired: Desired,
        reconvirt: Reconvirt,
        another: Reconvirt,
        unique_name: Name,
    ) -> None:
        """It is waited for, and what has come of it is printed as ever."""
        name, absent = unique_name(), unique_name("absent")
        with reconvirt.run() as daemon:
            daemon.wait_for("connected to libvirt", 60)
            desired.manifest(name, state="shutoff")

            (found,) = reconvirt.apply(name)["virtualServers"]
            assert ("converged", name) == (found["phase"], found["name"])
            assert name in host.names()

            desired.manifest(name, state="shutoff", title="changed")
            (found,) = reconvirt.apply()["virtualServers"]
            assert "converged" == found["phase"]
            assert "changed" == host.virsh("desc", name, "--config", "--title").strip()
            assert f"{name} " in reconvirt("apply")

            desired.manifest(name, dependsOn=[absent])
            told = another("apply", "--timeout", "3", status=1)
            assert "waiting" in told, "whichever state directory the command has"

    def test_two_of_them(
        self, host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
    ) -> None:
        """And a daemon beside one; the first goes on."""
        name = unique_name()
        desired.manifest(name, dependsOn=[unique_name("absent")])
        results: list[str] = []
        waiting = threading.Thread(
            target=lambda: results.append(reconvirt("apply", "--timeout", "30", status=1))
        )
        waiting.start()
        try:
            wait_until(lambda: name in host.names(), 60, "the first one to have begun")

            assert "is in use by 'reconvirt apply' (pid " in reconvirt("apply", status=1)
            assert "wait for its end" in reconvirt("run", status=1)
        finally:
            waiting.join(120)
        assert "waiting" in results[0]


class TestHolds:
    """Several commands at once, and commands without a daemon."""

    def test_six_at_once(self, desired: Desired, reconvirt: Reconvirt, unique_name: Name) -> None:
        """Each that was answered is stored."""
        names = [unique_name() for _ in range(6)]
        for name in names:
            desired.manifest(name, state="shutoff")
        with reconvirt.run() as daemon:
            for name in names:
                daemon.wait_for("converged", 90, virtual_server=name)
            processes = [
                subprocess.Popen(
                    reconvirt.command("hold", name, "--reason", "maintenance"),
                    env=reconvirt.environment,
                    stdout=subprocess.PIPE,
                )
                for name in names
            ]
            answers = [each.communicate(timeout=120)[0].decode() for each in processes]

            assert [True] * 6 == ["is held by root" in each for each in answers]
            held = [each["hold"] for each in reconvirt.json("get")["virtualServers"]]
            assert 6 == sum(each is not None for each in held)
        stored = json.loads((reconvirt.state / "holds.json").read_text())["entries"]
        assert set(names) == {each["name"] for each in stored.values()}

    def test_set_while_no_daemon_runs(
        self, host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
    ) -> None:
        """It is kept by uuid: the daemon finds it, also under another name."""
        name, renamed = unique_name(), unique_name("renamed")
        desired.manifest(name, state="shutoff")
        reconvirt.apply()
        uuid = host.virsh("domuuid", name).strip()
        assert f"{name} is held by root: new disk" in reconvirt(
            "hold", name, "--reason", "new disk"
        )
        assert [uuid] == list(json.loads((reconvirt.state / "holds.json").read_text())["entries"])
        host.virsh("domrename", name, renamed)
        (desired.path / f"{name}.yaml").unlink()
        desired.manifest(renamed, state="shutoff", metadata={"uuid": uuid}, vcpu={"maximum": 4})

        with reconvirt.run() as daemon:
            told = daemon.wait_for("held", 60, virtual_server=renamed)
            assert "left alone: new disk (root)" == told["message"]
            assert "2" == host.virsh("vcpucount", "--config", "--maximum", renamed).strip()
            daemon.stop()

            assert f"{renamed} is released" in reconvirt("release", renamed)
            daemon.start()
            daemon.wait_for("converged", 60, virtual_server=renamed)
            assert "4" == host.virsh("vcpucount", "--config", "--maximum", renamed).strip()

    def test_the_state_of_another_daemon(
        self, desired: Desired, reconvirt: Reconvirt, another: Reconvirt, unique_name: Name
    ) -> None:
        """It would not know of the hold: where its state is, is said."""
        name = unique_name()
        desired.manifest(name, state="shutoff")
        with reconvirt.run() as daemon:
            daemon.wait_for("converged", 60, virtual_server=name)

            told = another(
                *("hold", name, "--reason", "x", "--socket", "/nonexistent/socket"), status=1
            )

            assert f"its state is in {reconvirt.state}" in told
            assert f"(pid {daemon.process.pid}" in told
            status = reconvirt.json("get", name)["virtualServers"][0]
            assert status["hold"] is None
