"""What a virtual server needs of its host, found in its domain XML."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconvirt.domain.needs import Need, NeedKind, needs_of, needs_of_images
from reconvirt.domain.plan import render
from strategies import wanted
from virtual_servers import devices, disk, nic

ROOT = Path(__file__).parents[3]

CASES = {
    "<os><kernel>/boot/k</kernel><initrd>/boot/i</initrd><cmdline>x</cmdline></os>": {
        "file /boot/k",
        "file /boot/i",
    },
    "<os><loader type='pflash'>/fw/code.fd</loader>"
    "<nvram template='/fw/vars.fd'>/var/lib/nvram/x.fd</nvram></os>": {
        "file /fw/code.fd",
        "file /fw/vars.fd",
    },
    "<devices><emulator>/usr/bin/qemu-system-s390x</emulator></devices>": {
        "file /usr/bin/qemu-system-s390x"
    },
    "<devices><disk type='file'><source file='/i/a.qcow2'/></disk></devices>": {"file /i/a.qcow2"},
    "<devices><disk type='block'><source dev='/dev/dasdb'/></disk></devices>": {"file /dev/dasdb"},
    "<devices><disk type='file'><source file='/i/top'/><backingStore type='file'>"
    "<source file='/i/base'/></backingStore></disk></devices>": {"file /i/top", "file /i/base"},
    "<devices><disk type='file'><source file='/i/a'/><mirror type='file'>"
    "<source file='/i/copy'/></mirror></disk></devices>": {"file /i/a"},
    "<devices><disk type='file' device='cdrom'><source file='/i/cd' startupPolicy='optional'/>"
    "</disk></devices>": set(),
    "<devices><disk type='file' device='cdrom'/></devices>": set(),
    "<devices><disk type='network'><source protocol='rbd' name='p/i'/></disk></devices>": set(),
    "<devices><disk type='volume'><source pool='images' volume='a'/></disk></devices>": {
        "active storage pool images"
    },
    "<devices><interface type='bridge'><source bridge='br0'/></interface></devices>": {
        "network device br0"
    },
    "<devices><interface type='bridge'><source bridge='vswitch0'/>"
    "<virtualport type='openvswitch'/></interface></devices>": set(),
    "<devices><interface type='direct'><source dev='bond0' mode='vepa'/></interface></devices>": {
        "network device bond0"
    },
    "<devices><interface type='network'><source network='net1'/></interface></devices>": {
        "active network net1"
    },
    "<devices><interface type='user'/></devices>": set(),
    "<devices><hostdev mode='subsystem' type='pci'><source>"
    "<address domain='0x0000' bus='0x06' slot='0x12' function='0x5'/></source></hostdev>"
    "</devices>": {"file /sys/bus/pci/devices/0000:06:12.5"},
    "<devices><hostdev mode='subsystem' type='pci'><source>"
    "<address domain='0' bus='6' slot='012' function='5'/></source></hostdev>"
    "</devices>": {"file /sys/bus/pci/devices/0000:06:0a.5"},
    "<devices><hostdev mode='subsystem' type='mdev' model='vfio-ccw'><source>"
    "<address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source></hostdev></devices>": {
        "file /sys/bus/mdev/devices/c2177883-f1bb-47f0-914d-32a22e3a8804"
    },
    "<devices><hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host3'/>"
    "<address bus='0' target='2' unit='1'/></source></hostdev></devices>": {
        "file /sys/bus/scsi/devices/3:0:2:1"
    },
    "<devices><hostdev mode='subsystem' type='scsi'><source protocol='iscsi' name='iqn/1'>"
    "<host name='x' port='3260'/></source></hostdev></devices>": set(),
    "<devices><filesystem type='mount'><source dir='/srv'/><target dir='t'/></filesystem>"
    "</devices>": {"file /srv"},
    "<devices><serial type='dev'><source path='/dev/ttyS1'/></serial>"
    "<console type='file'><source path='/var/log/c'/></console>"
    "<channel type='unix'><source mode='bind' path='/run/a'/></channel>"
    "<channel type='unix'><source mode='connect' path='/run/b'/></channel></devices>": {
        "file /dev/ttyS1",
        "file /run/b",
    },
    "<devices><rng model='virtio'><backend model='random'>/dev/hwrng</backend></rng>"
    "<rng model='virtio'><backend model='builtin'/></rng></devices>": {"file /dev/hwrng"},
}


@pytest.mark.parametrize("xml", CASES)
def test_what_is_needed(xml: str) -> None:
    needs = needs_of(f"<domain type='kvm'><name>x</name>{xml}</domain>")

    assert CASES[xml] == {str(each) for each in needs}


def test_what_a_manifest_leads_to() -> None:
    """As it is going to be, whether it is defined or not."""
    desired = wanted(devices(disks=[disk("a")], interfaces=[nic()]))

    expected = {Need(NeedKind.FILE, "/images/a.img"), Need(NeedKind.NETWORK_DEVICE, "br0")}
    assert expected <= needs_of(render(desired))


def test_images_need_their_directories_and_what_is_behind_them() -> None:
    """Only those that the manifest says how to make."""
    made = {"size": "1 GiB", "backing": {"file": "/golden/base.qcow2", "format": "qcow2"}}
    disks = [disk("a", driver={"type": "qcow2"}, create=made), disk("b")]

    needs = needs_of_images(wanted(devices(disks=disks)))

    assert {"file /images", "file /golden/base.qcow2"} == {str(each) for each in needs}


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "book").glob("*domain*.xml")))
def test_domains_of_the_book_can_be_read(path: Path) -> None:
    """Whatever they have; and nothing is named that is no path."""
    for need in needs_of(path.read_text(encoding="utf-8")):
        assert need.kind is not NeedKind.FILE or need.name.startswith("/")
