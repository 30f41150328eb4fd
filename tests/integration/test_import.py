"""Manifests written from virtual servers that exist, and then applied to them: nothing happens."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import yaml

from testbed import (
    Desired,
    Guest,
    LibvirtHost,
    Reconvirt,
    assert_settled,
    config,
    disk,
    domain_xml,
    live,
    outcome,
    sees_disks,
    x86_domain_xml,
)

Name = Callable[..., str]

MAC, SECRET = "52:54:00:0a:0f:01", "hunter2!"


def uptimes(host: LibvirtHost, name: str) -> list[int]:
    """The uptimes that the guest has told of, in seconds; they fall when it is started anew."""
    return [int(each) for each in re.findall(r"uptime=(\d+)", host.console(name).text)]


def rich_domain(host: LibvirtHost, guest: Guest, name: str, bridge: str) -> str:
    """A domain of s390x with about everything that manifests and spec.xml can say."""
    iso = host.iso(f"{name}.iso", "IMPORTED")
    devices = f"""
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none' io='native' iothread='1'/>
      <source file='{host.image(f"{name}-a", "16M")}'/>
      <target dev='vda' bus='virtio'/>
      <iotune><total_bytes_sec>100000000</total_bytes_sec></iotune>
      <serial>S-1</serial>
    </disk>
    <disk type='file' device='cdrom'>
      <driver name='qemu' type='raw'/>
      <source file='{iso}' startupPolicy='optional'/>
      <target dev='sda' bus='scsi'/>
    </disk>
    <controller type='scsi' model='virtio-scsi'><driver iothread='2'/></controller>
    <interface type='bridge'>
      <mac address='{MAC}'/><source bridge='{bridge}'/><model type='virtio'/>
      <link state='down'/>
    </interface>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <watchdog model='diag288' action='inject-nmi'/>"""
    xml = domain_xml(name, guest, host.console_log(name), devices=devices)
    more = """
  <title>by hand</title>
  <iothreads>2</iothreads>
  <memoryBacking><nosharepages/></memoryBacking>
  <metadata><other:note xmlns:other='urn:other'>kept</other:note></metadata>
  <on_crash>preserve</on_crash>"""
    return xml.replace("<memory unit", f"{more}\n  <memory unit", 1)


def desktop_domain(name: str) -> str:
    """A domain of x86 with graphics that have a password."""
    devices = f"""
    <graphics type='vnc' port='-1' autoport='yes' passwd='{SECRET}'>
      <listen type='address' address='127.0.0.1'/>
    </graphics>
    <video><model type='vga'/></video>
    <sound model='ich9'/>
    <input type='tablet' bus='virtio'/>
    <controller type='virtio-serial' index='0'/>
  </devices>"""
    return x86_domain_xml(name, "q35").replace("</devices>", devices)


def test_running_and_shut_off_ones_are_taken_over_without_a_touch(
    host: LibvirtHost,
    guest: Guest,
    desired: Desired,
    reconvirt: Reconvirt,
    unique_name: Name,
    bridge: str,
    tmp_path: Path,
) -> None:
    """import --all, and then plan and apply have nothing to do; the guests run on."""
    rich, off, desktop = unique_name("rich"), unique_name("off"), unique_name("desktop")
    host.define(rich_domain(host, guest, rich, bridge))
    host.define(rich_domain(host, guest, off, bridge).replace(MAC, f"{MAC[:-1]}2"))
    host.define(desktop_domain(desktop))
    host.virsh("start", rich)
    host.virsh("start", desktop)
    host.console(rich).wait_for(r"^GUEST cpus=0 .* cd=IMPORTED rng=virtio_rng.0 ")
    by_hand = host.image(f"{rich}-plugged", "24M")
    host.virsh("attach-disk", rich, by_hand, "vdb", "--subdriver", "qcow2", "--live")
    host.console(rich).wait_for(r"vda:16MiB,vdb:24MiB ")
    secure = ("dumpxml", "--security-info")
    before = {name: host.virsh(*secure, name) for name in (rich, off, desktop)}
    numbers = {name: host.virsh("domid", name) for name in (rich, desktop)}

    reconvirt("import", "--all", "-o", desired.path)

    assert {f"{name}.yaml" for name in before} == {each.name for each in desired.path.iterdir()}
    for name in before:
        text = (desired.path / f"{name}.yaml").read_text()
        assert SECRET not in text
        assert host.virsh("domuuid", name) == yaml.safe_load(text)["metadata"]["uuid"]
    stated = yaml.safe_load((desired.path / f"{rich}.yaml").read_text())["spec"]
    listed = {each["target"]["dev"]: each for each in stated["devices"]["disks"]}
    assert {"vda", "sda", "vdb"} == set(listed)
    assert listed["vdb"]["persistent"] is False
    assert "nosharepages" in stated["xml"]
    assert "shutoff" == yaml.safe_load((desired.path / f"{off}.yaml").read_text())["spec"]["state"]

    plan = reconvirt.plan()
    report = reconvirt.apply()

    for each in plan["virtualServers"]:
        assert [] == each["steps"] == each["waiting"] == each["refused"] == each["unlisted"], each
    assert {"converged"} == {each["phase"] for each in report["virtualServers"]}
    assert 0 == report["calls"]["writing"]
    assert before == {name: host.virsh(*secure, name) for name in before}
    assert numbers == {name: host.virsh("domid", name) for name in numbers}

    elsewhere = tmp_path / "again"
    reconvirt("import", "--all", "--addresses", "-o", elsewhere)
    table = reconvirt("plan", "--desired", elsewhere)
    assert f"0 with changes, {len(before)} as wanted" in table


def test_what_was_taken_over_is_changed_and_keeps_the_rest(
    host: LibvirtHost,
    guest: Guest,
    desired: Desired,
    reconvirt: Reconvirt,
    unique_name: Name,
    bridge: str,
) -> None:
    """A title and a CPU arrive in the running guest; passwords and notes of others stay."""
    rich, desktop = unique_name("rich"), unique_name("desktop")
    host.define(rich_domain(host, guest, rich, bridge))
    host.define(desktop_domain(desktop))
    for name in (rich, desktop):
        host.virsh("start", name)
    numbers = {name: host.virsh("domid", name) for name in (rich, desktop)}
    host.console(rich).wait_for(r"^GUEST cpus=0 .* cd=IMPORTED rng=virtio_rng.0 ")
    reconvirt("import", rich, desktop, "-o", desired.path)

    for name in (rich, desktop):
        path = desired.path / f"{name}.yaml"
        manifest = yaml.safe_load(path.read_text())
        manifest["spec"]["title"] = "by manifest"
        if name == rich:
            manifest["spec"]["vcpu"] = {"maximum": 2, "current": 2}
        path.write_text(yaml.safe_dump(manifest))
    reconvirt.apply()
    host.console(rich).wait_for(r"^GUEST cpus=0-1 ")
    times = uptimes(host, rich)
    assert times == sorted(times)
    assert 1 == host.console(rich).text.count("GUEST-UP")
    for name in (rich, desktop):
        assert "by manifest" == live(host, name).findtext("title")
        assert numbers[name] == host.virsh("domid", name)
    for flag in ((), ("--inactive",)):
        assert f"passwd='{SECRET}'" in host.virsh("dumpxml", "--security-info", desktop, *flag)
    assert "kept" in host.virsh("metadata", rich, "urn:other", "--config")
    assert 0 == reconvirt.apply()["calls"]["writing"]

    kept = (desired.path / f"{rich}.yaml").read_text()
    said = reconvirt("import", rich, "-o", desired.path, status=1)
    assert "not imported: File exists" in said
    assert kept == (desired.path / f"{rich}.yaml").read_text()


def test_what_is_not_there_cannot_be_imported(
    host: LibvirtHost, reconvirt: Reconvirt, unique_name: Name, tmp_path: Path
) -> None:
    """A clear error, no file and no traceback; one of several names is enough."""
    name = unique_name()
    host.define(x86_domain_xml(name, "q35"))

    said = reconvirt("import", name, "no-such-name", "-o", tmp_path / "out", status=1)

    assert "has no virtual server no-such-name" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()
    assert f"name: {name}" in reconvirt("import", name)


def test_a_guest_is_taken_over_by_the_daemon(
    host: LibvirtHost,
    guest: Guest,
    desired: Desired,
    reconvirt: Reconvirt,
    unique_name: Name,
) -> None:
    """Imported while the daemon runs, then edited: the change arrives in the running guest."""
    name = unique_name()
    host.define(domain_xml(name, guest, host.console_log(name)))
    host.virsh("start", name)
    console = host.console(name)
    console.wait_for(r"^GUEST cpus=0 blk=- ")
    with reconvirt.run() as daemon:
        reconvirt("import", name, "-o", desired.path)
        daemon.wait_for("converged", virtual_server=name)
        assert [] == daemon.logged("step done")

        path = desired.path / f"{name}.yaml"
        manifest = yaml.safe_load(path.read_text())
        image = host.image(f"{name}-a", "12M")
        manifest["spec"]["devices"]["disks"] = [disk(image, "vda")]
        path.write_text(yaml.safe_dump(manifest))
        daemon.wait_for("step done", virtual_server=name, step="attach")
        console.wait_for(sees_disks("12MiB"))
    assert config(host, name).find("devices/disk/target").get("dev") == "vda"
    assert 1 == console.text.count("GUEST-UP")
    assert outcome(reconvirt.plan())["steps"] == []
    assert_settled(reconvirt)
