"""What becomes of virtual servers whose manifests are gone: nothing, unless it is meant."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbed import Daemon, Desired, LibvirtHost, Reconvirt, wait_until

Name = Callable[..., str]
COUNT = 20
OFF = 13
STATES = {"paused", "shut off"}


def states(host: LibvirtHost, names: list[str]) -> set[str]:
    """The states that they are in; "gone" for one that is not defined."""
    lines = (line.split(maxsplit=2) for line in host.virsh("list", "--all").splitlines())
    there = {name: state for _, name, state in lines}
    return {there.get(name, "gone") for name in names}


@pytest.fixture
def fleet(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> list[str]:
    """Twenty virtual servers whose manifests say to undefine them: some there, some shut off."""
    names = [unique_name("fleet") for _ in range(COUNT)]
    for number, name in enumerate(names):
        state = "shutoff" if number < OFF else "paused"
        desired.manifest(name, state=state, policy={"on_removal": "undefine"})
    reconvirt.apply()
    assert STATES == states(host, names)
    return names


@pytest.fixture
def daemon(reconvirt: Reconvirt, fleet: list[str]) -> Iterator[Daemon]:
    """The daemon, which has seen them all."""
    with reconvirt.run() as running:
        wait_until(
            lambda: len({each["virtual_server"] for each in running.logged("converged")}) >= COUNT,
            60,
            f"all of {fleet[0]} … to be seen",
        )
        yield running


def quiet(host: LibvirtHost, daemon: Daemon, names: list[str]) -> None:
    """Nothing is stopped or undefined, and no step was taken."""
    daemon.reload()
    daemon.wait_for("configuration reloaded")
    assert STATES == states(host, names)
    assert [] == daemon.logged("step done") + daemon.logged("step asked")


@pytest.fixture
def put_back(desired: Desired, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Puts the directory of manifests back as it was."""
    copy = tmp_path / "copy"

    def back() -> None:
        subprocess.run(["umount", "-q", desired.path], check=False)
        shutil.rmtree(desired.path, ignore_errors=True)
        shutil.copytree(copy, desired.path)

    shutil.copytree(desired.path, copy, dirs_exist_ok=True)
    yield back
    subprocess.run(["umount", "-q", desired.path], check=False)


def test_whatever_happens_to_the_directory_nothing_is_stopped(
    host: LibvirtHost, desired: Desired, fleet: list[str], daemon: Daemon, tmp_path: Path
) -> None:
    """Mounted over, emptied, gone, unreadable, a broken checkout: all stay, and it is said."""
    copy = tmp_path / "copy"
    shutil.copytree(desired.path, copy)

    def restore() -> None:
        shutil.rmtree(desired.path, ignore_errors=True)
        shutil.copytree(copy, desired.path)
        wait_until(lambda: daemon.logged("manifests read")[-1]["problems"] == 0, 30, "them back")

    # An empty file system over it, as when the real one is unmounted.
    subprocess.run(["mount", "-t", "tmpfs", "none", desired.path], check=True)
    try:
        held = daemon.wait_for("prune held")
        assert "there is no manifest at all" in held["message"]
        quiet(host, daemon, fleet)
    finally:
        subprocess.run(["umount", desired.path], check=True)
    daemon.wait_for("prune released")

    for path in desired.path.iterdir():
        path.unlink()
    wait_until(lambda: len(daemon.logged("prune held")) == 2, 30, "the emptied one to be held")
    quiet(host, daemon, fleet)
    restore()

    shutil.rmtree(desired.path)
    daemon.wait_for("manifest refused")
    quiet(host, daemon, fleet)
    restore()

    # A checkout that was broken in the middle: half of the files, one of them cut off.
    files = sorted(desired.path.iterdir())
    for path in files[: COUNT // 2]:
        path.unlink()
    os.truncate(files[-1], 100)
    wait_until(lambda: daemon.logged("manifests read")[-1]["problems"] > 0, 30, "the broken one")
    quiet(host, daemon, fleet)
    restore()
    quiet(host, daemon, fleet)


def test_half_of_them_deleted_is_held_until_approved(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, fleet: list[str], daemon: Daemon
) -> None:
    """Ten of twenty are too many to be meant; few are pruned; the approved are exactly those."""
    for name in fleet[:3]:
        desired.remove(name)
    wait_until(lambda: states(host, fleet[:3]) == {"gone"}, 60, "three to be pruned")
    assert STATES == states(host, fleet[3:])

    for name in fleet[3:OFF]:
        desired.remove(name)
    held = wait_until(lambda: daemon.logged("prune held"), 30, "the many to be held")
    assert f"{OFF - 3} manifests are gone after 3 within the last hour" in held[-1]["message"]
    assert {"shut off"} == states(host, fleet[3:OFF])

    assert fleet[3] in reconvirt("approve", "prune")

    wait_until(lambda: states(host, fleet[3:OFF]) == {"gone"}, 120, "the approved to be pruned")
    assert {"paused"} == states(host, fleet[OFF:])


def test_what_is_kept_or_somebody_else_s_stays(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """By default all stays; one that another source has made is none of ours."""
    kept, foreign, stopped = unique_name("keep"), unique_name("foreign"), unique_name("stop")
    desired.manifest(kept, state="paused")
    desired.manifest(stopped, state="shutoff", policy={"on_removal": "shutdown"})
    reconvirt.apply()
    reconvirt.configure(source_name="another")
    desired.manifest(foreign, state="paused", policy={"on_removal": "undefine"})
    reconvirt.apply(foreign)
    reconvirt.configure()
    for name in (kept, foreign, stopped):
        desired.remove(name)
    other = unique_name("other")
    desired.manifest(other, state="shutoff")

    with reconvirt.run() as daemon:
        daemon.wait_for("converged", virtual_server=other)
        quiet_names = [kept, foreign]
        daemon.reload()
        daemon.wait_for("configuration reloaded")

        assert {"paused"} == states(host, quiet_names)
        assert {"shut off"} == states(host, [stopped])
