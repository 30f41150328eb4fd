"""The guard on a real libvirt: what somebody else changes back, and what changes meanwhile."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator

from testbed import Desired, LibvirtHost, Reconvirt, Two, VirshError, wait_until

Name = Callable[..., str]


@contextlib.contextmanager
def changing_title(host: LibvirtHost, name: str) -> Iterator[None]:
    """A person, or another program, that sets the title back again and again."""
    ended = threading.Event()

    def change() -> None:
        while not ended.wait(0.1):
            with contextlib.suppress(VirshError):
                host.virsh("desc", name, "--config", "--title", "set by hand")

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_what_is_changed_back_again_and_again_is_stalled(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """After so many calls it is left as it is, and says so; a person has it tried again."""
    name = unique_name()
    reconvirt.configure(most_writes=5, glance_seconds=1, resync_seconds=1)
    desired.manifest(name, state="shutoff", title="from git")

    def status() -> dict[str, object]:
        found: dict[str, object] = reconvirt.json("get", name)["virtualServers"][0]
        return found

    with reconvirt.run("--log-level", "info") as daemon:
        daemon.wait_for("converged", virtual_server=name)
        with changing_title(host, name):
            wait_until(lambda: status()["phase"] == "stalled", 90, "the end of the writing calls")
            made = len(daemon.logged("step done", virtual_server=name))
            message = str(status()["message"])
            calls = [daemon.logged("step done", virtual_server=name) for _ in range(20)]
            assert made <= 5 + 3 + 2
            assert "writing calls within 10 min without a change of its manifest" in message
            assert f"reconvirt reconcile {name}" in message
            assert len(calls[-1]) == made

        reconvirt("reconcile", name)

        wait_until(lambda: status()["phase"] == "converged", 60, "another try")
        assert host.virsh("desc", name, "--title") == "from git"


def test_nothing_is_ended_for_a_restart_while_another_host_cannot_be_asked(
    two: Two, unique_name: Name
) -> None:
    """It could not be started again: it runs on, and is restarted when that host answers."""
    name = unique_name()
    here, there = two.hosts
    policy = {"restart": "automatic"}
    two.desired.manifest(name, host="zhost1", policy=policy)
    two.daemons[0].start()
    here.console(name).wait_for("GUEST-UP")
    number = here.virsh("domid", name)
    there.cut()

    two.desired.manifest(name, host="zhost1", policy=policy, vcpu={"maximum": 3, "current": 1})

    def message() -> str:
        found = two.programs[0].json("get", name)["virtualServers"][0]
        return str(found["message"])

    wait_until(lambda: "could not be started again" in message(), 90, "why it is not ended")
    assert "zhost2 may have it" in message()
    assert here.virsh("domid", name) == number

    there.mend()

    wait_until(lambda: here.virsh("domid", name) not in (number, "-"), 180, "its restart")
    assert here.virsh("vcpucount", name, "--maximum", "--live") == "3"


def test_nothing_is_ended_for_a_restart_while_a_file_is_missing(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """The kernel that it boots from is away: it runs on until that is back."""
    name = unique_name()
    kernel = host.images / f"{name}-kernel"
    shutil.copy(desired.os["kernel"], kernel)
    system = {**desired.os, "kernel": str(kernel)}
    policy = {"restart": "automatic"}
    reconvirt.configure(glance_seconds=1)
    desired.manifest(name, os=system, policy=policy)
    with reconvirt.run() as daemon:
        host.console(name).wait_for("GUEST-UP")
        number = host.virsh("domid", name)
        aside = kernel.with_name(f"{name}-away")
        kernel.rename(aside)

        desired.manifest(name, os=system, policy=policy, vcpu={"maximum": 3, "current": 1})

        def told() -> bool:
            message = reconvirt.json("get", name)["virtualServers"][0]["message"]
            return "could not be started again" in message and str(kernel) in message

        wait_until(told, 90, "why it is not ended")
        assert host.virsh("domid", name) == number
        aside.rename(kernel)
        wait_until(lambda: host.virsh("domid", name) not in (number, "-"), 120, "its restart")
        assert daemon.process.poll() is None
