"""The daemon on a real libvirt: what it sees, what it puts right, and what it survives."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed import Daemon, Desired, LibvirtHost, Reconvirt, VirshError, disk, wait_until

Name = Callable[..., str]

SOON = 10.0  # seconds; it takes a tenth of that on an idle machine


def shares(host: LibvirtHost, name: str) -> str:
    """The CPU weight that the kernel has for what runs."""
    try:
        found = re.search(r"cpu_shares\s*: (\d+)", host.virsh("schedinfo", "--live", name))
    except VirshError:
        return "unknown"  # while a new libvirtd makes itself acquainted with what runs
    assert found is not None
    return found.group(1)


def vcpus(host: LibvirtHost, name: str, where: str = "--live") -> str:
    """The number of vCPUs that are on."""
    return host.virsh("vcpucount", where, "--current", name).strip()


def targets(host: LibvirtHost, name: str) -> set[str]:
    """The disks of what runs."""
    return set(re.findall(r"^ (vd\w)", host.virsh("domblklist", name), re.MULTILINE))


def converged(daemon: Daemon, name: str, times: int = 1) -> None:
    """Wait until the daemon has said so often that a virtual server is as wanted."""
    wait_until(
        lambda: len(daemon.logged("converged", virtual_server=name)) >= times,
        SOON,
        f"{name} to be converged {times} times",
    )


def test_an_edited_manifest_changes_the_running_guest(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """The guest's own console tells of the second CPU, soon after the file was written."""
    name = unique_name()
    desired.manifest(name)
    with reconvirt.run() as daemon:
        console = host.console(name)
        console.wait_for(r"^GUEST cpus=0 ")
        converged(daemon, name)

        desired.manifest(name, vcpu={"maximum": 2, "current": 2})

        console.wait_for(r"^GUEST cpus=0-1 ", SOON)
        step = daemon.wait_for("step done", virtual_server=name, step="set-vcpus")
        assert ("vcpu.current", "1", "2") == (step["field"], step["old"], step["new"])
        assert re.fullmatch("[0-9a-f]{8}", step["reconcile"])
        assert "2" == vcpus(host, name, "--config")


@pytest.mark.usefixtures("cpu_controller")
def test_changes_by_hand_are_seen_by_event_and_put_right(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Long before the next resync; and what no manifest states is left alone."""
    name = unique_name()
    desired.manifest(
        name,
        vcpu={"maximum": 3, "current": 2},
        cputune={"shares": 2048},
        devices={"disks": [disk(host.image(f"{name}-a"), "vda")]},
    )
    with reconvirt.run() as daemon:
        converged(daemon, name)
        host.console(name).wait_for(r"^GUEST cpus=0-1 blk=vda")

        host.virsh("schedinfo", "--live", name, "--set", "cpu_shares=100")
        wait_until(lambda: shares(host, name) == "2048", SOON, "the CPU shares to be put right")

        host.virsh("detach-disk", name, "vda", "--live")
        daemon.wait_for("step done", virtual_server=name, step="attach")
        assert {"vda"} == targets(host, name)

        host.virsh("setvcpus", name, "3", "--live")
        waiting = daemon.wait_for("restart required", virtual_server=name)
        assert "vcpu.current" in waiting["message"]

        host.virsh("destroy", name)
        wait_until(
            lambda: host.virsh("domstate", name).strip() == "running", SOON, "it to run again"
        )
        assert "2" == vcpus(host, name)


def test_what_sends_no_event_is_found_at_the_resync(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name, tmp_path: Path
) -> None:
    """libvirt tells nobody that a configuration was changed by setvcpus or schedinfo."""
    name = unique_name()
    desired.manifest(name, state="shutoff", vcpu={"maximum": 3, "current": 2})
    settings = tmp_path / "reconvirt.toml"
    settings.write_text("resync_seconds = 2\n")
    with reconvirt.run("--config", str(settings)) as daemon:
        converged(daemon, name)

        host.virsh("setvcpus", name, "1", "--config")

        wait_until(lambda: vcpus(host, name, "--config") == "2", SOON, "the vCPUs to be put right")


def test_a_vanished_definition_is_made_again(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """With the same uuid, since that is derived from the name."""
    name = unique_name()
    desired.manifest(name, state="shutoff")
    with reconvirt.run() as daemon:
        converged(daemon, name)
        uuid = host.virsh("domuuid", name)

        host.virsh("undefine", name)

        wait_until(lambda: name in host.names(), SOON, "it to be defined again")
        assert uuid == host.virsh("domuuid", name)


@pytest.mark.usefixtures("cpu_controller")
def test_a_crash_of_libvirtd_is_survived(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """What changed meanwhile is seen on the new connection, and its events arrive again."""
    name = unique_name()
    desired.manifest(name)
    with reconvirt.run() as daemon:
        converged(daemon, name)

        host.kill_libvirtd()
        daemon.wait_for("connection to libvirt lost")
        desired.manifest(name, cputune={"shares": 300})
        daemon.wait_for("cannot connect to libvirt")
        host.start_libvirtd()

        wait_until(lambda: shares(host, name) == "300", 60.0, "the CPU shares to be set")
        assert 2 == len(daemon.logged("connected to libvirt"))
        host.virsh("schedinfo", "--live", name, "--set", "cpu_shares=100")
        wait_until(lambda: shares(host, name) == "300", SOON, "the CPU shares to be put right")


def test_libvirtd_may_come_later(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """A daemon without libvirt waits for it, and ends when it is told to."""
    name = unique_name()
    desired.manifest(name, state="shutoff")
    host.kill_libvirtd()
    with reconvirt.run() as daemon:
        daemon.wait_for("cannot connect to libvirt")
    with reconvirt.run() as daemon:
        host.start_libvirtd()
        wait_until(lambda: name in host.names(), 60.0, "it to be defined")


@pytest.mark.parametrize("moment", [0.02, 0.2, 0.5, 1.0, 1.5])
@pytest.mark.usefixtures("cpu_controller")
def test_killed_at_any_moment_the_next_start_converges(
    host: LibvirtHost,
    desired: Desired,
    reconvirt: Reconvirt,
    unique_name: Name,
    moment: float,
) -> None:
    """Whether before, between or after its steps; and then there is nothing left to do."""
    names = [unique_name() for _ in range(3)]
    images = {name: [host.image(f"{name}-{each}") for each in "ab"] for name in names}
    for name in names:
        desired.manifest(name, devices={"disks": [disk(images[name][0], "vda")]})
    reconvirt.apply()
    for name in names:
        both = [disk(image, f"vd{each}") for image, each in zip(images[name], "ab", strict=True)]
        desired.manifest(
            name,
            vcpu={"maximum": 2, "current": 2},
            cputune={"shares": 99},
            iothreads=2,
            devices={"disks": both},
        )
    daemon = reconvirt.run().start()

    time.sleep(moment)
    daemon.kill()
    with reconvirt.run():
        for name in names:
            wait_until(lambda name=name: targets(host, name) == {"vda", "vdb"}, 60.0, "the disks")
            wait_until(lambda name=name: shares(host, name) == "99", 60.0, "the shares")
            wait_until(lambda name=name: vcpus(host, name) == "2", 60.0, "the vCPUs")

    assert 0 == reconvirt.apply()["calls"]["writing"]


def test_a_step_that_was_taken_before_a_kill_is_taken_back_later(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """The mark, which is written first, tells that the disk is ours to detach."""
    name = unique_name()
    images = [host.image(f"{name}-{each}") for each in "ab"]
    desired.manifest(name, devices={"disks": [disk(images[0], "vda")]})
    reconvirt.apply()
    host.console(name).wait_for("^GUEST cpus=0 blk=vda")
    both = [disk(image, f"vd{each}") for image, each in zip(images, "ab", strict=True)]
    desired.manifest(name, devices={"disks": both})
    daemon = reconvirt.run().start()
    daemon.wait_for("step done", virtual_server=name, step="attach")
    daemon.kill()

    desired.manifest(name, devices={"disks": both[:1]})
    with reconvirt.run():
        wait_until(lambda: targets(host, name) == {"vda"}, SOON, "the disk to be detached")

    assert 0 == reconvirt.apply()["calls"]["writing"]


def test_a_bad_edit_leaves_the_last_good_version_in_force(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """The error names the place, drift is still put right, and the next good edit counts."""
    name, other = unique_name(), unique_name()
    path = desired.manifest(name, state="shutoff", cputune={"shares": 500})
    desired.manifest(other, state="shutoff")
    with reconvirt.run() as daemon:
        converged(daemon, name)
        converged(daemon, other)

        path.write_text(path.read_text().replace("cputune:", "cputnue:"))
        refused = daemon.wait_for("manifest refused")
        desired.manifest(other, state="shutoff", cputune={"shares": 600})
        host.virsh("schedinfo", "--config", name, "--set", "cpu_shares=100")
        host.virsh("schedinfo", "--config", other, "--set", "cpu_shares=100")

        def configured(of: str) -> str:
            return host.virsh("schedinfo", "--config", of)

        wait_until(lambda: ": 600" in configured(other), SOON, "the other to be put right")
        reconvirt_sees = daemon.logged("manifests read")[-1]
        assert [name] == reconvirt_sees["held_at_last_good"]
        assert re.match(rf"{path}:\d+:\d+: spec\.cputnue: ", refused["message"])
        assert "did you mean cputune?" in refused["message"]

        # A configuration that is changed by hand sends no event: SIGHUP has all looked at.
        daemon.reload()
        wait_until(lambda: ": 500" in configured(name), SOON, "the last good version to hold")

        desired.manifest(name, state="shutoff", cputune={"shares": 700})
        wait_until(lambda: ": 700" in configured(name), SOON, "the good edit to be applied")


@pytest.mark.usefixtures("cpu_controller")
def test_a_removed_manifest_ends_the_management_only(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """It is said, and what is then done by hand stays."""
    name = unique_name()
    desired.manifest(name, cputune={"shares": 500})
    with reconvirt.run() as daemon:
        converged(daemon, name)

        desired.remove(name)
        daemon.wait_for("manifest gone", virtual_server=name)
        host.virsh("schedinfo", "--live", name, "--set", "cpu_shares=100")
        time.sleep(1.0)

        assert "100" == shares(host, name)
        assert "running" == host.virsh("domstate", name).strip()

        desired.manifest(name, cputune={"shares": 500})
        wait_until(lambda: shares(host, name) == "500", SOON, "it to be managed again")


@pytest.mark.usefixtures("cpu_controller")
def test_the_directory_vanishing_changes_nothing(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name, tmp_path: Path
) -> None:
    """As when a file system is not mounted, or git replaces a work tree."""
    name = unique_name()
    desired.manifest(name, cputune={"shares": 500})
    with reconvirt.run() as daemon:
        converged(daemon, name)

        desired.path.rename(tmp_path / "elsewhere")
        daemon.wait_for("manifest refused")
        host.virsh("schedinfo", "--live", name, "--set", "cpu_shares=100")
        wait_until(lambda: shares(host, name) == "500", SOON, "the shares to be put right")

        (tmp_path / "elsewhere").rename(desired.path)
        desired.manifest(name, cputune={"shares": 600})
        wait_until(lambda: shares(host, name) == "600", SOON, "the edit to be seen")


def test_an_order_that_libvirt_rejects_waits_for_another_manifest(
    desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """It is told once, not again and again; the next manifest is tried at once."""
    name = unique_name()
    bad = {"arch": "s390x", "machine": "no-such-machine"}
    desired.manifest(name, state="shutoff", os=bad)
    with reconvirt.run() as daemon:
        failed = daemon.wait_for("failed", virtual_server=name)
        assert "no-such-machine" in failed["message"]
        time.sleep(3.0)
        assert 1 == len(daemon.logged("step failed", virtual_server=name))

        desired.manifest(name, state="shutoff")
        converged(daemon, name)


def test_a_failure_is_tried_again(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """A start that fails because an image is missing succeeds when the image is there."""
    name = unique_name()
    image = host.images / f"{name}-a"
    desired.manifest(name, devices={"disks": [disk(image, "vda")]})
    with reconvirt.run() as daemon:
        failed = daemon.wait_for("failed", virtual_server=name)
        assert str(image) in failed["message"]

        host.image(image.name)

        wait_until(
            lambda: host.virsh("domstate", name).strip() == "running", 30.0, "it to be started"
        )
