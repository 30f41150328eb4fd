"""Disks that something else has moved, images that are gone, and storage that is in use."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from testbed import (
    Desired,
    Guest,
    LibvirtHost,
    Reconvirt,
    block_disk,
    disk,
    domain_xml,
    verbs,
    wait_until,
)
from testbed.observer import Law, Observer

Name = Callable[..., str]
LONG = 120.0
FIELD = "devices.disks[vda].source"


def source(host: LibvirtHost, name: str, *which: str) -> str:
    """Where the first disk is: running, or with --inactive at its next start."""
    found = re.search(r"<source (?:file|dev)='([^']*)'", host.virsh("dumpxml", *which, name))
    assert found is not None
    return found[1]


def both(host: LibvirtHost, name: str) -> set[str]:
    return {source(host, name), source(host, name, "--inactive")}


def guest_io(host: LibvirtHost, name: str, command: str) -> str:
    """Have QEMU read or write the first disk as the guest would."""
    where = "/machine/peripheral/virtio-disk0/virtio-backend"
    return host.virsh(
        "qemu-monitor-command", name, "--hmp", f'qemu-io -d {where} "{command}"', timeout=LONG
    )


def write(host: LibvirtHost, name: str) -> None:
    guest_io(host, name, "write -P 0xab 1M 64k")
    guest_io(host, name, "flush")


def reads_it_back(host: LibvirtHost, name: str) -> bool:
    return "verification failed" not in guest_io(host, name, "read -P 0xab 1M 64k")


def state(host: LibvirtHost, name: str) -> str:
    return host.virsh("domstate", name)


def status_of(reconvirt: Reconvirt, name: str) -> dict[str, Any]:
    [found] = [each for each in reconvirt.json("get")["virtualServers"] if each["name"] == name]
    return found


def conditions(status: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: each["message"] for each in status["conditions"] if each["status"]}


def wait_for_condition(reconvirt: Reconvirt, name: str, kind: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = status_of(reconvirt, name)
        return found if kind in conditions(found) else None

    found = wait_until(look, LONG, f"the condition {kind}")
    assert found is not None
    return found


def block_copy(host: LibvirtHost, name: str, old: Path) -> Path:
    new = old.with_name(f"{old.stem}-new.qcow2")
    options = ("--transient-job", "--wait", "--pivot", "--format", "qcow2")
    host.virsh("blockcopy", name, "vda", new, *options, timeout=LONG)
    return new


def snapshot(host: LibvirtHost, name: str, old: Path) -> Path:
    host.virsh("snapshot-create-as", name, "s1", "--disk-only", "--atomic", timeout=LONG)
    return old.with_name(f"{old.stem}.s1")


@pytest.mark.parametrize(
    ("move", "condition"),
    [(block_copy, "Diverged"), (snapshot, "Overlay")],
    ids=["block-copy", "snapshot"],
)
def test_what_was_moved_while_it_runs_stays_and_other_changes_go_on(
    host: LibvirtHost,
    desired: Desired,
    reconvirt: Reconvirt,
    unique_name: Name,
    move: Callable[[LibvirtHost, str, Path], Path],
    condition: str,
) -> None:
    """A restart policy changes nothing: the guest boots from where it wrote to."""
    name = unique_name("moved")
    image = host.image(f"{name}.qcow2")
    spec = {"devices": {"disks": [disk(image, "vda")]}, "policy": {"restart": "automatic"}}
    reconvirt.configure(resync_seconds=3)
    desired.manifest(name, **spec)
    with reconvirt.run() as daemon:
        host.console(name).wait_for("GUEST-UP")
        new = move(host, name, image)
        write(host, name)
        told = wait_for_condition(reconvirt, name, condition)
        assert str(new) in conditions(told)[condition]
        assert str(image) in conditions(told)[condition]

        # Another change of the same virtual server, live and in the configuration.
        desired.manifest(name, **spec, vcpu={"maximum": 2, "current": 2}, title="changed")
        wait_until(lambda: "changed" in host.virsh("dumpxml", "--inactive", name), LONG, "a change")
        host.console(name).wait_for("cpus=0-1")
        time.sleep(7)  # two resyncs
        assert {str(new)} == both(host, name)
        assert [] == daemon.logged("StepAsked", step="shutdown")

        # Shut down by hand: the daemon starts it again, with what the guest has written.
        before = host.virsh("domid", name)
        host.virsh("shutdown", name)
        wait_until(
            lambda: state(host, name) == "running" and host.virsh("domid", name) != before,
            LONG,
            "its next start",
        )
        assert {str(new)} == both(host, name)
        assert reads_it_back(host, name)
        why = reconvirt("why", name)
        assert str(new) in why.replace("\n", "")
    plan = reconvirt.plan(name, status=2 if condition == "Diverged" else 0)
    key = {"Diverged": "diverged", "Overlay": "overlays"}[condition]
    [planned] = plan["virtualServers"]
    assert [(FIELD, str(new), str(image))] == [
        (each["field"], each["old"], each["new"]) for each in planned[key]
    ]
    assert [] == planned["steps"] == planned["waiting"]
    assert str(new) in reconvirt("plan", name, status=2 if condition == "Diverged" else 0)


def test_a_copy_is_accepted_by_the_manifest(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Then it is in sync, and the manifest may move the disk again."""
    name = unique_name("copied")
    image = host.image(f"{name}.qcow2")
    desired.manifest(name, devices={"disks": [disk(image, "vda")]})
    reconvirt.apply()
    host.console(name).wait_for("GUEST-UP")
    new = block_copy(host, name, image)

    moved = reconvirt.apply(status=1)
    desired.manifest(name, devices={"disks": [disk(new, "vda")]})
    accepted = reconvirt.apply()

    assert "diverged" == moved["virtualServers"][0]["phase"]
    assert {"record"} == set(verbs(accepted))
    assert {str(new)} == both(host, name)
    desired.manifest(name, devices={"disks": [disk(image, "vda")]})
    reconvirt.apply(status=3)
    assert (str(new), str(image)) == (source(host, name), source(host, name, "--inactive"))


def test_a_snapshot_is_committed_back(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """While the commit goes on the manifest moves nothing; afterwards all is as before."""
    name = unique_name("commit")
    image = host.image(f"{name}.qcow2")
    other = host.image(f"{name}-other.qcow2")
    desired.manifest(name, devices={"disks": [disk(image, "vda")]})
    reconvirt.apply()
    host.console(name).wait_for("GUEST-UP")
    overlay = snapshot(host, name, image)
    write(host, name)
    host.virsh("blockcommit", name, "vda", "--active", "--wait", timeout=LONG)
    desired.manifest(name, devices={"disks": [disk(other, "vda")]})
    during = reconvirt.plan(name, status=2)["virtualServers"][0]
    host.virsh("blockjob", name, "vda", "--pivot")
    wait_until(lambda: both(host, name) == {str(image)}, LONG, "the pivot")
    desired.manifest(name, devices={"disks": [disk(image, "vda")]})

    after = reconvirt.apply()

    assert [str(overlay)] == [each["old"] for each in during["diverged"]]
    assert [] == during["steps"] == during["waiting"]
    assert "converged" == after["virtualServers"][0]["phase"]
    assert {str(image)} == both(host, name)
    assert reads_it_back(host, name)


def test_a_snapshot_of_one_that_is_off_is_known_by_its_header(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """libvirt writes no chain of it; it is started from the overlay."""
    name = unique_name("off")
    image = host.image(f"{name}.qcow2")
    desired.manifest(name, devices={"disks": [disk(image, "vda")]}, state="shutoff")
    reconvirt.apply()
    overlay = snapshot(host, name, image)

    off = reconvirt.plan(name)["virtualServers"][0]
    desired.manifest(name, devices={"disks": [disk(image, "vda")]})
    reconvirt.apply()

    assert [str(overlay)] == [each["old"] for each in off["overlays"]]
    assert {str(overlay)} == both(host, name)


def test_a_disk_that_was_moved_is_not_detached(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Its manifest lists it no more: reported, until a person has decided."""
    name = unique_name("kept")
    first, second = (host.image(f"{name}-{each}.qcow2") for each in "ab")
    desired.manifest(name, devices={"disks": [disk(first, "vda"), disk(second, "vdb")]})
    reconvirt.apply()
    host.console(name).wait_for("GUEST-UP")
    host.virsh("snapshot-create-as", name, "s", "--disk-only", "--diskspec", "vda,snapshot=no")
    desired.manifest(name, devices={"disks": [disk(first, "vda")]})

    report = reconvirt.apply(status=1)["virtualServers"][0]

    moved = str(second.with_name(f"{second.stem}.s"))
    assert [("devices.disks[vdb].source", moved, None)] == [
        (each["field"], each["old"], each["new"]) for each in report["diverged"]
    ]
    assert moved in host.virsh("dumpxml", name)
    assert moved in host.virsh("dumpxml", "--inactive", name)


class TestImageGone:
    """Its file system is not mounted after the host's start."""

    def manifest(self, desired: Desired, name: str, image: Path) -> None:
        made = {**disk(image, "vda"), "create": {"size": "64 MiB"}}
        desired.manifest(name, devices={"disks": [made]})

    def test_it_is_refused_until_it_is_there_again(
        self, host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
    ) -> None:
        """No empty disk is made, nothing is started; then it goes on by itself."""
        name = unique_name("gone")
        store, elsewhere = (host.images / f"{name}-{each}" for each in ("nfs", "hidden"))
        store.mkdir()
        image = store / "db.qcow2"
        self.manifest(desired, name, image)
        reconvirt.configure(resync_seconds=5)
        reconvirt.apply()
        write(host, name)
        host.virsh("destroy", name)
        store.rename(elsewhere)
        store.mkdir()
        with reconvirt.run() as daemon:
            refused = wait_for_condition(reconvirt, name, "Stalled")
            time.sleep(6)
            assert "refused" == refused["phase"]
            assert f"{image}: it was there, and is missing" in refused["message"]
            assert ([], "shut off") == (list(store.iterdir()), state(host, name))
            assert [] == daemon.logged("StepDone", step="create-image")
            store.rmdir()
            elsewhere.rename(store)
            wait_until(lambda: state(host, name) == "running", LONG, "its start")
        assert reads_it_back(host, name)

    def test_also_where_libvirt_has_forgotten_the_virtual_server(
        self, host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
    ) -> None:
        """What was seen once is on record; an empty image is made by a person alone."""
        name = unique_name("forgotten")
        image = host.images / f"{name}.qcow2"
        self.manifest(desired, name, image)
        reconvirt.apply()
        host.virsh("destroy", name)
        host.virsh("undefine", name)
        image.rename(image.with_suffix(".moved"))

        said = reconvirt.apply(status=1)["virtualServers"][0]
        planned = reconvirt.plan(name, status=1)["virtualServers"][0]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "64M"], check=True)
        again = reconvirt.apply()

        assert "it was there, and is missing" in said["message"]
        assert ["define"] == [step["action"] for step in said["steps"]]
        assert "it was there, and is missing" in planned["refused"][0]["reason"]
        assert ["start"] == verbs(again)

    def test_killed_after_it_was_made(
        self, host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
    ) -> None:
        """Before it was noted: the next run finds it there."""
        name = unique_name("killed")
        image = host.images / f"{name}.qcow2"
        self.manifest(desired, name, image)
        daemon = reconvirt.run().start()
        wait_until(image.exists, LONG, "the image")
        daemon.kill()

        reconvirt.apply()

        assert "running" == state(host, name)


@contextmanager
def opened(image: Path, kind: str = "qcow2") -> Iterator[None]:
    """A process that libvirt knows nothing of writes to an image."""
    command = ["qemu-io", "-f", kind, image]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("length\n")
    process.stdin.flush()
    while "MiB" not in process.stdout.readline():
        pass
    try:
        yield
    finally:
        process.communicate("quit\n", timeout=60)


class TestInUse:
    """Storage that something else has open."""

    @pytest.fixture
    def unmanaged(self, host: LibvirtHost, guest: Guest, unique_name: Name) -> Callable[[str], str]:
        """Starts a virtual server that no manifest knows, with a disk element in it."""

        def start(element: str) -> str:
            name = unique_name("other")
            host.define(domain_xml(name, guest, host.console_log(name), devices=element))
            host.virsh("start", "--paused", name)
            return name

        return start

    def refused(self, reconvirt: Reconvirt, name: str) -> str:
        """Why one is not started: by plan, by apply, and by what became of it."""
        planned = reconvirt.plan(name, status=1)["virtualServers"][0]
        applied = reconvirt.apply(name, status=1)["virtualServers"][0]
        assert "refused" == applied["phase"]
        assert "start" not in [step["action"] for step in applied["steps"]]
        assert planned["refused"][0]["reason"] in applied["message"]
        return str(applied["message"])

    def test_one_block_device_that_only_its_number_tells(
        self,
        host: LibvirtHost,
        desired: Desired,
        reconvirt: Reconvirt,
        unique_name: Name,
        unmanaged: Callable[[str], str],
    ) -> None:
        """Both are shareable for QEMU's lock, and not for us: as with a /dev for each QEMU."""
        loop = host.loop(host.image(f"{unique_name()}.raw", kind="raw"))
        alias = host.images / "lun-by-another-name"
        alias.unlink(missing_ok=True)
        alias.symlink_to(loop)
        other = unmanaged(
            f"<disk type='block'><driver name='qemu' type='raw'/><source dev='{loop}'/>"
            "<target dev='vda' bus='virtio'/><shareable/></disk>"
        )
        name = unique_name("second")
        desired.manifest(name, devices={"disks": [block_disk(alias, "vda")]})
        try:
            said = self.refused(reconvirt, name)
            assert other in said
            assert str(alias) in said
            host.virsh("destroy", other)
            assert ["start"] == verbs(reconvirt.apply(name))
        finally:
            alias.unlink()

    def test_one_image_by_a_link(
        self,
        host: LibvirtHost,
        desired: Desired,
        reconvirt: Reconvirt,
        unique_name: Name,
        unmanaged: Callable[[str], str],
    ) -> None:
        """At a start, and when a disk is plugged into what runs."""
        name = unique_name("linked")
        image, plain = host.image(f"{name}.qcow2"), host.image(f"{name}-own.qcow2")
        link = image.with_suffix(".link")
        link.symlink_to(image)
        other = unmanaged(
            f"<disk type='file'><driver name='qemu' type='qcow2'/><source file='{image}'/>"
            "<target dev='vda' bus='virtio'/></disk>"
        )
        desired.manifest(name, devices={"disks": [disk(link, "vda")]})
        assert other in self.refused(reconvirt, name)

        desired.manifest(name, devices={"disks": [disk(plain, "vda")]})
        reconvirt.apply()
        host.console(name).wait_for("GUEST-UP")
        desired.manifest(name, devices={"disks": [disk(plain, "vda"), disk(link, "vdb")]})
        plugged = reconvirt.apply(status=1)["virtualServers"][0]
        assert other in plugged["message"]
        assert str(link) not in host.virsh("domblklist", name)

    def test_an_image_that_another_process_writes_to(
        self, host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
    ) -> None:
        """A forgotten qemu-nbd, a backup: told before the start, not by QEMU."""
        name = unique_name("locked")
        image = host.image(f"{name}.qcow2")
        desired.manifest(name, devices={"disks": [disk(image, "vda")]})

        with opened(image):
            said = self.refused(reconvirt, name)
        applied = reconvirt.apply(name)

        assert f"another process on this host has it open for writing ('fuser -v {image}'" in said
        assert ["start"] == verbs(applied)

    def test_a_virtual_server_that_got_another_name(
        self, host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
    ) -> None:
        """Its manifest's name was changed without a uuid: the old one still runs."""
        old, new = unique_name("web"), unique_name("web")
        loop = host.loop(host.image(f"{old}.raw", kind="raw"))
        devices = {"disks": [block_disk(loop, "vda")]}
        reconvirt.configure(resync_seconds=5)
        desired.manifest(old, devices=devices)
        with reconvirt.run():
            host.console(old).wait_for("GUEST-UP")
            desired.manifest(new, devices=devices)
            desired.remove(old)
            refused = wait_for_condition(reconvirt, new, "Stalled")
            time.sleep(6)
            assert old in refused["message"]
            assert ("running", "shut off") == (state(host, old), state(host, new))

    def test_a_copied_manifest(
        self, host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
    ) -> None:
        """Neither is in force, and what runs stays; both are told."""
        one, two = unique_name("web"), unique_name("web")
        image = host.image(f"{one}.qcow2")
        for name in (one, two):
            desired.manifest(name, devices={"disks": [disk(image, "vda")]})

        found = reconvirt.plan(status=1)

        assert [] == found["virtualServers"]
        assert {"spec.devices.disks[0].source.file"} == {p["field"] for p in found["problems"]}
        assert 2 == len(found["problems"])


# libvirt's usual setting: QEMU has a /dev of its own, which libvirt makes from the host's. Nothing
# may be mounted below that, so libvirtd gets a /dev here that has nodes and no more.
_OWN_DEVICES = """
set -e
mkdir -p {new}
mount -t tmpfs tmpfs {new}
mkdir {new}/pts {new}/shm
for each in null zero full random urandom tty ptmx loop-control {loop}; do
  if [ -e /dev/$each ]; then cp -a /dev/$each {new}/; fi
done
umount -R -l /dev || true
mount --move {new} /dev
mount -t devpts devpts /dev/pts -o newinstance,ptmxmode=666,mode=620
rm -f /dev/ptmx
ln -s pts/ptmx /dev/ptmx
"""
_DEVICES = ", ".join(
    f'"/dev/{each}"' for each in ("null", "full", "zero", "random", "urandom", "ptmx")
)


@pytest.mark.libvirt
@pytest.mark.usefixtures("host")
def test_one_block_device_where_each_qemu_has_a_dev_of_its_own(
    tmp_path: Path, observer: Observer
) -> None:
    """QEMU's locks do not meet there, and two guests would run on one disk."""
    with LibvirtHost.take() as own:
        guest = Guest.build_into(own.directory / "guest")
        loop = own.loop(own.image("lun.raw", kind="raw"))
        script = _OWN_DEVICES.format(new=own.directory / "dev", loop=loop.name)
        subprocess.run(own.inside("sh", "-c", script), check=True, capture_output=True)
        settings = own.directory / "etc" / "qemu.conf"
        text = settings.read_text(encoding="utf-8")
        text = text.replace("namespaces = []", 'namespaces = [ "mount" ]')
        settings.write_text(f"{text}cgroup_device_acl = [ {_DEVICES} ]\n", encoding="utf-8")
        own.restart_libvirtd()
        (tmp_path / "desired").mkdir()
        desired = Desired(tmp_path / "desired", own, guest)
        reconvirt = Reconvirt(own, desired.path, tmp_path)
        element = (
            f"<disk type='block'><driver name='qemu' type='raw'/><source dev='{loop}'/>"
            "<target dev='vda' bus='virtio'/></disk>"
        )
        others = own.unique_name("other"), own.unique_name("other")
        name = own.unique_name("third")
        for each in others:
            observer.expect(Law.WRITERS, each, because="it shows that QEMU does not keep it")
        for other in others:
            own.define(domain_xml(other, guest, own.console_log(other), devices=element))
            own.virsh("start", "--paused", other)
        both = {state(own, other) for other in others}
        own.virsh("destroy", others[1])
        desired.manifest(name, devices={"disks": [block_disk(loop, "vda")]})

        refused = reconvirt.apply(status=1)["virtualServers"][0]
        own.virsh("destroy", others[0])
        allowed = reconvirt.apply()

        assert {"paused"} == both
        assert others[0] in refused["message"]
        assert str(loop) in refused["message"]
        assert ["start"] == verbs(allowed)
        own.destroy_everything()
