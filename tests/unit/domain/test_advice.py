"""Advice: what is allowed, and will do harm some day."""

from __future__ import annotations

import pytest

from reconvirt.domain.advice import advise
from strategies import wanted
from virtual_servers import PC, Spec, devices, disk, nic, spec

FCP = "/dev/disk/by-path/ccw-0.0.1900-zfcp-0x500507630300c562:0x401040a000000000"


def advice(after: Spec) -> list[tuple[str, str]]:
    """What is advised, with its place."""
    return [(each.field, each.message) for each in advise(wanted(after))]


def block(dev: str) -> Spec:
    """A virtual server with a disk on a host device."""
    return devices(disks=[disk("a", type="block", source={"dev": dev})])


@pytest.mark.parametrize(
    ("dev", "words"),
    [
        ("/dev/sda", "may be another device after the host's next start: use /dev/mapper/"),
        ("/dev/sdab1", "/dev/sdab1 may be another device"),
        ("/dev/dasda", "use /dev/disk/by-path/ccw-"),
        ("/dev/dasdb1", "/dev/dasdb1 may be another device"),
        ("/dev/disk/by-id/scsi-36005076305ffc1ae", "one path to a SCSI disk; with multipathing"),
        ("/dev/disk/by-id/wwn-0x6005076305ffc1ae", "use its name below /dev/mapper"),
        (FCP, "so that the disk outlives a path"),
    ],
)
def test_a_name_that_is_not_stable(dev: str, words: str) -> None:
    """What to use instead is told."""
    [(field, message)] = advice(block(dev))

    assert "devices.disks[vda].source.dev" == field
    assert words in message


@pytest.mark.parametrize(
    "dev",
    [
        "/dev/mapper/36005076305ffc1ae",
        "/dev/disk/by-path/ccw-0.0.3f12",
        "/dev/disk/by-id/ccw-IBM.750000000XY",
        "/dev/disk/by-id/dm-uuid-mpath-3600",
        "/dev/vg/sda",
    ],
)
def test_a_name_that_is_stable(dev: str) -> None:
    """Nothing is said."""
    assert [] == advice(block(dev))


def test_a_copied_disk_has_no_iothread() -> None:
    """Only those that a migration copies."""
    threaded = {"type": "raw", "iothread": 1}
    after = devices(disks=[disk("a", driver=threaded), disk("b", driver=threaded), disk("c")])
    policy = {"policy": {"migration": {"copied": ["vda", "vdc"]}}, "iothreads": 1}

    assert [
        (
            "devices.disks[vda].driver.iothread",
            "a disk with an I/O thread cannot be copied in a live migration",
        )
    ] == advice(after | policy)
    assert [] == advice(after)


class TestDeviceNumbers:
    def both(self, **system: object) -> Spec:
        """A disk with a number, and an interface without."""
        address = {"address": {"type": "ccw", "cssid": 0xFE, "ssid": 0, "devno": 1}}
        return devices(disks=[disk("a", **address)], interfaces=[nic()]) | system

    def test_some_without_one_are_told(self) -> None:
        """A new device may take a number that was meant for another."""
        [(field, message)] = advice(self.both())

        assert "devices.interfaces[52:54:00:00:00:01].address" == field
        assert "no device number while devices.disks[vda] has one: state all or none" in message

    def test_elsewhere_there_are_none(self) -> None:
        """x86 has no channel devices."""
        assert [] == advice(self.both(os=PC))

    def test_a_disk_behind_a_controller_needs_none(self) -> None:
        """Its controller has one."""
        address = {"address": {"type": "ccw", "cssid": 0xFE, "ssid": 0, "devno": 1}}
        after = devices(disks=[disk("a", **address), disk("b", target={"dev": "sda"})])

        assert [] == advice(after)

    def test_all_or_none_is_fine(self) -> None:
        """Most manifests state none."""
        assert [] == advice(devices(disks=[disk("a"), disk("b")], interfaces=[nic()]))
        assert [] == advice(spec())
