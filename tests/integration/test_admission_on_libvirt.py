"""What a host admits, with a real libvirt: nothing that is refused ever reaches it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from testbed import Desired, LibvirtHost, Reconvirt, disk
from testbed.waiting import wait_until

SOON = 60.0
Name = Callable[..., str]


def admit(tmp_path: Path, text: str) -> None:
    """Have the program's host say something of its own."""
    (tmp_path / "conf.d" / "zz-test.toml").write_text(f"[admission]\n{text}\n", encoding="utf-8")


def test_what_is_refused_is_not_even_defined(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name, tmp_path: Path
) -> None:
    """The others are; and nothing of it is opened, made or written."""
    good, bad, link = unique_name(), unique_name(), unique_name()
    secret = tmp_path / "secret"
    secret.write_text("secret")
    images = host.images
    (images / "link.img").symlink_to(secret)
    admit(tmp_path, f'disk_roots = ["{images}"]')
    desired.manifest(good, state="shutoff")
    desired.manifest(
        bad, state="shutoff", devices={"disks": [disk(Path("/etc/shadow"), "vda", kind="raw")]}
    )
    desired.manifest(
        link, state="shutoff", devices={"disks": [disk(images / "link.img", "vda", kind="raw")]}
    )

    result = reconvirt.apply(status=1)

    phases = {each["name"]: each["phase"] for each in result["virtualServers"]}
    assert {good: "converged", bad: "refused", link: "refused"} == phases
    assert [good] == [name for name in host.names() if name in phases]
    messages = {each["name"]: each["message"] for each in result["virtualServers"]}
    assert "admission.disk_roots" in messages[bad]
    assert f"it leads to {secret}" in messages[link]
    (images / "link.img").unlink()


def test_rules_that_change_take_effect_on_reload(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name, tmp_path: Path
) -> None:
    """What runs is left as it is, and goes on once it is admitted."""
    name = unique_name()
    desired.manifest(name, vcpu={"maximum": 2, "current": 1})
    with reconvirt.run() as daemon:
        daemon.wait_for("converged", SOON, virtual_server=name)
        admit(tmp_path, "max_vcpus = 1")
        daemon.reload()
        daemon.wait_for("refused", SOON, virtual_server=name)
        desired.manifest(name, vcpu={"maximum": 2, "current": 2})
        daemon.wait_for("manifests read")
        assert "running" == host.virsh("domstate", name)
        assert "1" == host.virsh("vcpucount", name, "--live", "--current")

        admit(tmp_path, "max_vcpus = 2")
        daemon.reload()
        wait_until(
            lambda: host.virsh("vcpucount", name, "--live", "--current") == "2",
            SOON,
            "the second vCPU",
        )


def test_all_together_get_no_more_than_the_total(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name, tmp_path: Path
) -> None:
    """What runs is never stopped for another; who waits goes on as soon as it can."""
    admit(tmp_path, "max_total_vcpus = 3")
    first, second, third = sorted(unique_name() for _ in range(3))
    desired.manifest(second, vcpu=2)
    with reconvirt.run() as daemon:
        daemon.wait_for("converged", SOON, virtual_server=second)
        before = host.virsh("domid", second)

        # By its name it would be before the one that runs, but that has what it has.
        desired.manifest(first, vcpu=2)
        desired.manifest(third, vcpu=1)
        told = daemon.wait_for("refused", SOON, virtual_server=first)
        daemon.wait_for("converged", SOON, virtual_server=third)

        assert "admission.max_total_vcpus" in str(told)
        assert f"others have 3 ({second} 2, {third} 1), so 0 can be had" in plan_of(
            reconvirt, first
        ) or f"others have 2 ({second} 2), so 1 can be had" in plan_of(reconvirt, first)
        assert first not in host.names()
        desired.manifest(second, vcpu=4, memory="256 MiB")
        daemon.wait_for("refused", SOON, virtual_server=second)
        assert "until then it keeps the 2 that it has" in plan_of(reconvirt, second)
        assert (before, "running") == (
            host.virsh("domid", second),
            host.virsh("domstate", second),
        )

        desired.manifest(second, vcpu=2, state="shutoff", policy={"shutdown": {"mode": "signal"}})
        host.virsh("destroy", second)
        daemon.wait_for("converged", SOON, virtual_server=first)

    assert {"running"} == {host.virsh("domstate", each) for each in (first, third)}
    assert "shut off" == host.virsh("domstate", second)


def plan_of(reconvirt: Reconvirt, name: str) -> str:
    """Why a virtual server is refused."""
    (found,) = reconvirt.plan(name, status=1)["virtualServers"]
    return str(found["refused"][0]["reason"])


def test_the_total_holds_for_one_apply_and_is_told_beforehand(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name, tmp_path: Path
) -> None:
    """Several workers at a time start exactly what fits; 'validate' adds up the manifests."""
    names = sorted(unique_name() for _ in range(4))
    for name in names:
        desired.manifest(name, memory="192 MiB", vcpu=1)
    admit(tmp_path, 'max_total_memory = "400 MiB"')
    config = tmp_path / "reconvirt.toml"
    said = reconvirt("validate", "--config", str(config), str(desired.path), status=1)
    assert "4 manifests good, 2 problems" in said

    result = reconvirt.apply(status=1)

    phases = {each["name"]: each["phase"] for each in result["virtualServers"]}
    assert ["converged"] * 2 + ["refused"] * 2 == [phases[name] for name in names]
    assert names[:2] == sorted(name for name in host.names() if name in names)
    assert phases == {
        each["name"]: each["phase"] for each in reconvirt.apply(status=1)["virtualServers"]
    }


def test_dumps_go_where_the_host_lets_them(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name, tmp_path: Path
) -> None:
    """The directory may be a link, and counts as what it leads to."""
    name = unique_name()
    desired.manifest(name, state="shutoff", on_crash="preserve", policy={"crash": "dump"})
    real = tmp_path / "elsewhere"
    real.mkdir()
    reconvirt.dumps.rmdir()
    reconvirt.dumps.symlink_to(real)
    admit(tmp_path, f'dump_roots = ["{tmp_path}/roots"]')

    (refused,) = reconvirt.apply(status=1)["virtualServers"]
    admit(tmp_path, f'dump_roots = ["{real}"]')
    (admitted,) = reconvirt.apply()["virtualServers"]

    assert "refused" == refused["phase"]
    assert f"it leads to {real}/dump, which is in none of" in refused["message"]
    assert "converged" == admitted["phase"]
    assert name in host.names()
