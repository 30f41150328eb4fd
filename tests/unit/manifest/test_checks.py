"""What does not fit together in a manifest, told with its place."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconvirt.domain.desired import desire
from reconvirt.domain.devices import DEVICES
from reconvirt.domain.fields import FIELDS
from reconvirt.domain.plan import make_plan
from reconvirt.manifest.load import load_file
from reconvirt.manifest.model import FileResult, SourceFile
from strategies import few, nest
from virtual_servers import OS, devices, disk, nic, spec

Spec = dict[str, Any]
DISK, NIC = "spec.devices.disks[0]", "spec.devices.interfaces[0]"
HOSTDEV = "spec.devices.hostdevs[0]"
QCOW2 = {"type": "qcow2"}
BACKING = {"file": "/base", "format": "raw"}


def load(of: Spec) -> FileResult:
    """What a file with one manifest says."""
    document = {
        "apiVersion": "reconvirt/v1",
        "kind": "VirtualServer",
        "metadata": {"name": "a"},
        "spec": of,
    }
    return load_file(SourceFile("f.yaml", yaml.safe_dump(document).encode()))


def problems(of: Spec) -> list[str]:
    """What is wrong with it, without the positions."""
    return [str(each).partition(": ")[2] for each in load(of).problems]


def image(**create: Any) -> Spec:
    """A virtual server with a disk whose image is to be made."""
    return devices(disks=[disk("a", driver=QCOW2, create=create)])


def host_device(**values: Any) -> Spec:
    """A virtual server with a host device."""
    return devices(hostdevs=[values])


def scsi(**source: Any) -> Spec:
    """A virtual server with a SCSI host device."""
    return host_device(type="scsi", source=source)


STABLE = {"device": "0.0.1900", "wwpn": "0x500507630300c562", "lun": "0x401040a000000000"}
FOUND = {"adapter": {"name": "scsi_host0"}, "address": {"target": 1, "unit": 2}}


@pytest.mark.parametrize(
    ("of", "problem"),
    [
        (spec(memory={"size": "0 KiB"}), "spec.memory.size: 0 KiB is out of range; allowed: 1 KiB"),
        (spec(currentMemory="9 EiB"), "spec.currentMemory: 9 EiB is out of range; allowed: 1 KiB"),
        (spec(memtune={"hard_limit": "0 b"}), "spec.memtune.hard_limit: 0 b is out of range"),
        (
            spec(vcpu={"maximum": 1, "cpuset": "99999"}),
            "spec.vcpu.cpuset: 99999 is no set of CPUs, or an empty one; allowed: such as 0-3,8",
        ),
        (spec(vcpu={"maximum": 1, "cpuset": "5-3"}), "spec.vcpu.cpuset: 5-3 is no set of CPUs"),
        (spec(vcpu={"maximum": 1, "cpuset": "1,^1"}), "spec.vcpu.cpuset: 1,^1 is no set of"),
        (spec(os=OS | {"kernel": "/k", "cmdline": " \n"}), "spec.os.cmdline: it is empty"),
        (spec(os=OS | {"cmdline": "x"}), "spec.os.cmdline: it needs spec.os.kernel beside it"),
        (spec(os=OS | {"boot": []}), "spec.os.boot: it is empty"),
        (
            devices(interfaces=[nic(boot={"order": 1})]) | {"os": OS | {"boot": ["hd"]}},
            f"{NIC}.boot.order: it cannot stand beside spec.os.boot; allowed: one of the two",
        ),
        (
            spec(iothreads=2, iothreadids=[1, 2, 3]),
            "spec.iothreads: spec.iothreadids lists 3; allowed: 3",
        ),
        (
            devices(disks=[disk("a", driver={"type": "raw", "iothread": 3})])
            | {"iothreadids": [2, 4]},
            f"{DISK}.driver.iothread: there is no I/O thread 3: spec.iothreads is 0; allowed: 2, 4",
        ),
        (
            devices(controllers=[{"type": "scsi", "driver": {"iothread": 2}}]) | {"iothreads": 1},
            (
                "spec.devices.controllers[0].driver.iothread: there is no I/O thread 2: "
                "spec.iothreads is 1; allowed: 1 to 1"
            ),
        ),
        (image(), "spec.devices.disks[0].create: size must be stated"),
        (image(size="0 b"), f"{DISK}.create.size: 0 b is out of range"),
        (
            image(size="1 GiB", format="raw"),
            (
                f"{DISK}.create.format: driver.type says qcow2: an image is used in the format it is "
                "made in; allowed: qcow2"
            ),
        ),
        (image(backing={"file": "/b"}), f"{DISK}.create.backing: format must be stated"),
        (image(backing={"format": "raw"}), f"{DISK}.create.backing: file must be stated"),
        (
            devices(disks=[disk("a", create={"backing": BACKING})]),
            f"{DISK}.create.backing: only qcow2 images have a backing file",
        ),
        (
            devices(
                disks=[disk("a", type="block", source={"dev": "/d"}, create={"size": "1 GiB"})]
            ),
            f"{DISK}.create: only image files of disks can be made; allowed: type: file",
        ),
        (
            devices(disks=[disk("a", device="cdrom", create={"size": "1 GiB"})]),
            f"{DISK}.create: only image files of disks can be made",
        ),
        (
            devices(interfaces=[nic(source={})]),
            f"{NIC}: an interface of the type bridge needs source.bridge",
        ),
        (
            devices(interfaces=[nic(type="user")]),
            (
                f"{NIC}.source.bridge: an interface of the type user has no source.bridge; "
                "allowed: nothing"
            ),
        ),
        (
            devices(interfaces=[nic(type="direct", source={"dev": "e", "network": "n"})]),
            (
                f"{NIC}.source.network: an interface of the type direct has no source.network; "
                "allowed: dev"
            ),
        ),
        (
            scsi(device="0.0.1900", lun=STABLE["lun"]),
            f"{HOSTDEV}.source: device, wwpn and lun name a SCSI device together",
        ),
        (
            scsi(**STABLE, **FOUND),
            f"{HOSTDEV}.source: name it by device, wwpn and lun, or by adapter and address",
        ),
        (
            scsi(adapter={"name": "scsi_host0"}, address={"target": 1}),
            (
                f"{HOSTDEV}.source: it needs adapter.name, address.target and address.unit, "
                "or what is stable: device, wwpn and lun"
            ),
        ),
        (host_device(type="pci"), f"{HOSTDEV}.source: it needs address.bus, .slot and .function"),
        (
            host_device(type="usb", source={"vendor": {"id": "0x04b9"}}),
            f"{HOSTDEV}.source: it needs vendor.id and product.id, or address.bus and .device",
        ),
        (
            host_device(type="mdev", source={"address": {"uuid": "a" * 36}}),
            f"{HOSTDEV}: it needs model and source.address.uuid",
        ),
        (
            devices(controllers=[{"type": "scsi"}, {"type": "scsi", "index": 0}]),
            (
                "spec.devices.controllers[1].index: scsi 0 stands at "
                "spec.devices.controllers[0].index already; allowed: each only once"
            ),
        ),
        (
            devices(
                disks=[disk("a", address={"type": "ccw", "devno": 7})],
                controllers=[{"type": "scsi", "address": {"type": "ccw", "devno": 7}}],
            ),
            (
                "spec.devices.disks[0].address.devno: fe.0.0007 stands at "
                "spec.devices.controllers[0].address.devno"
            ),
        ),
        (
            devices(disks=[disk("a", boot={"order": 1})], interfaces=[nic(boot={"order": 1})]),
            f"{NIC}.boot.order: 1 stands at {DISK}.boot.order already",
        ),
        (spec(xml="<domain>"), "spec.xml: not XML: "),
        (spec(xml="no xml"), "spec.xml: not XML: "),
        (spec(xml="<cpu/>"), "spec.xml: its outermost element is cpu; allowed: <domain>"),
        (
            spec(xml="<domain type='kvm'/>"),
            "spec.xml: <domain> has attributes: type; allowed: spec.type",
        ),
        (
            spec(xml="<domain><name>x</name></domain>"),
            "spec.xml: <name> cannot be stated here; allowed: metadata.name",
        ),
        (
            spec(xml="<domain><uuid/></domain>"),
            "spec.xml: <uuid> cannot be stated here; allowed: metadata.uuid",
        ),
        (spec(xml="<domain><metadata/></domain>"), "spec.xml: <metadata> cannot be stated here"),
        (
            spec(xml="<!DOCTYPE x [<!ENTITY e SYSTEM '/etc/passwd'>]><domain>&e;</domain>"),
            "spec.xml: it must not declare a document type",
        ),
    ],
)
def test_what_does_not_fit_together(of: Spec, problem: str) -> None:
    """The field, what is wrong, and what is allowed."""
    assert problem == problems(of)[0][: len(problem)]


@pytest.mark.parametrize(
    "of",
    [
        spec(vcpu={"maximum": 2, "cpuset": "0-3,^2,8"}),
        spec(iothreads=2, iothreadids=[5, 9]),
        spec(iothreadids=[]),
        devices(disks=[disk("a", driver={"type": "raw", "iothread": 4})]) | {"iothreadids": [4]},
        image(size="1 GiB", format="qcow2", preallocation="falloc"),
        image(backing=BACKING),
        devices(disks=[disk("a", device="cdrom", source={})]),
        devices(disks=[disk("a", device="floppy", type="block", source={})]),
        devices(interfaces=[{"type": "user"}]),
        devices(interfaces=[{"type": "ethernet", "target": {"dev": "tap0"}}]),
        devices(interfaces=[nic(), {"type": "user"}]),
        scsi(**STABLE),
        scsi(**FOUND),
        host_device(type="pci", source={"address": {"bus": 1}}),
        host_device(type="usb", source={"address": {"bus": 1, "device": 2}}),
        devices(controllers=[{"type": "usb"}, {"type": "usb"}]),
        spec(xml="<domain><!-- c --><cpu/></domain>"),
        spec(xml="<domain/>"),
    ],
)
def test_what_fits_together(of: Spec) -> None:
    """Nothing is said."""
    assert [] == problems(of)


def test_the_line_is_told_where_it_stands() -> None:
    """So that an editor can go there."""
    result = load(devices(disks=[disk("a"), disk("b", type="block")]))

    [wrong, _missing] = result.problems
    assert "spec.devices.disks[1].source.file" == wrong.field
    assert 1 < wrong.position.line


@st.composite
def anything(draw: st.DrawFn) -> Spec:
    """A ``spec`` of values that the schema allows, however little they fit together."""
    values: Spec = nest(FIELDS, draw(few(FIELDS, most=8)))
    kinds = draw(st.lists(st.sampled_from(DEVICES), max_size=3, unique_by=id))
    for kind in kinds:
        listed = [
            nest(kind.fields, each)
            for each in draw(st.lists(few(kind.fields, most=8), min_size=1, max_size=2))
        ]
        values.setdefault(kind.where, {})[kind.name] = listed[0] if kind.single else listed
    return values | draw(
        st.fixed_dictionaries(
            {}, optional={"xml": st.sampled_from(["<domain/>", "<x/>", "<", "x"])}
        )
    )


@given(anything())
def test_what_is_taken_can_be_planned(of: Spec) -> None:
    """Whatever the schema allows is told as a problem, or leads to a plan."""
    result = load(of)

    assert bool(result.problems) is not bool(result.manifests)
    for manifest in result.manifests:
        assert make_plan(desire(manifest), None).name == "a"
