"""Images that a manifest says how to make: made, seen by the guest, grown, and never harmed."""

from __future__ import annotations

import hashlib
import json
import pwd
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testbed import (
    Desired,
    LibvirtHost,
    Reconvirt,
    VirshError,
    assert_settled,
    disk,
    disks,
    outcome,
    verbs,
    wait_until,
)

Name = Callable[..., str]


def made(file: Path, dev: str, kind: str, **create: Any) -> dict[str, Any]:
    """A disk on an image that is to be made."""
    return {**disk(file, dev, kind=kind), "create": create}


def facts(image: Path) -> dict[str, Any]:
    """What qemu-img says of an image."""
    command = ["qemu-img", "info", "--force-share", "--output=json", image]
    said = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(said.stdout)


def checksum(image: Path) -> str:
    """A checksum of all that is in a file."""
    return hashlib.sha256(image.read_bytes()).hexdigest()


def left_over(folder: Path) -> list[str]:
    """Hidden files, such as unfinished images."""
    return [each.name for each in folder.iterdir() if each.name.startswith(".")]


def test_images_are_made_before_the_first_start_and_grown(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Raw, qcow2 and a layer upon another image: as large as stated, also later and live."""
    name = unique_name()
    base = host.image(f"{name}-base", "40M")
    raw, plain, layer = (host.images / f"{name}-{each}" for each in ("raw", "plain", "layer"))
    backing = {"file": str(base), "format": "qcow2"}
    manifested = [
        made(raw, "vda", "raw", size="16 MiB"),
        made(plain, "vdb", "qcow2", size="24 MiB", preallocation="metadata"),
        made(layer, "vdc", "qcow2", backing=backing),
    ]
    desired.manifest(name, devices={"disks": manifested})
    report = reconvirt.apply()

    assert ["create-image"] * 3 + ["define", "start"] == verbs(report)
    console = host.console(name)
    console.wait_for(r"^GUEST cpus=0 blk=vda:16MiB,vdb:24MiB,vdc:40MiB ")
    assert ("raw", "qcow2", "qcow2") == tuple(facts(each)["format"] for each in (raw, plain, layer))
    assert str(base) == facts(layer)["backing-filename"]
    assert "qcow2" == facts(layer)["backing-filename-format"]
    for image in (raw, plain, layer):
        assert 0o600 == image.stat().st_mode & 0o777
        assert "libvirt-qemu" == pwd.getpwuid(image.stat().st_uid).pw_name
    assert [] == left_over(host.images)
    assert_settled(reconvirt)

    before = checksum(base)
    manifested = [
        made(raw, "vda", "raw", size="20 MiB"),
        made(plain, "vdb", "qcow2", size="32 MiB"),
        made(layer, "vdc", "qcow2", size="48 MiB", backing=backing),
    ]
    desired.manifest(name, devices={"disks": manifested})
    report = reconvirt.apply()

    assert 3 == verbs(report).count("grow-disk")
    console.wait_for(r"^GUEST cpus=0 blk=vda:20MiB,vdb:32MiB,vdc:48MiB ")
    assert before == checksum(base)
    assert_settled(reconvirt)

    manifested[1] = made(plain, "vdb", "qcow2", size="8 MiB")
    added = made(host.images / f"{name}-new", "vdd", "qcow2", size="12 MiB")
    desired.manifest(name, devices={"disks": [*manifested, added]})
    report = outcome(reconvirt.apply(status=1))

    assert ["devices.disks[vdb].create.size"] == [each["field"] for each in report["refused"]]
    assert "never made smaller" in report["message"]
    assert 32 * 1024**2 == facts(plain)["virtual-size"]
    console.wait_for(r"^GUEST cpus=0 blk=vda:20MiB,vdb:32MiB,vdc:48MiB,vdd:12MiB ")

    desired.manifest(name, devices={"disks": manifested[:1]})
    reconvirt.apply()
    console.wait_for(r"^GUEST cpus=0 blk=vda:20MiB ")
    assert all(each.exists() for each in (raw, plain, layer, host.images / f"{name}-new"))


def test_one_that_is_shut_off_grows_and_nothing_is_lost(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Grown by qemu-img; smaller, another format or something else in its place is refused."""
    name = unique_name()
    image = host.images / f"{name}-a"
    desired.manifest(
        name, state="shutoff", devices={"disks": [made(image, "vda", "raw", size="16 MiB")]}
    )
    reconvirt.apply()
    content = b"what a guest has written"
    with image.open("r+b") as file:
        file.write(content)

    desired.manifest(
        name, state="shutoff", devices={"disks": [made(image, "vda", "raw", size="18 MiB")]}
    )
    report = reconvirt.apply()

    assert "grow-image" in verbs(report)
    assert 18 * 1024**2 == image.stat().st_size
    assert content == image.read_bytes()[: len(content)]
    assert_settled(reconvirt)

    before = checksum(image)
    other = host.image(f"{name}-qcow2", "16M")
    folder = host.images / f"{name}-folder"
    folder.mkdir()
    wrong = {
        made_words: (stated, words)
        for made_words, stated, words in (
            ("smaller", made(image, "vda", "raw", size="1 MiB"), "never made smaller"),
            ("another format", made(image, "vda", "qcow2", size="18 MiB"), "no qcow2 image"),
            ("format unsaid", made(other, "vda", "raw", size="16 MiB"), "it is a qcow2 image"),
            ("no file", made(folder, "vda", "raw", size="1 MiB"), "neither a file nor"),
        )
    }
    for stated, words in wrong.values():
        desired.manifest(name, state="shutoff", devices={"disks": [stated]})
        report = outcome(reconvirt.apply(status=1))
        assert "refused" == report["phase"]
        assert words in report["message"]
    assert before == checksum(image)
    assert "qcow2" == facts(other)["format"]
    folder.rmdir()


def test_a_kill_leaves_no_half_made_image(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Killed while it writes the image, there is nothing at the path; the next start makes it."""
    name = unique_name()
    image = host.images / f"{name}-a"
    # Writing so much takes long enough to be killed in the middle of it.
    large = made(image, "vda", "raw", size="1500 MiB", preallocation="full")
    desired.manifest(name, state="shutoff", devices={"disks": [large]})
    daemon = reconvirt.run().start()
    try:
        wait_until(lambda: left_over(host.images), 30, "the image to be begun")
        time.sleep(0.05)
        assert not image.exists()
    finally:
        daemon.process.send_signal(signal.SIGKILL)
        daemon.process.wait()
    assert not image.exists()
    assert name not in host.names()
    assert [] != left_over(host.images)

    # Small now, and the leftovers go: qemu-img, which outlived its parent, has ended by then.
    wait_until(lambda: not _writers(host.images), 60, "the orphaned qemu-img to end")
    small = made(image, "vda", "raw", size="4 MiB")
    desired.manifest(name, devices={"disks": [small]})
    with reconvirt.run():
        host.console(name).wait_for(r"^GUEST cpus=0 blk=vda:4MiB ")
    assert [] == left_over(host.images)
    assert {"vda": str(image)} == disks(host, name)
    assert_settled(reconvirt)


def _writers(folder: Path) -> list[str]:
    """The qemu-img processes that write below a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if command.startswith("qemu-img\0") and f"{folder}/" in command:
            found.append(command)
    return found


def test_what_cannot_be_made_is_told(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """A directory that is missing fails before anything is defined; it is tried again."""
    name = unique_name()
    image = host.images / f"{name}-no" / "a"
    desired.manifest(
        name, state="shutoff", devices={"disks": [made(image, "vda", "qcow2", size="4 MiB")]}
    )
    report = outcome(reconvirt.apply(status=1))

    assert "failed" == report["phase"]
    assert f"cannot make the image {image}" in report["message"]
    try:
        host.virsh("domstate", name)
    except VirshError:
        image.parent.mkdir()
    reconvirt.apply()
    assert image.exists()
    assert_settled(reconvirt)
