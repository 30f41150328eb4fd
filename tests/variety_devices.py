"""The devices of domains that are made at random: each function adds some of one kind."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from lxml import etree
from lxml.builder import E

Made: TypeAlias = Iterable[etree._Element]


@dataclass(slots=True)
class Taken:
    """What is taken already in a domain that is being made.

    Attributes:
        dice: chooses.
        kind: of the machine.
        name: the domain's.
        iothreads: how many there are.
        ordered: whether devices say in which order they are booted from.
    """

    dice: random.Random
    kind: str
    name: str
    iothreads: int
    ordered: bool
    _orders: int = 0
    _devices: int = 0
    _letters: dict[str, int] = field(default_factory=dict)

    def chance(self, likely: float) -> bool:
        """Whether something shall be."""
        return self.dice.random() < likely

    def mac(self) -> str:
        """A MAC address."""
        return "52:54:00:" + ":".join(f"{self.dice.randrange(256):02x}" for _ in range(3))

    def target(self, prefix: str) -> str:
        """A free name for a disk, at times with a gap before it."""
        number = self._letters.get(prefix, 0) + self.dice.choice([0, 0, 0, 1])
        self._letters[prefix] = number + 1
        return prefix + chr(ord("a") + number)

    def finish(self, device: etree._Element, *, bootable: bool = False) -> etree._Element:
        """Perhaps a boot order, an alias, or a channel address."""
        self._devices += 1
        if bootable and self.ordered and self.chance(0.5):
            self._orders += 1
            device.append(E.boot(order=str(self._orders)))
        if self.chance(0.2):
            device.append(E.alias(name=f"ua-{device.tag}-{self._devices}"))
        return device

    def addressed(self, device: etree._Element) -> etree._Element:
        """Perhaps an address of the device's own on s390x."""
        if self.kind == "s390x" and self.chance(0.4):
            devno = f"0x{0x1000 + self._devices:04x}"
            device.append(E.address(type="ccw", cssid="0xfe", ssid="0x0", devno=devno))
        return device


_BUSES = {
    "s390x": ("virtio", "virtio", "scsi"),
    "pc": ("virtio", "scsi", "ide", "usb"),
    "q35": ("virtio", "scsi", "sata", "usb"),
    "virt": ("virtio", "scsi", "usb"),
}
_PREFIXES = {"virtio": "vd", "scsi": "sd", "ide": "hd", "sata": "sd", "usb": "sd"}
_MOST = {"ide": 2, "sata": 3}


def _disks(taken: Taken) -> Made:
    dice = taken.dice
    count: dict[str, int] = {}
    for _ in range(dice.randint(0, 6)):
        bus = dice.choice(_BUSES[taken.kind])
        count[bus] = count.get(bus, 0) + 1
        if count[bus] > _MOST.get(bus, 9):
            continue
        yield _disk(taken, bus)


def _disk(taken: Taken, bus: str) -> etree._Element:
    dice = taken.dice
    kind = dice.choice(["file", "file", "block", "volume", "network"])
    device = "disk" if bus == "virtio" or taken.chance(0.7) else "cdrom"
    target = taken.target(_PREFIXES[bus])
    disk = E.disk(_driver(taken, kind, bus), type=kind, device=device)
    if not (device == "cdrom" and kind != "network" and taken.chance(0.4)):
        disk.append(_source(taken, kind, target))
    disk.append(E.target(dev=target, bus=bus))
    if device == "cdrom" or (bus in ("virtio", "scsi", "usb") and taken.chance(0.2)):
        disk.append(E.readonly())
    if device == "disk" and taken.chance(0.3):
        disk.append(E.serial(f"S-{target}"))
    if taken.chance(0.2):
        disk.append(E.iotune(E.total_bytes_sec("10000000"), E.read_iops_sec("400")))
    if device == "disk" and taken.chance(0.15):
        disk.append(E.blockio(logical_block_size="512", physical_block_size="4096"))
    taken.finish(disk, bootable=True)
    return taken.addressed(disk) if bus == "virtio" else disk


def _driver(taken: Taken, kind: str, bus: str) -> etree._Element:
    dice = taken.dice
    driver = E.driver(name="qemu", type="raw" if kind == "block" else dice.choice(["raw", "qcow2"]))
    if taken.chance(0.5):
        driver.set("cache", dice.choice(["none", "writeback", "unsafe"]))
    if taken.chance(0.3):
        driver.set("discard", "unmap")
    if bus == "virtio" and taken.iothreads and taken.chance(0.5):
        driver.set("iothread", str(dice.randint(1, taken.iothreads)))
    return driver


def _source(taken: Taken, kind: str, target: str) -> etree._Element:
    dice, name = taken.dice, f"{taken.name}-{target}"
    match kind:
        case "file":
            return E.source(file=f"/srv/images/{name}.img")
        case "block":
            return E.source(dev=f"/dev/mapper/{name}")
        case "volume":
            return E.source(pool="default", volume=name)
    if dice.random() < 0.5:
        return E.source(
            E.host(name="storage1", port="3260"), protocol="iscsi", name=f"iqn.x:{name}/1"
        )
    hosts = [E.host(name=f"ceph{number}", port="6789") for number in range(dice.randint(1, 3))]
    return E.source(*hosts, protocol="rbd", name=f"pool/{name}")


_MODELS = {
    "s390x": ("virtio",),
    "pc": ("virtio", "e1000", "rtl8139"),
    "q35": ("virtio", "e1000e", "e1000"),
    "virt": ("virtio", "e1000"),
}


def _interfaces(taken: Taken) -> Made:
    dice = taken.dice
    for _ in range(dice.randint(0, 4)):
        kind = dice.choice(["bridge", "direct", "network", "user", "ethernet", "openvswitch"])
        interface = E.interface(type="bridge" if kind == "openvswitch" else kind)
        if taken.chance(0.7):
            interface.append(E.mac(address=taken.mac()))
        source = {
            "bridge": {"bridge": "br0"},
            "openvswitch": {"bridge": "ovs0"},
            "direct": {"dev": "eth0", "mode": dice.choice(["bridge", "vepa", "private"])},
            "network": {"network": "default"},
        }.get(kind)
        if source is not None:
            interface.append(E.source(**source))
        if kind == "openvswitch":
            interface.append(E.virtualport(type="openvswitch"))
            if taken.chance(0.5):
                interface.append(E.vlan(E.tag(id="42")))
        model = dice.choice(_MODELS[taken.kind])
        interface.append(E.model(type=model))
        if model == "virtio" and taken.chance(0.4):
            interface.append(E.driver(name="vhost", queues="2"))
        if taken.chance(0.3):
            interface.append(E.link(state=dice.choice(["up", "down"])))
        if kind == "bridge" and taken.chance(0.3):
            interface.append(
                E.bandwidth(E.inbound(average="1000", peak="2000"), E.outbound(average="500"))
            )
        if kind in ("bridge", "openvswitch", "network") and taken.chance(0.2):
            interface.append(E.mtu(size="9000"))
        taken.finish(interface, bootable=True)
        yield taken.addressed(interface) if model == "virtio" else interface


def _scsi_controllers(taken: Taken) -> Made:
    for index in range(taken.dice.choice([0, 0, 1, 2])):
        controller = E.controller(type="scsi", index=str(index), model="virtio-scsi")
        if taken.chance(0.5):
            controller.append(E.driver(queues="4"))
        yield taken.addressed(taken.finish(controller))


def _companions(taken: Taken) -> Made:
    """USB controllers: one of USB 2 with its companions, or one of USB 3, or none."""
    choice = taken.dice.choice(["ich9", "xhci", "none", "default"])
    if choice == "ich9":
        yield E.controller(type="usb", index="0", model="ich9-ehci1")
        for number in range(3):
            yield E.controller(
                E.master(startport=str(2 * number)),
                type="usb",
                index="0",
                model=f"ich9-uhci{number + 1}",
            )
    elif choice == "xhci":
        yield E.controller(type="usb", index="0", model="qemu-xhci", ports="15")


def _xhci(_taken: Taken) -> Made:
    yield E.controller(type="usb", index="0", model="qemu-xhci")


def _root_ports(taken: Taken) -> Made:
    ports = taken.dice.choice([0, 0, 3])
    if ports:
        yield E.controller(type="pci", index="0", model="pcie-root")
    for _ in range(ports):
        yield E.controller(type="pci", model="pcie-root-port")


def _pc_serials(taken: Taken) -> Made:
    dice = taken.dice
    for number in range(dice.randint(0, 3)):
        kind = dice.choice(["pty", "file", "null", "unix", "tcp"])
        serial = E.serial(type=kind)
        if kind == "file":
            serial.append(E.source(path=f"/var/log/{taken.name}-{number}.log"))
        elif kind == "unix":
            serial.append(E.source(path=f"/run/{taken.name}-{number}.sock", mode="bind"))
        elif kind == "tcp":
            serial.append(E.source(mode="bind", host="127.0.0.1", service=str(4555 + number)))
            serial.append(E.protocol(type="telnet"))
        serial.append(E.target(port=str(number)))
        yield taken.finish(serial)
    if taken.chance(0.2):
        yield E.parallel(E.target(port="0"), type="pty")


def _s390_consoles(taken: Taken) -> Made:
    for target in taken.dice.sample(["sclp", "virtio", "sclplm"], taken.dice.randint(0, 3)):
        console = E.console(E.target(type=target), type="pty")
        if taken.chance(0.4):
            console.append(E.log(file=f"/var/log/{taken.name}-{target}.log", append="on"))
        yield console


def _channels(taken: Taken) -> Made:
    names = ["org.qemu.guest_agent.0", "org.example.agent.1", "com.example.two"]
    for name in taken.dice.sample(names, taken.dice.randint(0, 3)):
        channel = E.channel(E.target(type="virtio", name=name), type="unix")
        if taken.chance(0.4):
            channel.insert(0, E.source(mode="bind", path=f"/run/{taken.name}-{name}.sock"))
        yield taken.finish(channel)


def _host_devices(taken: Taken) -> Made:
    dice = taken.dice
    kinds = ["scsi"] + ([] if taken.kind == "s390x" else ["pci", "usb", "mdev"])
    for number in range(dice.randint(0, 3)):
        kind = dice.choice(kinds)
        device = E.hostdev(mode="subsystem", type=kind)
        match kind:
            case "scsi":
                address = E.address(bus="0", target=str(number), unit=str(dice.randint(0, 9)))
                device.append(E.source(E.adapter(name=f"scsi_host{number}"), address))
            case "pci":
                place = {"domain": "0x0000", "bus": f"0x{number + 5:02x}", "slot": "0x1f"}
                device.set("managed", dice.choice(["yes", "no"]))
                device.append(E.source(E.address(**place, function="0x2")))
            case "usb":
                product = f"0x{number:04x}"
                device.append(E.source(E.vendor(id="0x1234"), E.product(id=product)))
            case "mdev":
                device.set("model", "vfio-pci")
                name = str(uuid.UUID(int=dice.getrandbits(128), version=4))
                device.append(E.source(E.address(uuid=name)))
        yield taken.finish(device)


def _screen(taken: Taken) -> Made:
    if taken.chance(0.5):
        return
    graphics = E.graphics(type="vnc", port="-1", autoport="yes")
    if taken.chance(0.5):
        graphics.append(E.listen(type="address", address="0.0.0.0"))
    yield graphics
    models = {"s390x": ["virtio"], "virt": ["virtio"]}.get(taken.kind, ["vga", "qxl", "cirrus"])
    for number in range(taken.dice.randint(0, 1)):
        video = E.video(E.model(type=taken.dice.choice(models), heads="1"))
        yield video if number else taken.finish(video)
    if taken.chance(0.5):
        bus = "virtio" if taken.kind == "s390x" else taken.dice.choice(["usb", "virtio"])
        yield taken.finish(E.input(type=taken.dice.choice(["tablet", "keyboard"]), bus=bus))


def _odds(taken: Taken) -> Made:
    for number in range(taken.dice.choice([0, 1, 2])):
        rng = E.rng(
            E.backend(f"/dev/{['urandom', 'random'][number]}", model="random"), model="virtio"
        )
        if taken.chance(0.4):
            rng.insert(0, E.rate(bytes="1024", period="1000"))
        yield taken.addressed(taken.finish(rng))
    if taken.chance(0.4):
        balloon = E.memballoon(model=taken.dice.choice(["none", "virtio"]))
        if balloon.get("model") == "virtio" and taken.chance(0.5):
            balloon.set("autodeflate", "on")
            balloon.append(E.stats(period="10"))
        yield balloon
    if taken.chance(0.2):
        yield taken.finish(E.vsock(E.cid(auto="no", address="4"), model="virtio"))
    if taken.chance(0.4) and taken.kind != "virt":
        model = "diag288" if taken.kind == "s390x" else taken.dice.choice(["i6300esb", "ib700"])
        action = taken.dice.choice(["reset", "poweroff", "inject-nmi"])
        yield taken.finish(E.watchdog(model=model, action=action))


def _pc_odds(taken: Taken) -> Made:
    if taken.chance(0.3):
        yield E.sound(model=taken.dice.choice(["ich6", "ac97", "ich9"]))
    if taken.chance(0.2):
        yield E.panic(model="isa")
    if taken.chance(0.2):
        yield E.tpm(E.backend(type="emulator", version="2.0"), model="tpm-tis")
    if taken.chance(0.2):
        yield E.shmem(E.model(type="ivshmem-plain"), E.size("4", unit="M"), name="shared")


Maker: TypeAlias = Callable[[Taken], Made]
_EVERYWHERE: tuple[Maker, ...] = (
    *(_disks, _interfaces, _scsi_controllers, _channels, _host_devices, _screen, _odds),
)
DEVICES: Mapping[str, tuple[Maker, ...]] = {
    "s390x": (*_EVERYWHERE, _s390_consoles),
    "pc": (*_EVERYWHERE, _companions, _pc_serials, _pc_odds),
    "q35": (*_EVERYWHERE, _companions, _pc_serials, _pc_odds, _root_ports),
    "virt": (*_EVERYWHERE, _xhci, _root_ports),
}
