"""Domains of great variety, made at random from a seed, such as other programs would define."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from lxml import etree
from lxml.builder import E

from variety_devices import DEVICES, Taken


@dataclass(frozen=True, slots=True)
class Machine:
    """A kind of machine.

    Attributes:
        arch: its architecture.
        machine: its type, as libvirt knows it.
        emulator: the program that builds it.
    """

    arch: str
    machine: str
    emulator: str


MACHINES = {
    "s390x": Machine("s390x", "s390-ccw-virtio", "/usr/bin/qemu-system-s390x"),
    "pc": Machine("x86_64", "pc", "/usr/bin/qemu-system-x86_64"),
    "q35": Machine("x86_64", "q35", "/usr/bin/qemu-system-x86_64"),
    "virt": Machine("aarch64", "virt", "/usr/bin/qemu-system-aarch64"),
}

_QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"


def make_domain(name: str, kind: str, seed: int) -> str:
    """The XML of a domain on a machine of this kind; the same for the same seed."""
    return _Maker(name, kind, random.Random(f"{kind} {seed}")).make()


@dataclass(slots=True)
class _Maker:
    name: str
    kind: str
    dice: random.Random
    vcpus: int = field(init=False, default=1)

    def make(self) -> str:
        machine, dice = MACHINES[self.kind], self.dice
        self.vcpus = dice.choice([1, 2, 4, 8])
        root = etree.Element("domain", type="qemu", nsmap={"qemu": _QEMU})
        root.append(E.name(self.name))
        root.append(E.uuid(str(uuid.UUID(int=dice.getrandbits(128), version=4))))
        system = E.os(E.type("hvm", arch=machine.arch, machine=machine.machine))
        root.append(system)
        threads = dice.choice([0, 0, 1, 3])
        taken = Taken(dice, self.kind, self.name, threads, ordered=dice.random() < 0.5)
        devices = E.devices()
        for make in DEVICES[self.kind]:
            devices.extend(make(taken))
        if not taken.ordered:
            self._boot(system)
        if threads:
            root.append(E.iothreads(str(threads)))
        for make in _SOME:
            if dice.random() < 0.35:
                root.extend(make(self))
        root.extend(self._always())
        root.append(devices)
        if dice.random() < 0.25:
            argument = etree.SubElement(root, f"{{{_QEMU}}}commandline")
            etree.SubElement(argument, f"{{{_QEMU}}}arg", value="-never-run")
        return etree.tostring(root, encoding="unicode")

    def _always(self) -> Iterable[etree._Element]:
        current = self.dice.randint(1, self.vcpus)
        vcpu = E.vcpu(str(self.vcpus))
        if current != self.vcpus:
            vcpu.set("current", str(current))
        yield vcpu
        size = self.dice.choice([65536, 131072, 262144, 300000])
        yield E.memory(str(size), unit="KiB")
        if self.dice.random() < 0.3:
            yield E.currentMemory(str(size - 4096), unit="KiB")

    def _boot(self, system: etree._Element) -> None:
        for dev in self.dice.sample(["hd", "network", "cdrom"], self.dice.randint(0, 2)):
            system.append(E.boot(dev=dev))
        if self.dice.random() < 0.3:
            system.append(E.kernel("/boot/vmlinuz"))
            system.append(E.initrd("/boot/initrd"))
            system.append(E.cmdline("root=/dev/vda1  quiet 'a b'"))


def _texts(maker: _Maker) -> Iterable[etree._Element]:
    yield E.title(maker.dice.choice(["Accounting", "ö & <ü>", "web  server"]))
    yield E.description(maker.dice.choice(["one line", "two\nlines", " a blank before"]))


def _metadata(maker: _Maker) -> Iterable[etree._Element]:
    root = E.metadata()
    for number in range(maker.dice.randint(1, 3)):
        space = f"http://example.org/program/{number}"
        top = etree.SubElement(root, f"{{{space}}}instance", nsmap={f"p{number}": space})
        etree.SubElement(top, f"{{{space}}}owner", id=str(number)).text = "somebody & others"
        etree.SubElement(top, f"{{{space}}}empty")
    yield root


def _seclabels(maker: _Maker) -> Iterable[etree._Element]:
    yield E.seclabel(type="none", model="none")
    if maker.dice.random() < 0.5:
        yield E.seclabel(
            E.label("+107:+107"),
            type="static",
            model="dac",
            relabel=maker.dice.choice(["yes", "no"]),
        )


def _processor(maker: _Maker) -> Iterable[etree._Element]:
    if maker.vcpus < 4 or maker.kind == "s390x":
        return
    count = str(maker.vcpus // 4)
    cpu = E.cpu(E.topology(sockets=count, dies="1", cores="2", threads="2"))
    if maker.kind in ("pc", "q35"):
        cpu.set("mode", "custom")
        cpu.set("match", "exact")
        cpu.insert(0, E.model("qemu64", fallback="allow"))
        cpu.append(E.feature(policy="disable", name="svm"))
        if maker.dice.random() < 0.5:
            cpu.append(E.feature(policy="require", name="aes"))
    yield cpu


def _tuning(maker: _Maker) -> Iterable[etree._Element]:
    tune = E.cputune(E.shares(str(maker.dice.choice([2, 1024, 77777]))))
    if maker.dice.random() < 0.5:
        tune.append(E.vcpupin(vcpu="0", cpuset="0-1,^1"))
        tune.append(E.emulatorpin(cpuset="0"))
        tune.append(E.period("100000"))
        tune.append(E.quota("-1"))
    yield tune
    yield E.memtune(E.hard_limit("2", unit="GiB"), E.soft_limit("1", unit="GiB"))
    yield E.blkiotune(E.weight("500"))


def _backing(maker: _Maker) -> Iterable[etree._Element]:
    yield E.memoryBacking(E.source(type="memfd"), E.access(mode="shared"))
    yield E.numatune(E.memory(mode=maker.dice.choice(["preferred", "strict"]), nodeset="0"))
    yield E.resource(E.partition("/machine"))


def _features(maker: _Maker) -> Iterable[etree._Element]:
    dice, features = maker.dice, E.features()
    if maker.kind in ("pc", "q35"):
        for tag in dice.sample(["acpi", "apic", "pae"], dice.randint(0, 3)):
            features.append(etree.Element(tag))
        if dice.random() < 0.5:
            features.append(E.vmport(state=dice.choice(["on", "off"])))
            features.append(
                E.hyperv(
                    E.relaxed(state="on"), E.spinlocks(state="on", retries="8191"), mode="custom"
                )
            )
        if dice.random() < 0.5:
            features.append(E.kvm(E.hidden(state="on")))
            features.append(E.pmu(state="off"))
    elif maker.kind == "virt":
        features.append(E.gic(version="2"))
    if len(features):
        yield features


def _clock(maker: _Maker) -> Iterable[etree._Element]:
    offset = maker.dice.choice(["utc", "localtime", "timezone", "variable"])
    clock = E.clock(offset=offset)
    if offset == "timezone":
        clock.set("timezone", "Europe/Berlin")
    if offset == "variable":
        clock.attrib.update({"adjustment": "-3600", "basis": "utc"})
    if maker.kind in ("pc", "q35"):
        clock.append(E.timer(name="rtc", tickpolicy="catchup"))
        clock.append(E.timer(name="pit", tickpolicy="delay"))
        clock.append(E.timer(name="hpet", present="no"))
    yield clock


def _reactions(maker: _Maker) -> Iterable[etree._Element]:
    poweroff, reboot = maker.dice.choice(
        [("destroy", "restart"), ("destroy", "destroy"), ("restart", "restart")]
    )
    yield E.on_poweroff(poweroff)
    yield E.on_reboot(reboot)
    yield E.on_crash(maker.dice.choice(["destroy", "preserve", "coredump-restart"]))
    if maker.kind in ("pc", "q35"):
        yield E.pm(etree.Element("suspend-to-mem", enabled="no"))


def _tables(maker: _Maker) -> Iterable[etree._Element]:
    if maker.kind not in ("pc", "q35"):
        return
    yield E.sysinfo(
        E.bios(E.entry("A maker", name="vendor")),
        E.system(E.entry("One", name="product"), E.entry("0.1", name="version")),
        type="smbios",
    )
    yield E.sysinfo(E.entry("a value", name="opt/org.example/name"), type="fwcfg")


def _keys(maker: _Maker) -> Iterable[etree._Element]:
    if maker.kind == "s390x":
        yield E.keywrap(E.cipher(name="aes", state="off"), E.cipher(name="dea", state="on"))


_SOME: tuple[Callable[[_Maker], Iterable[etree._Element]], ...] = (
    *(_texts, _metadata, _seclabels, _processor, _tuning, _backing),
    *(_features, _clock, _reactions, _tables, _keys),
)
