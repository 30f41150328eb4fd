"""The guard on a real libvirt: what somebody else changes back, and what changes meanwhile."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from testbed import Desired, LibvirtHost, Reconvirt, VirshError, wait_until

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
