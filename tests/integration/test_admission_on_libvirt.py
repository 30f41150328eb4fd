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
