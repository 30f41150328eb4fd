"""What spec.xml says, on a real libvirt: stored, compared, owned, and checked by its schema."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed import (
    Desired,
    LibvirtHost,
    Reconvirt,
    addresses,
    assert_settled,
    config,
    disk,
    live,
    outcome,
    verbs,
)

Name = Callable[..., str]

SHARED = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
PRIVATE = "<memoryBacking><source type='memfd'/><access mode='private'/></memoryBacking>"
Q35 = {"os": {"arch": "x86_64", "machine": "q35"}, "memory": "64 MiB", "vcpu": 1}


def fragment(*pieces: str, devices: str = "") -> str:
    """A domain of which only these pieces are said."""
    return f"<domain>{''.join(pieces)}<devices>{devices}</devices></domain>"


def access(host: LibvirtHost, name: str) -> tuple[str | None, str | None]:
    """How the memory is accessed, in what runs and in the configuration."""
    found = (layer(host, name).find("memoryBacking/access") for layer in (live, config))
    running, configured = (None if each is None else each.get("mode") for each in found)
    return running, configured


@pytest.mark.usefixtures("cpu_controller")
def test_a_piece_waits_and_holds_up_nothing(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """A changed piece waits for the next start while CPU shares change; a removed one goes."""
    name = unique_name()
    desired.manifest(name, cputune={"shares": 200}, xml=fragment(SHARED))
    reconvirt.apply()
    host.console(name).wait_for(r"^GUEST cpus=0 ")
    assert ("shared", "shared") == access(host, name)
    assert_settled(reconvirt)
    number = host.virsh("domid", name)

    desired.manifest(name, cputune={"shares": 300}, xml=fragment(PRIVATE))
    report = outcome(reconvirt.apply(status=3))

    assert ["xml.memoryBacking"] == [each["field"] for each in report["waiting"]]
    assert "set-parameter" in [step["action"] for step in report["steps"]]
    assert re.search(r"cpu_shares\s*: 300", host.virsh("schedinfo", "--live", name))
    assert ("shared", "private") == access(host, name)
    assert_settled(reconvirt, waiting=("xml.memoryBacking",))
    assert number == host.virsh("domid", name)

    # Back again: what runs was started with it, so nothing waits.
    desired.manifest(name, cputune={"shares": 300}, xml=fragment(SHARED))
    reconvirt.apply()
    assert ("shared", "shared") == access(host, name)
    assert_settled(reconvirt)

    desired.manifest(name, cputune={"shares": 300}, xml=fragment(PRIVATE))
    reconvirt.apply(status=3)
    host.virsh("destroy", name)
    reconvirt.apply()
    assert ("private", "private") == access(host, name)
    assert_settled(reconvirt)

    desired.manifest(name, cputune={"shares": 300})
    report = outcome(reconvirt.apply(status=3))
    assert ["xml.memoryBacking"] == [each["field"] for each in report["waiting"]]
    assert ("private", None) == access(host, name)
    host.virsh("destroy", name)
    reconvirt.apply()
    assert (None, None) == access(host, name)
    assert_settled(reconvirt)


def test_devices_of_a_piece_on_x86(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """A sound card, a watchdog and something more of a listed disk come and go as stated."""
    name = unique_name()
    listed = {"consoles": [], "disks": [disk(host.image(f"{name}-a"), "vda")]}
    desired.manifest(name, **Q35, devices=listed)
    reconvirt.apply()

    cache = "<metadata_cache><max_size unit='bytes'>1048576</max_size></metadata_cache>"
    devices = (
        "<sound model='ich9'/><watchdog model='ib700' action='pause'/>"
        f"<disk><driver>{cache}</driver><target dev='vda'/></disk>"
    )
    desired.manifest(name, **Q35, devices=listed, xml=fragment(devices=devices))
    report = outcome(reconvirt.apply(status=3))

    waiting = {each["field"]: each["reason"] for each in report["waiting"]}
    expected = {"xml.devices.sound[ich9#1]", "xml.devices.watchdog[]", "xml.devices.disk[vda]"}
    assert expected == set(waiting)
    assert "cannot plug a sound" in waiting["xml.devices.sound[ich9#1]"]
    stored = config(host, name)
    assert "ich9" == stored.find("devices/sound").get("model")
    assert "pause" == stored.find("devices/watchdog").get("action")
    assert "1048576" == stored.findtext("devices/disk/driver/metadata_cache/max_size")
    assert 1 == len(stored.findall("devices/disk"))
    assert_settled(reconvirt, waiting=tuple(waiting))

    host.virsh("destroy", name)
    reconvirt.apply()
    assert live(host, name).find("devices/sound") is not None
    assert_settled(reconvirt)

    desired.manifest(name, **Q35, devices=listed)
    reconvirt.apply(status=3)

    stored = config(host, name)
    assert [] == stored.findall("devices/sound")
    assert [] == stored.findall("devices/watchdog[@model='ib700']")
    assert stored.find("devices/disk/driver/metadata_cache") is None
    assert "vda" == stored.find("devices/disk/target").get("dev")
    host.virsh("destroy", name)
    reconvirt.apply()
    assert_settled(reconvirt)


def test_a_piece_that_can_be_plugged_is_plugged(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """A generator of random numbers that a piece speaks of comes and goes with the guest up."""
    name = unique_name()
    desired.manifest(name)
    reconvirt.apply()
    console = host.console(name)
    console.wait_for(r"^GUEST .* rng=- ")

    backend = "<backend model='random'>/dev/urandom</backend>"
    devices = f"<rng model='virtio'><rate bytes='1000' period='2000'/>{backend}</rng>"
    if Path("/dev/vhost-vsock").exists():
        devices += "<vsock model='virtio'><cid auto='yes'/></vsock>"
    desired.manifest(name, xml=fragment(devices=devices))
    report = reconvirt.apply()

    assert devices.count("model='virtio'") == verbs(report).count("attach")
    console.wait_for(r"^GUEST .* rng=virtio_rng.0 ")
    assert "1000" == live(host, name).find("devices/rng/rate").get("bytes")
    assert addresses(config(host, name)) == addresses(live(host, name))
    assert_settled(reconvirt)

    desired.manifest(name)
    reconvirt.apply()
    console.wait_for(r"^GUEST .* rng=- ")
    for layer in (live(host, name), config(host, name)):
        assert layer.find("devices/rng") is layer.find("devices/vsock") is None
    assert_settled(reconvirt)


def test_what_the_schema_forbids_is_found_in_the_manifest(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """The message names the file, the line and the piece; nothing is changed."""
    name = unique_name()
    desired.manifest(name, state="shutoff")
    reconvirt.apply()
    before = host.virsh("dumpxml", name)

    wrong = "<memoryBacking><nosuchthing/></memoryBacking>"
    good = "<sysinfo type='smbios'/>"
    path = desired.manifest(name, state="shutoff", title="new", xml=fragment(good, wrong))
    report = outcome(reconvirt.apply(status=1))

    line = 1 + path.read_text().splitlines().index(
        next(each for each in path.read_text().splitlines() if each.startswith("  xml:"))
    )
    assert "failed" == report["phase"]
    assert re.search(rf"^{path}:{line}:\d+: spec\.xml: ", report["message"]), report["message"]
    assert "does not allow memoryBacking:" in report["message"]
    assert before == host.virsh("dumpxml", name)


def test_arguments_for_qemu_want_the_hosts_consent(
    host: LibvirtHost,
    desired: Desired,
    reconvirt: Reconvirt,
    unique_name: Name,
    tmp_path: Path,
) -> None:
    """qemu:commandline is refused unless the host's configuration allows it."""
    name = unique_name()
    namespace = "http://libvirt.org/schemas/domain/qemu/1.0"
    argument = "tls-creds-anon,id=of-the-manifest,endpoint=server"
    passed = (
        f"<q:commandline xmlns:q='{namespace}'><q:arg value='-object'/>"
        f"<q:arg value='{argument}'/></q:commandline>"
    )
    desired.manifest(name, xml=fragment(passed))
    report = outcome(reconvirt.apply(status=1))

    assert "refused" == report["phase"]
    assert "allow_passthrough" in report["message"]
    assert name not in host.names()

    settings = tmp_path / "reconvirt.toml"
    settings.write_text("allow_passthrough = true\n")
    reconvirt("apply", "--config", settings)

    assert "running" == host.virsh("domstate", name)
    assert argument in host.virsh("dumpxml", "--inactive", name)
    allowed = outcome(reconvirt.json("plan", "--config", str(settings)))
    assert [] == allowed["steps"] == allowed["waiting"]
    again = reconvirt.json("apply", "--config", str(settings))
    assert 0 == again["calls"]["writing"]


def test_the_metadata_of_others_stays(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Whatever changes, what other programs keep in a virtual server is as it was."""
    name = unique_name()
    desired.manifest(name)
    reconvirt.apply()
    for layer in ("--live", "--config"):
        host.virsh(
            *("metadata", name, "urn:other", layer, "--key", "other"),
            *("--set", "<note kept='yes'>a secret of others</note>"),
        )

    def notes() -> list[str]:
        return [
            host.virsh("metadata", name, "urn:other", where) for where in ("--live", "--config")
        ]

    before = notes()
    desired.manifest(
        name, title="new", memory="224 MiB", devices={"disks": [disk(host.image(name), "vda")]}
    )
    reconvirt.apply(status=3)
    desired.manifest(name, xml=fragment(SHARED))
    reconvirt.apply(status=3)

    assert before == notes()
    assert "a secret of others" in before[0]
    host.virsh("destroy", name)
    reconvirt.apply()
    assert before == notes()
    assert_settled(reconvirt)
