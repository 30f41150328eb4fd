"""The book's examples on a real libvirt: all are defined, and devices come and go live."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import yaml
from lxml import etree

from book_examples import NAMES, manifest, whole
from meaning import missing
from testbed import Desired, LibvirtHost, Reconvirt, disk

Name = Callable[..., str]

EMULATOR = "/usr/bin/qemu-system-s390x"
_NO_MACHINE = "does not support machine type"

# What today's libvirt or QEMU do not take of the book: their words, and what stands in its place.
ALTERED: dict[str, tuple[str, str, str]] = {
    # Machines of a product of its time.
    "ch05-02-type-kvmibm-1.1.0": (_NO_MACHINE, "s390-ccw-kvmibm-1.1.0", "s390-ccw-virtio"),
    "ch05-03-type-kvmibm-1.1.1": (_NO_MACHINE, "s390-ccw-kvmibm-1.1.1", "s390-ccw-virtio"),
    "ch05-04-type-kvmibm-1.1.2": (_NO_MACHINE, "s390-ccw-kvmibm-1.1.2", "s390-ccw-virtio"),
    "ch14-03-dumpxml": (_NO_MACHINE, "s390-ccw-kvmibm-1.1.2", "s390-ccw-virtio"),
    # A machine without channel devices, which QEMU has given up.
    "ch24-08-cmdline": (_NO_MACHINE, "s390-virtio", "s390-ccw-virtio"),
    "ch24-18-initrd": (_NO_MACHINE, "s390-virtio", "s390-ccw-virtio"),
    # Only disks on the bus ide, which s390x does not have, are seen by a BIOS.
    "ch24-16-geometry": ("CHS translation mode can only be set for 'ide'", ' trans="lba"', ""),
    # A whole disk whose name is that of a partition.
    "ch24-36-source-disk-b": ("partitions can't appear in disk targets", '"vda1"', '"vda"'),
}


def here(name: str, *, altered: bool = True) -> etree._Element:
    """An example as this host can define it: emulated, by the QEMU that is here."""
    domain = whole(name)
    domain.set("type", "qemu")
    for emulator in domain.iterfind("devices/emulator"):
        emulator.text = EMULATOR
    if name not in ALTERED or not altered:
        return domain
    _words, old, new = ALTERED[name]
    text = etree.tostring(domain, encoding="unicode")
    assert old in text
    return etree.fromstring(text.replace(old, new))


def stored(host: LibvirtHost, name: str) -> etree._Element:
    """The configuration as libvirt has it."""
    return etree.fromstring(host.virsh("dumpxml", "--inactive", name))


def write(desired: Desired, name: str, document: dict[str, Any]) -> None:
    """Put a manifest into the directory, under another name."""
    document["metadata"]["name"] = name
    document["spec"]["state"] = "shutoff"
    path = desired.path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def sources(document: dict[str, Any]) -> set[str]:
    """What the disks of a manifest are on."""
    disks = document["spec"].get("devices", {}).get("disks", [])
    return {str(path) for each in disks for path in each.get("source", {}).values()}


def test_every_example_is_defined(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """libvirt stores all that each example says; then there is nothing left to do or to write."""
    reconvirt.admit_everything()
    names = {unique_name("book"): example for example in NAMES}
    left = {name: manifest(here(example)) for name, example in names.items()}
    # Several examples have one disk; in force at one time, they would destroy it.
    while left:
        taken: set[str] = set()
        for name, document in list(left.items()):
            if not taken & sources(document):
                taken |= sources(document)
                write(desired, name, left.pop(name))
        _define_all(desired, reconvirt)
        for path in desired.path.glob("*.yaml"):
            path.unlink()
    lost = {example: _lost(here(example), stored(host, name)) for name, example in names.items()}
    assert {} == {example: lines for example, lines in lost.items() if lines}


def _define_all(desired: Desired, reconvirt: Reconvirt) -> None:
    names = {path.stem for path in desired.path.glob("*.yaml")}
    report = reconvirt.apply()
    plan = reconvirt.plan()
    again = reconvirt.apply()

    phases = {each["name"]: each["phase"] for each in report["virtualServers"]}
    assert dict.fromkeys(names, "converged") == phases
    assert names == {each["name"] for each in plan["virtualServers"]}
    assert [] == [step for each in plan["virtualServers"] for step in each["steps"]]
    assert 0 == again["calls"]["writing"]


def _lost(domain: etree._Element, found: etree._Element) -> list[str]:
    for tag in ("name", "uuid"):  # several examples have the same
        for element in domain.findall(tag):
            domain.remove(element)
    return missing(domain, found)


def test_what_is_not_known_any_more_is_told(
    desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """As the book has them, such examples end with libvirt's words, and nothing is defined."""
    reconvirt.admit_everything()
    names = {unique_name("book"): example for example in ALTERED}
    for name, example in names.items():
        write(desired, name, manifest(here(example, altered=False)))

    report = reconvirt.apply(status=1)

    told = {names[each["name"]]: each["message"] for each in report["virtualServers"]}
    assert set(ALTERED) == set(told)
    for example, message in told.items():
        assert ALTERED[example][0] in message


PLUGGED = (
    *(
        "ch11-08-file-disk",
        "ch10-05-installation-disk",
        "ch11-01-disk",
        "ch11-06-dasd-a",
        "ch11-06-dasd-b",
    ),
    *("ch11-07-scsi-disk-a", "ch11-07-scsi-disk-b"),
    *("ch11-15-multipath-hbas", "ch11-20-dvd", "ch11-21-macvtap-bond", "ch11-22-macvtap-vlan"),
    *("ch11-23-openvswitch", "ch11-24-rng", "ch14-02-dev1", "ch15-01-qcow2-disk"),
    *("ch24-06-boot", "ch24-12-devices", "ch24-14-driver", "ch24-16-geometry"),
    *("ch24-24-mac", "ch24-32-readonly"),
)
"""Examples of devices that this machine has the means for, those that say the same left out."""

LISTED = ("disks", "interfaces", "controllers", "rngs")


class Place:
    """Puts examples into one guest: what stands behind their devices is made on this machine."""

    def __init__(self, host: LibvirtHost, nics: dict[str, str]) -> None:
        self._host = host
        self._nics = nics
        self._count = itertools.count(3)

    def device(self, element: etree._Element) -> str:
        """Give a device a source that is here; how the guest will tell of it."""
        number, source = next(self._count), element.find("source")
        if element.tag == "disk":
            assert source is not None
            return self._disk(element, source, number)
        if element.tag == "interface":
            assert source is not None
            name = "bridge" if "bridge" in source.attrib else "dev"
            source.set(name, self._nics[name])
            if element.find("mac") is None:
                etree.SubElement(element, "mac", address=f"52:54:00:6a:0c:{number:02x}")
            return rf"net=\S*{element.find('mac').get('address')}"
        return "rng=virtio" if element.tag == "rng" else "scsi=[1-9]"

    def _disk(self, disk: etree._Element, source: etree._Element, number: int) -> str:
        image = f"book-{number}"
        if disk.get("device") == "cdrom":
            source.set("file", str(self._host.iso(f"{image}.iso", f"BOOK_{number}")))
            return rf"cd=\S*BOOK_{number}\b"
        kind = disk.find("driver").get("type")
        path = self._host.image(image, f"{number}M", kind)
        if disk.get("type") == "block":
            source.set("dev", str(self._host.loop(path)))
        else:
            source.set("file", str(path))
        return rf"blk=\S*:{number}MiB\b"


def rounds(names: Iterable[str]) -> list[list[str]]:
    """Examples that can be in one virtual server: no two have a name or a number in common."""
    packed: list[tuple[list[str], set[str]]] = []
    for name in names:
        claims = set(_claims(here(name)))
        for together, taken in packed:
            if not claims & taken:
                together.append(name)
                taken.update(claims)
                break
        else:
            packed.append(([name], claims))
    return [together for together, _ in packed]


def _claims(domain: etree._Element) -> Iterator[str]:
    for device in domain.iterfind("devices/*"):
        target, address = device.find("target"), device.find("address")
        if device.tag == "disk" and target is not None:
            yield f"disk {target.get('dev')}"
        if device.tag in ("controller", "rng"):
            yield f"{device.tag} {device.get('index')}"
        if address is not None and address.get("type") == "ccw":
            yield f"devno {int(address.get('devno', '0'), 16)}"
        if device.find("boot") is not None:
            yield "boot"


def test_devices_come_and_go_while_the_guest_runs(
    host: LibvirtHost,
    desired: Desired,
    reconvirt: Reconvirt,
    unique_name: Name,
    macvtap_parent: str,
    switch: str,
) -> None:
    """Each device is plugged as the book has it, the guest sees it, and gives it back."""
    name, place = unique_name("book"), Place(host, {"dev": macvtap_parent, "bridge": switch})
    own = disk(host.image(f"{name}-own"), "vdz") | {"boot": {"order": 9}}
    desired.manifest(name, iothreads=2, devices={"disks": [own]})
    reconvirt.apply()
    console = host.console(name)
    console.wait_for("^GUEST cpus")

    for together in rounds(PLUGGED):
        devices: dict[str, list[Any]] = {"disks": [own]}
        wanted = etree.Element("devices")
        tells = []
        for example in together:
            domain = here(example)
            tells += [place.device(each) for each in domain.iterfind("devices/*")]
            for kind, listed in manifest(domain)["spec"]["devices"].items():
                assert kind in LISTED
                devices.setdefault(kind, []).extend(listed)
            wanted.extend(domain.iterfind("devices/*"))
        desired.manifest(name, iothreads=2, devices=devices)
        reconvirt.apply()

        live = etree.fromstring(host.virsh("dumpxml", name)).find("devices")
        assert [] == missing(wanted, live)
        # At the same addresses when it is started next.
        assert [] == missing(stored(host, name).find("devices"), live)
        console.wait_for("^GUEST " + "".join(f"(?=.*{each})" for each in tells))

        desired.manifest(name, iothreads=2, devices={"disks": [own]})
        reconvirt.apply()
        console.wait_for(r"^GUEST .*blk=\w+:64MiB net=- cd=- rng=-")
    assert 0 == reconvirt.apply()["calls"]["writing"]


def test_a_disk_to_boot_from_is_plugged_in_and_its_order_waits(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """libvirt lets no other order stand beside the one it has added to what was started."""
    name = unique_name("book")
    desired.manifest(name)
    reconvirt.apply()
    ordered = disk(host.image(f"{name}-a", "17M"), "vda") | {"boot": {"order": 1}}

    desired.manifest(name, devices={"disks": [ordered]})
    reconvirt.apply(status=3)

    waiting = reconvirt.plan(status=2)["virtualServers"][0]["waiting"]
    assert ["devices.disks[vda].boot.order"] == [each["field"] for each in waiting]
    host.console(name).wait_for("^GUEST .*blk=vda:17MiB")

    host.virsh("destroy", name)
    reconvirt.apply()

    assert [] == reconvirt.plan()["virtualServers"][0]["waiting"]
    assert "1" == stored(host, name).find("devices/disk/boot").get("order")
