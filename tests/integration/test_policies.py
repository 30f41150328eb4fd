"""Drift that is only told, holds, and starting in order."""

from __future__ import annotations

from collections.abc import Callable

from testbed import Desired, LibvirtHost, Reconvirt, disk, wait_until, x86_domain_xml

Name = Callable[..., str]


def test_drift_is_corrected_or_only_told(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """With 'report' nothing is put back until the manifest changes or the policy does."""
    name = unique_name()
    policy = {"drift": "report"}
    desired.manifest(name, on_reboot="restart", policy=policy)
    reconvirt.apply()
    host.virsh("set-lifecycle-action", name, "reboot", "destroy", "--live")
    host.virsh("suspend", name)

    told = reconvirt.apply(status=1)
    assert 0 == told["calls"]["writing"]
    assert "drifted" == told["virtualServers"][0]["phase"]
    assert "state" in told["virtualServers"][0]["message"]

    host.virsh("resume", name)
    told = reconvirt.apply(status=1)
    assert "on_reboot" in told["virtualServers"][0]["message"]
    assert "<on_reboot>destroy" in host.virsh("dumpxml", name)

    desired.manifest(name, on_reboot="restart", title="changed", policy=policy)
    reconvirt.apply()
    assert "<on_reboot>restart" in host.virsh("dumpxml", name)


def test_one_that_is_held_is_watched_and_left_alone(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """By its manifest's annotation; what would be done is shown, and done when it is released."""
    name = unique_name()
    desired.manifest(name, state="paused")
    reconvirt.apply()
    extra = disk(host.image(f"{name}-a"), "vda")
    held = {"annotations": {"reconvirt/hold": "maintenance of the storage"}}
    desired.manifest(name, metadata=held, state="paused", devices={"disks": [extra]})

    told = reconvirt.apply(status=1)

    assert 0 == told["calls"]["writing"]
    assert "held" == told["virtualServers"][0]["phase"]
    assert "maintenance of the storage" in told["virtualServers"][0]["message"]
    assert "vda" not in host.virsh("domblklist", name)

    desired.manifest(name, state="paused", devices={"disks": [extra]})
    reconvirt.apply()
    assert "vda" in host.virsh("domblklist", name)


def test_starts_wait_for_those_that_must_run_before(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """A dependency that is shut off is waited for, and its start wakes the one that waits."""
    database, web = unique_name("database"), unique_name("web")
    desired.manifest(database, state="shutoff")
    desired.manifest(web, dependsOn=[database])
    with reconvirt.run() as daemon:
        told = daemon.wait_for("waiting", virtual_server=web)
        assert f"it waits for {database} (" in told["message"]
        assert "shut off" == host.virsh("domstate", web).strip()

        desired.manifest(database)

        daemon.wait_for("converged", virtual_server=web)
        assert "running" == host.virsh("domstate", web).strip()


def test_one_that_has_no_manifest_may_be_waited_for(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """It is started by hand, and that wakes the one that waits; so is one that is not chosen."""
    database, web, cache = unique_name("database"), unique_name("web"), unique_name("cache")
    host.define(x86_domain_xml(database, "pc"))
    desired.manifest(web, state="paused", dependsOn=[database])
    with reconvirt.run() as daemon:
        told = daemon.wait_for("waiting", virtual_server=web)
        assert f"it waits for {database} (shut off)" in told["message"]

        host.virsh("start", database)

        daemon.wait_for("converged", virtual_server=web)
    desired.manifest(web)
    desired.manifest(cache, state="paused", dependsOn=[web])
    reconvirt.apply(web)

    assert "converged" == reconvirt.apply(cache)["virtualServers"][0]["phase"]


def test_the_more_important_are_started_first(
    desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """One at a time, those with the highest priority first, whatever their names."""
    reconvirt.configure(most_starts=1, workers=4)
    names = [unique_name(letter) for letter in "abcd"]
    for name in names:
        desired.manifest(name, state="shutoff")
    reconvirt.apply()
    for number, name in enumerate(names):
        desired.manifest(name, state="paused", priority=number * 10)

    with reconvirt.run() as daemon:
        starts = wait_until(
            lambda: len(found := daemon.logged("step done", step="start")) == len(names) and found,
            60,
            "all to be started",
        )

    order = [each["virtual_server"] for each in starts]
    # The first worker takes whichever comes first; of those that then wait, the order counts.
    rest = [names.index(name) for name in order[1:]]
    assert sorted(rest, reverse=True) == rest
