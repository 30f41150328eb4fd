"""Virtual servers moved between two real hosts by editing their manifests."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed import Console, Two, disk, interface, wait_until

Name = Callable[..., str]
UNSAFE = {"migration": {"unsafe": True}}


def write(image: Path, kind: str, command: str) -> None:
    """Write something into an image."""
    run("qemu-io", "-f", kind, "-c", command, str(image))


def run(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def ups(console: Console) -> list[str]:
    """Each boot that the console shows."""
    return re.findall("^GUEST-UP", console.text, re.MULTILINE)


def test_editing_the_host_moves_a_running_guest_there_and_back(two: Two, unique_name: Name) -> None:
    """CPU, disk and NIC survive, and the console shows no second boot."""
    host, second = two.hosts
    name, bridge = unique_name(), host.bridge()
    second.bridge_like(bridge)
    devices = {
        "disks": [disk(host.image(f"{name}-a"), "vda")],
        "interfaces": [interface(bridge, "52:54:00:00:15:01")],
    }

    def want(number: int, cpus: int) -> None:
        two.desired.manifest(
            name,
            devices=devices,
            policy=UNSAFE,
            autostart=True,
            host=two.hosts[number].NAME,
            vcpu={"maximum": 2, "current": cpus},
        )

    want(0, 1)
    two.start()
    console = host.console(name)
    console.wait_for("^GUEST cpus=0 blk=vda:64MiB net=eth0/52:54:00:00:15:01")

    want(1, 1)
    two.wait_for_move(name, 1)
    want(1, 2)
    line = console.wait_for(r"^GUEST cpus=0-1 blk=vda:64MiB net=eth0/52:54:00:00:15:01.*$")
    want(0, 2)
    two.wait_for_move(name, 0)

    assert "enable" in host.virsh("dominfo", name).partition("Autostart:")[2].splitlines()[0]
    assert len(ups(console)) == 1, line


def test_one_that_is_shut_off_moves_its_definition(two: Two, unique_name: Name) -> None:
    """Offline: the definition is on one host afterwards, and starts there."""
    name = unique_name()
    spec: dict[str, Any] = {"policy": UNSAFE, "state": "shutoff"}
    two.desired.manifest(name, host="zhost1", **spec)
    two.start()
    two.wait_for_move(name, 0, "shut off")

    two.desired.manifest(name, host="zhost2", **spec)
    two.wait_for_move(name, 1, "shut off")
    two.desired.manifest(name, host="zhost2", policy=UNSAFE)
    two.wait_for_move(name, 1)


@pytest.mark.parametrize("kind", ["qcow2", "raw"])
def test_storage_is_copied(two: Two, unique_name: Name, kind: str) -> None:
    """The image is made at the destination, and what the guest sees is the same."""
    host, second = two.hosts
    name = unique_name()
    image = host.local / f"{name}-a"
    subprocess.run(["qemu-img", "create", "-q", "-f", kind, image, "48M"], check=True)
    io = ["qemu-io", "-f", kind, str(image), "-c", "write -P 0xa5 0 1M"]
    subprocess.run(io, check=True, stdout=subprocess.DEVNULL)
    policy = {"migration": {"copied": ["vda"]}}
    devices = {"disks": [disk(image, "vda", kind=kind)]}
    two.desired.manifest(name, host="zhost1", devices=devices, policy=policy)
    two.start()
    console = host.console(name)
    console.wait_for("^GUEST cpus=0 blk=vda:48MiB")

    two.desired.manifest(name, host="zhost2", devices=devices, policy=policy)
    two.wait_for_move(name, 1)

    assert len(ups(console)) == 1
    read = ["qemu-io", "-r", "-f", kind, "-c", "read -P 0xa5 0 1M", str(image)]
    two.stop()
    second.virsh("destroy", name)
    done = subprocess.run(second.inside(*read), capture_output=True, text=True, check=True)
    assert "Pattern verification failed" not in done.stdout


def test_only_the_difference_is_copied(two: Two, unique_name: Name) -> None:
    """The overlay is made at the destination upon the backing image that is there."""
    host, second = two.hosts
    name = unique_name()
    base, overlay = host.image(f"{name}-base", "64M", "raw"), host.local / f"{name}-a"
    write(base, "raw", "write -P 0x11 0 64M")
    below = ("-b", str(base), "-F", "raw")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *below, overlay, "96M"], check=True)
    write(overlay, "qcow2", "write -P 0x22 2M 1M")
    policy = {"migration": {"copied": ["vda"], "copy": "inc"}}
    devices = {"disks": [disk(overlay, "vda")]}
    two.desired.manifest(name, host="zhost1", devices=devices, policy=policy)
    two.start()
    console = host.console(name)
    console.wait_for("^GUEST cpus=0 blk=vda:96MiB")

    two.desired.manifest(name, host="zhost2", devices=devices, policy=policy)
    two.wait_for_move(name, 1)

    assert len(ups(console)) == 1
    two.stop()
    second.virsh("destroy", name)
    there = second.directory / "local" / overlay.name
    told = json.loads(run("qemu-img", "info", "--output=json", str(there)))
    assert (told["backing-filename"], told["backing-filename-format"]) == (str(base), "raw")
    assert (told["format"], told["virtual-size"]) == ("qcow2", 96 << 20)
    assert 1 << 20 <= told["actual-size"] < 8 << 20, "all was copied, not the difference"
    for pattern, where in (("0x11", "0 2M"), ("0x22", "2M 1M"), ("0x11", "3M 61M")):
        read = ("qemu-io", "-r", "-f", "qcow2", "-c", f"read -P {pattern} {where}", str(there))
        assert "Pattern verification failed" not in run(*read)


def test_an_image_at_the_destination_is_never_overwritten(two: Two, unique_name: Name) -> None:
    """It is refused with the path, and stays as it is."""
    host, second = two.hosts
    name = unique_name()
    image = host.local / f"{name}-a"
    there = second.directory / "local" / image.name
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "48M"], check=True)
    there.write_text("precious", encoding="utf-8")
    policy = {"migration": {"copied": ["vda"]}}
    devices = {"disks": [disk(image, "vda")]}
    two.desired.manifest(name, host="zhost1", devices=devices, policy=policy)
    two.start()
    host.console(name).wait_for("^GUEST cpus=")

    checked = two.programs[0]("migrate", "--check", name, "zhost2", status=1)
    two.desired.manifest(name, host="zhost2", devices=devices, policy=policy)
    two.daemons[0].wait_for("migration not done")

    assert f"zhost2 has something at {image}" in checked
    assert (two.state(0, name), two.state(1, name)) == ("running", "")
    assert there.read_text(encoding="utf-8") == "precious"


def test_hotplugged_devices(two: Two, unique_name: Name) -> None:
    """A hotplugged disk goes along; one that is not persistent is detached, and attached again."""
    host, second = two.hosts
    name = unique_name()
    disks = [disk(host.image(f"{name}-{letter}"), f"vd{letter}") for letter in "abc"]
    disks[2]["persistent"] = False
    two.desired.manifest(name, host="zhost1", devices={"disks": disks[:1]}, policy=UNSAFE)
    two.start()
    console = host.console(name)
    console.wait_for("^GUEST cpus=0 blk=vda:64MiB ")
    two.desired.manifest(name, host="zhost1", devices={"disks": disks}, policy=UNSAFE)
    console.wait_for("^GUEST cpus=0 blk=vda:64MiB,vdb:64MiB,vdc:64MiB ")

    two.desired.manifest(name, host="zhost2", devices={"disks": disks}, policy=UNSAFE)
    console.wait_for("^GUEST cpus=0 blk=vda:64MiB,vdb:64MiB ")
    two.wait_for_move(name, 1)

    console.wait_for("^GUEST cpus=0 blk=vda:64MiB,vdb:64MiB,vdc:64MiB ")
    assert "dev='vdc'" not in second.virsh("dumpxml", "--inactive", name)
    assert len(ups(console)) == 1


def test_an_evacuated_host_is_emptied(two: Two, unique_name: Name) -> None:
    """To the host that the manifest lists; one that lists none stays, and says why."""
    listed, stays = unique_name(), unique_name()
    two.desired.manifest(listed, state="paused", host="zhost1", hosts=["zhost2"], policy=UNSAFE)
    two.desired.manifest(stays, state="paused", host="zhost1", policy=UNSAFE)
    two.start()
    for name in (listed, stays):
        two.wait_for_move(name, 0, "paused")

    two.desired.host(two.hosts[0], maintenance={"evacuate": True})

    two.wait_for_move(listed, 1, "paused")
    line = two.daemons[0].wait_for("refused", virtual_server=stays)
    assert "zhost1 is to be emptied" in line["message"]
    assert two.state(0, stays) == "paused"


def elsewhere(two: Two) -> str:
    """The URI of a host in the same network that does not answer."""
    return f"qemu+tcp://{two.hosts[1].address.rpartition('.')[0]}.77/system"


def test_an_evacuated_one_goes_to_the_first_that_can_have_it(two: Two, unique_name: Name) -> None:
    """One host cannot be reached, one refuses it; where it has arrived it stays."""
    name = unique_name()
    image = two.hosts[0].image(f"{name}-a")
    spec = {"policy": UNSAFE, "devices": {"disks": [disk(image, "vda")]}, "host": "zhost1"}
    two.desired.manifest(name, **spec)
    two.start()
    console = two.hosts[0].console(name)
    console.wait_for("^GUEST cpus=0 blk=vda:64MiB")

    two.desired.host(two.hosts[1], name="zhost3", uri=elsewhere(two))
    # The same host under another URI: what it refuses is no other host's.
    again = two.hosts[1].remote_uri.replace("/system", ":16509/system")
    two.desired.host(two.hosts[1], name="zhost4", uri=again, storage={"shared": []})
    two.desired.manifest(name, hosts=["zhost3", "zhost4", "zhost2"], **spec)
    two.desired.host(two.hosts[0], maintenance={"evacuate": True})
    two.wait_for_move(name, 1)

    told = [line["message"] for line in two.daemons[0].logged("migration not done")]
    assert any("zhost3 cannot be reached" in each for each in told)
    assert any("is not known to be on both hosts" in each for each in told)
    two.daemons[1].wait_for("converged", virtual_server=name)
    assert len(ups(console)) == 1
    for daemon in two.daemons:
        daemon.reload()
    two.daemons[1].wait_for("configuration reloaded")
    assert not two.daemons[1].logged("migration begun")


def test_an_evacuated_one_that_no_host_can_have(two: Two, unique_name: Name) -> None:
    """It stays, with the reasons of each; when one of them can have it, it goes."""
    name = unique_name()
    image = two.hosts[0].image(f"{name}-a")
    spec = {"policy": UNSAFE, "devices": {"disks": [disk(image, "vda")]}, "host": "zhost1"}
    two.desired.manifest(name, **spec)
    two.start()
    two.wait_for_move(name, 0)

    two.desired.host(two.hosts[1], name="zhost3", uri=elsewhere(two))
    two.desired.host(two.hosts[1], storage={"shared": []})
    two.desired.manifest(name, hosts=["zhost3", "zhost2"], **spec)
    two.desired.host(two.hosts[0], maintenance={"evacuate": True})

    def refused() -> list[str]:
        lines = two.daemons[0].logged("refused", virtual_server=name)
        return [each["message"] for each in lines if "none of its hosts" in each["message"]]

    message = wait_until(refused, 60, "both hosts to be tried")[-1]
    assert "zhost3: zhost3 cannot be reached" in message
    assert "zhost2: it cannot be moved: the image of vda" in message
    status = two.programs[0].json("get", name)
    assert "Stalled" in str(status)
    assert two.state(0, name) == "running"
    plan = two.programs[0]("plan", name, status=1)
    assert "the image of vda" in plan
    two.desired.host(two.hosts[1])
    two.wait_for_move(name, 1)


def test_where_it_may_be_it_is_left_while_its_host_is_emptied(two: Two, unique_name: Name) -> None:
    """A better one of its hosts hears that another has it, and neither moves nor starts it."""
    name = unique_name()
    two.desired.manifest(name, state="paused", host="zhost2", policy=UNSAFE)
    two.start()
    two.wait_for_move(name, 1, "paused")

    two.desired.host(
        two.hosts[1], name="zhost3", uri=elsewhere(two), maintenance={"evacuate": True}
    )
    two.desired.manifest(
        name, state="paused", host="zhost3", hosts=["zhost1", "zhost2"], policy=UNSAFE
    )

    def told() -> bool:
        lines = two.daemons[0].logged("on another host", virtual_server=name)
        return any(
            "it is on zhost2, while zhost3 is to be emptied" in each["message"] for each in lines
        )

    wait_until(told, 60, "the other host's answer")
    assert two.state(0, name) == ""
    assert two.state(1, name) == "paused"
    assert not two.daemons[1].logged("migration begun")


def test_they_move_one_after_the_other(two: Two, unique_name: Name) -> None:
    """With one slot; who waits says so, and is woken."""
    names = [unique_name() for _ in range(3)]
    for name in names:
        two.desired.manifest(name, state="paused", host="zhost1", policy=UNSAFE)
    two.start()
    for name in names:
        two.wait_for_move(name, 0, "paused")

    for name in names:
        two.desired.manifest(name, state="paused", host="zhost2", policy=UNSAFE)

    for name in names:
        two.wait_for_move(name, 1, "paused")
    told = [line["message"] for line in two.daemons[0].logged("waiting")]
    assert any("it waits for a slot to move" in each for each in told)
