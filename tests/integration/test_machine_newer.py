"""The package with a newer systemd, and with libvirt's modular daemons.

Debian's systemd is too old for Type=notify-reload, and its packages have no modular daemons: the
machine takes some minutes and a compiler to build. So this runs only where it is asked for:

    RECONVIRT_NEWER_MACHINE=1 scripts/test tests/integration/test_machine_newer.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from testbed.lacks import Lack
from testbed.machine import Machine
from testbed.package import (
    IMAGES,
    MANIFEST,
    SOON,
    entries,
    machine_with_package,
    manifest,
    qemu,
    running,
    show,
    vcpus,
)
from testbed.waiting import wait_until

pytestmark = [
    pytest.mark.skipif(not os.environ.get("RECONVIRT_NEWER_MACHINE"), reason=Lack.OPT_IN),
    pytest.mark.timeout(1800),
]

MODULAR = ("virtqemud", "virtnetworkd", "virtproxyd")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The machine, with monolithic libvirt."""
    with machine_with_package(tmp_path_factory.mktemp("packages"), "newer") as machine:
        manifest(machine)
        yield machine


@pytest.fixture(scope="module")
def modular(installed: Machine) -> Machine:
    """The same machine with modular libvirt, changed over as libvirt's own manual has it."""
    installed("systemctl", "stop", "reconvirtd")
    installed.shell("for each in $(virsh list --name); do virsh destroy $each; done")
    sockets = [f"libvirtd{each}.socket" for each in ("", "-ro", "-admin")]
    installed("systemctl", "disable", "--now", "libvirtd.service", *sockets)
    for name in MODULAR:
        installed("systemctl", "enable", "--now", f"{name}.socket", f"{name}-ro.socket")
    installed("systemctl", "enable", "virtqemud.service")
    return installed


def test_a_reload_lasts_until_it_has_ended(installed: Machine) -> None:
    """With Type=notify-reload: what the command has waited for is in force when it returns."""
    version = int(installed("systemctl", "--version").split()[1])
    assert version >= 253
    place = "/etc/systemd/system/reconvirtd.service.d"
    example = "/usr/share/doc/reconvirt/examples/systemd/notify-reload.conf"
    installed.shell(f"mkdir -p {place}; cp {example} {place}; systemctl daemon-reload")
    unit = "/lib/systemd/system/reconvirtd.service"
    assert "" == installed("systemd-analyze", "verify", "--man=no", unit)
    installed("systemctl", "start", "reconvirtd")
    assert ("notify-reload", "active") == (show(installed, "Type"), show(installed, "ActiveState"))
    process = show(installed, "MainPID")

    for count in range(1, 4):
        installed("systemctl", "reload", "reconvirtd")
        assert count == len(entries(installed, "EVENT=configuration reloaded"))
        assert "active" == show(installed, "ActiveState")
        assert show(installed, "StatusText").startswith("1 virtual server")

    installed.write("/etc/reconvirt/conf.d/bad.toml", "no_such_setting = 1\n")
    installed("systemctl", "reload", "reconvirtd")
    assert 1 == len(entries(installed, "EVENT=configuration not reloaded"))
    assert "active" == show(installed, "ActiveState")
    installed("rm", "/etc/reconvirt/conf.d/bad.toml")
    assert process == show(installed, "MainPID")


def test_the_order_holds_with_both_kinds_of_libvirt(modular: Machine) -> None:
    """What is started together comes in this order; neither pulls the other in."""
    modular("systemctl", "stop", "virtqemud.service", "virtqemud.socket")
    modular.write(
        "/etc/systemd/system/both.target",
        "[Unit]\nWants=reconvirtd.service virtqemud.service\nAfter=reconvirtd.service\n",
    )
    modular.shell("systemctl daemon-reload; systemctl start both.target")
    assert "active" == show(modular, "ActiveState")

    def moment(unit: str, name: str) -> int:
        return int(modular("systemctl", "show", "--value", f"--property={name}", unit))

    ready = moment("virtqemud.service", "ActiveEnterTimestampMonotonic")
    assert 0 < ready <= moment("reconvirtd.service", "ExecMainStartTimestampMonotonic")
    assert "inactive" == modular("systemctl", "is-active", "libvirtd.service", status=3)


def test_modular_daemons_are_used(modular: Machine) -> None:
    """Defined, started, hotplugged and changed through virtqemud and virtnetworkd."""
    modular("systemctl", "start", "reconvirtd")
    wait_until(lambda: running(modular, "web1"), SOON, "the virtual server")
    socket = modular("readlink", "-f", "/var/run/libvirt/virtqemud-sock")
    assert socket in modular("ss", "--no-header", "--unix", "--listening")
    modular.shell("ip link add br7 type bridge; ip link set br7 up")
    modular.write(
        "/tmp/network.xml",
        "<network><name>lan</name><forward mode='bridge'/><bridge name='br7'/></network>",
    )
    modular.shell("virsh net-define /tmp/network.xml; virsh net-start lan")
    modular.shell(
        f"qemu-img create -q -f qcow2 {IMAGES}/m.qcow2 8M; chown libvirt-qemu: {IMAGES}/m.qcow2"
    )
    started = qemu(modular, "web1")

    text = MANIFEST.format(name="web1", vcpus=2, images=IMAGES)
    modular.write(
        "/etc/reconvirt/desired/web1.yaml",
        f"{text}    disks:\n      - {{type: file, driver: {{type: qcow2}}, target: {{dev: vdb}}, "
        f"source: {{file: {IMAGES}/m.qcow2}}}}\n"
        "    interfaces:\n      - {type: network, source: {network: lan}, "
        'mac: {address: "52:54:00:00:00:07"}, model: {type: virtio}}\n',
    )
    wait_until(lambda: vcpus(modular, "web1") == "2", SOON, "the second vCPU")
    wait_until(lambda: "lan" in modular("virsh", "domiflist", "web1"), SOON, "the interface")
    assert "master br7" in modular("ip", "-o", "link", "show", "master", "br7")
    wait_until(lambda: "vdb" in modular("virsh", "domblklist", "web1"), SOON, "the disk")
    assert started == qemu(modular, "web1")
    assert "active" == modular("systemctl", "is-active", "virtnetworkd.service")
    assert "0 with changes, 1 as wanted" in modular("reconvirt", "plan")


def test_virtqemud_may_be_restarted(modular: Machine) -> None:
    """The connection is made again, and guests run on."""
    started, process = qemu(modular, "web1"), show(modular, "MainPID")
    modular("systemctl", "restart", "virtqemud")

    modular.write(
        "/etc/reconvirt/desired/idle1.yaml",
        MANIFEST.format(name="idle1", vcpus=1, images=IMAGES),
    )
    wait_until(lambda: running(modular, "idle1"), SOON, "another one through the new connection")
    assert (started, process) == (qemu(modular, "web1"), show(modular, "MainPID"))
