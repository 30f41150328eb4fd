"""What a host lets manifests ask for: each rule with what it forbids."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconvirt.domain.admission import Admission, Resolved, admit
from reconvirt.domain.changes import Change
from reconvirt.domain.paths import Purpose
from reconvirt.domain.plan import Host, make_plan
from reconvirt.domain.rules import HostRules
from strategies import wanted

ROOTS = {
    Purpose.DISK: ("/images", "/dev/mapper"),
    Purpose.BOOT: ("/boot",),
    Purpose.LOG: ("/logs",),
    Purpose.DUMP: ("/dumps",),
    Purpose.SOCKET: ("/sockets",),
    Purpose.DEVICE: ("/dev/random",),
}
OS = {"arch": "s390x", "machine": "s390-ccw-virtio"}
HOST = Admission(
    ROOTS,
    formats=("raw", "qcow2"),
    emulators=("/usr/bin/qemu-system-*",),
    bridges=("br*",),
    networks=("default",),
    network_devices=("enc1",),
    host_devices=("scsi:*", "mdev:11111111-*"),
    refused_elements=("seclabel", "devices/redirdev"),
    max_vcpus=8,
    max_memory=4 * 1024**2,
)


def disk(source: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "file",
        "driver": {"type": "raw"},
        "source": {"file": source},
        "target": {"dev": "vda"},
    } | more


def objections(admission: Admission = HOST, **more: Any) -> list[Change]:
    spec = {"memory": "1 GiB", "vcpu": 2, "os": OS} | more
    return list(admit(wanted(spec), admission))


def objections_to_xml(fragment: str, admission: Admission = HOST) -> list[Change]:
    return objections(admission, xml=f"<domain>{fragment}</domain>")


def one(found: list[Change]) -> str:
    (change,) = found
    return f"{change.field}: {change.new}: {change.reason}"


def device(**devices: Any) -> dict[str, Any]:
    return {"devices": devices}


def test_what_is_allowed_is_not_objected_to() -> None:
    """A virtual server with one of everything."""
    spec = device(
        emulator="/usr/bin/qemu-system-s390x",
        disks=[
            disk("/images/a.img"),
            disk("/images/deep/b.img", target={"dev": "vdb"}),
            {
                "type": "block",
                "driver": {"type": "raw"},
                "source": {"dev": "/dev/mapper/x"},
                "target": {"dev": "vdc"},
            },
            {
                "type": "file",
                "device": "cdrom",
                "driver": {"type": "raw"},
                "target": {"dev": "sda"},
            },
        ],
        interfaces=[
            {"type": "bridge", "source": {"bridge": "br0"}, "mac": {"address": "52:54:00:0:0:1"}}
        ],
        consoles=[{"type": "pty", "target": {"type": "sclp"}, "log": {"file": "/logs/a.log"}}],
        rngs=[{"backend": {"source": "/dev/random"}}],
    )
    os = {**OS, "kernel": "/boot/vmlinuz", "initrd": "/boot/initrd", "cmdline": "/not/a/path"}
    del spec["devices"]["interfaces"][0]["mac"]

    assert [] == objections(**spec, os=os)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            device(disks=[disk("/etc/shadow")]),
            (
                "spec.devices.disks[vda].source.file: /etc/shadow: it is in none of /images, "
                "/dev/mapper (admission.disk_roots)"
            ),
        ),
        (
            device(disks=[disk("/imagesX/a.img")]),
            "spec.devices.disks[vda].source.file: /imagesX/a.img: it is in none of",
        ),
        (
            device(disks=[disk("/images/../etc/shadow")]),
            "spec.devices.disks[vda].source.file: /images/../etc/shadow: it must not lead upwards",
        ),
        (
            device(
                disks=[
                    disk(
                        "/images/a.img",
                        driver={"type": "qcow2"},
                        create={"backing": {"file": "/etc/shadow", "format": "raw"}},
                    )
                ]
            ),
            "spec.devices.disks[vda].create.backing.file: /etc/shadow: it is in none of",
        ),
        (
            device(disks=[disk("/images/a.img", driver={"type": "vmdk"})]),
            (
                "spec.devices.disks[vda].driver.type: vmdk: this host allows raw, qcow2 "
                "(admission.disk_formats)"
            ),
        ),
        (
            {"os": {**OS, "kernel": "/images/vmlinuz"}},
            "spec.os.kernel: /images/vmlinuz: it is in none of /boot (admission.boot_roots)",
        ),
        (
            {"os": {**OS, "kernel": "/boot/k", "initrd": "/root/x"}},
            "spec.os.initrd: /root/x: it is in none of /boot (admission.boot_roots)",
        ),
        (
            device(emulator="/tmp/evil"),
            (
                "spec.devices.emulator: /tmp/evil: this host allows /usr/bin/qemu-system-* "
                "(admission.emulators)"
            ),
        ),
        (
            device(emulator="/usr/bin/qemu-system-x/evil"),
            "spec.devices.emulator: /usr/bin/qemu-system-x/evil: this host allows",
        ),
        (
            device(consoles=[{"type": "pty", "log": {"file": "/etc/cron.d/x"}}]),
            "log.file: /etc/cron.d/x: it is in none of /logs (admission.log_roots)",
        ),
        (
            device(serials=[{"type": "file", "source": {"path": "/etc/cron.d/x"}}]),
            "source.path: /etc/cron.d/x: it is in none of /logs (admission.log_roots)",
        ),
        (
            device(rngs=[{"backend": {"source": "/dev/sda"}}]),
            ": /dev/sda: it is in none of /dev/random (admission.device_roots)",
        ),
        (
            device(interfaces=[{"type": "bridge", "source": {"bridge": "virbr0"}}]),
            ".source.bridge: virbr0: this host allows br* (admission.bridges)",
        ),
        (
            device(interfaces=[{"type": "network", "source": {"network": "secret"}}]),
            ".source.network: secret: this host allows default (admission.networks)",
        ),
        (
            device(interfaces=[{"type": "direct", "source": {"dev": "enc2", "mode": "bridge"}}]),
            ".source.dev: enc2: this host allows enc1 (admission.network_devices)",
        ),
        ({"vcpu": 9}, "spec.vcpu.maximum: 9: this host allows 8 vCPUs at most"),
        ({"memory": "5 GiB"}, "spec.memory: 5 GiB: this host allows 4 GiB of memory at most"),
    ],
)
def test_what_is_refused_by_key(spec: dict[str, Any], words: str) -> None:
    """With the field, the value, and the setting that would allow it."""
    assert words in one(objections(**spec))


@pytest.mark.parametrize(
    ("fragment", "words"),
    [
        (
            "<devices><emulator>/bin/sh</emulator></devices>",
            "emulator[1]: /bin/sh: this host allows",
        ),
        ("<seclabel type='none'/>", "seclabel: this host refuses <seclabel>"),
        (
            "<devices><redirdev bus='usb' type='spicevmc'/></devices>",
            "this host refuses <redirdev> (admission.refused_elements)",
        ),
        (
            "<devices><filesystem><source dir='/'/><target dir='/mnt'/></filesystem></devices>",
            "source.dir: /: it is allowed nowhere (admission.share_roots)",
        ),
        (
            "<devices><filesystem><binary path='/bin/sh'/><target dir='x'/></filesystem></devices>",
            "binary.path: /bin/sh: it is allowed nowhere (admission.other_roots)",
        ),
        (
            "<devices><interface type='ethernet'><script path='/x.sh'/></interface></devices>",
            "script.path: /x.sh: it is allowed nowhere (admission.other_roots)",
        ),
        (
            (
                "<devices><hostdev mode='subsystem' type='pci'><source><address domain='0' bus='1' "
                "slot='0' function='0'/></source></hostdev></devices>"
            ),
            "pci:0000:01:00.0: this host allows scsi:*, mdev:11111111-* (admission.host_devices)",
        ),
        (
            (
                "<devices><hostdev mode='subsystem' type='mdev' model='vfio-ap'><source>"
                "<address uuid='22222222-0000-0000-0000-00000000000'/></source></hostdev></devices>"
            ),
            "mdev:22222222-0000-0000-0000-00000000000: this host allows",
        ),
        (
            (
                "<devices><channel type='unix'><source mode='bind' path='/run/x.sock'/></channel>"
                "</devices>"
            ),
            "source.path: /run/x.sock: it is in none of /sockets (admission.socket_roots)",
        ),
        (
            "<devices><graphics type='vnc' socket='/run/x'/></devices>",
            "socket: /run/x: it is in none of /sockets",
        ),
        (
            "<devices><serial><source path='/etc/x'/><target port='0'/></serial></devices>",
            "source.path: /etc/x: it is allowed nowhere (admission.other_roots)",
        ),
        (
            (
                "<devices><disk type='block'><source dev='/dev/sda'/><target dev='vda'/></disk>"
                "</devices>"
            ),
            "source.dev: /dev/sda: it is in none of /images, /dev/mapper",
        ),
        (
            (
                "<devices><disk type='file'><source file='relative.img'/><target dev='vda'/></disk>"
                "</devices>"
            ),
            "source.file: relative.img: it must be an absolute path",
        ),
        (
            (
                "<devices><disk type='file'><target dev='vda'/><backingStore type='file'>"
                "<format type='raw'/><source file='/etc/shadow'/></backingStore></disk></devices>"
            ),
            "backingStore.source.file: /etc/shadow: it is in none of",
        ),
        (
            (
                "<devices><disk type='file'><target dev='vda'/><mirror type='file'>"
                "<source file='/etc/shadow'/></mirror></disk></devices>"
            ),
            "mirror.source.file: /etc/shadow: it is in none of",
        ),
        (
            "<devices><shmem name='x'><server path='/run/y'/></shmem></devices>",
            "server.path: /run/y: it is in none of /sockets",
        ),
        (
            (
                "<devices><memory model='nvdimm'><source><path>/etc/x</path></source></memory>"
                "</devices>"
            ),
            "source.path: /etc/x: it is in none of /images",
        ),
        ("<os><loader>/etc/x</loader></os>", "os.loader: /etc/x: it is in none of /boot"),
        ("<os><nvram template='/etc/x'/></os>", "os.nvram.template: /etc/x: it is in none of"),
        (
            "<sysinfo type='fwcfg'><entry name='opt/x' file='/etc/shadow'/></sysinfo>",
            "entry.file: /etc/shadow: it is allowed nowhere (admission.other_roots)",
        ),
        (
            "<devices><newthing whatever='/etc/shadow'/></devices>",
            "whatever: /etc/shadow: it is allowed nowhere (admission.other_roots)",
        ),
        ("<vcpu>9</vcpu>", "spec.vcpu.maximum: 9: this host allows 8"),
        (
            (
                "<devices><tpm model='tpm-crb'><backend type='passthrough'>"
                "<device path='/dev/sda'/>"
                "</backend></tpm></devices>"
            ),
            "device.path: /dev/sda: it is in none of /dev/random",
        ),
    ],
)
def test_what_is_refused_in_xml(fragment: str, words: str) -> None:
    """Whether there is a key for it or not; what nobody knows is refused, too."""
    found = objections_to_xml(fragment)

    assert any(words in one([each]) for each in found), found


@pytest.mark.parametrize(
    "fragment",
    [
        "<description>/etc/shadow</description>",
        "<devices><console type='pty'><source path='/dev/pts/3'/></console></devices>",
        (
            "<devices><disk type='network'><source protocol='http' name='/x.iso'/>"
            "<target dev='vda'/></disk></devices>"
        ),
        "<resource><partition>/machine</partition></resource>",
    ],
)
def test_what_only_looks_like_a_path(fragment: str) -> None:
    """It is not held against anybody."""
    assert [] == objections_to_xml(fragment)


def test_links_lead_where_the_resolver_says() -> None:
    """And a link below /dev counts as what it is named, if it leads to a device."""
    links = {
        "/images/link.img": Resolved("/images/link.img", "/etc/shadow"),
        "/dev/mapper/x": Resolved("/dev/mapper/x", "/dev/dm-0"),
        "/dev/mapper/y": Resolved("/dev/mapper/y", "/etc/shadow"),
    }
    host = replace(HOST, resolve=lambda path, _form: links.get(path, Resolved(path, path)))

    out = one(objections(host, **device(disks=[disk("/images/link.img")])))
    assert "it leads to /etc/shadow, which is in none of" in out
    assert [] == objections(host, **device(disks=[disk("/dev/mapper/x")]))
    assert 1 == len(objections(host, **device(disks=[disk("/dev/mapper/y")])))


def test_a_problem_on_the_way_is_an_objection() -> None:
    """Also when the path leads to the right place now."""
    host = replace(HOST, resolve=lambda path, _form: Resolved(path, path, "others can write"))

    assert "others can write" in one(objections(host, **device(disks=[disk("/images/a.img")])))


def test_the_files_that_an_image_names_are_held_against_the_same_roots() -> None:
    """The guest, or whoever made the image, may have named them."""

    def resolve(path: str, form: str) -> Resolved:
        return Resolved(path, path, backing=("/images/base", "/etc/shadow") if form else ())

    host = replace(HOST, resolve=resolve)
    found = one(objections(host, **device(disks=[disk("/images/a.img", driver={"type": "qcow2"})])))
    assert ": /etc/shadow: the image /images/a.img names it: it is in none of" in found


def test_nothing_at_all_is_done_about_such_a_virtual_server() -> None:
    """Not even what would be allowed; hotplug devices count as well."""
    bad = disk("/etc/shadow", persistent=False)
    spec = {"memory": "1 GiB", "vcpu": 2, "os": OS} | device(disks=[bad])

    plan = make_plan(wanted(spec), None, host=Host(HostRules(admission=HOST)))

    assert ((), ()) == (plan.steps, plan.waiting)
    assert ["spec.devices.disks[vda].source.file"] == [each.field for each in plan.refused]


DUMPS = replace(HOST, dump_directory="/dumps/ours", libvirt_dump_directory="/dumps/libvirt")


@pytest.mark.parametrize("crash", ["dump", "dump-and-restart"])
def test_a_policy_that_dumps(crash: str) -> None:
    """The manifest says whether; where to, the host's configuration, which has to be admitted."""
    policy = {"crash": crash}
    assert [] == objections(DUMPS, policy=policy)

    elsewhere = replace(DUMPS, dump_directory="/home/ann")

    assert [] == objections(elsewhere, policy={"crash": "restart"})
    assert (
        f"spec.policy.crash: {crash}: its memory would be dumped into /home/ann: "
        "it is in none of /dumps (admission.dump_roots)"
    ) == one(objections(elsewhere, policy=policy))


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"on_crash": "coredump-destroy"}, "spec.on_crash: coredump-destroy"),
        ({"xml": "<domain><on_crash>coredump-restart</on_crash></domain>"}, "spec.xml.on_crash"),
        (
            device(watchdog={"model": "diag288", "action": "dump"}),
            "spec.devices.watchdog[].action: dump",
        ),
    ],
)
def test_libvirt_dumps_as_well(spec: dict[str, Any], field: str) -> None:
    """Into a directory of its own, which is known to us by the configuration only."""
    assert [] == objections(DUMPS, **spec)

    elsewhere = replace(DUMPS, libvirt_dump_directory="/var/crash")

    told = one(objections(elsewhere, **spec))
    assert told.startswith(field)
    assert "its memory would be dumped into /var/crash: it is in none of /dumps" in told
