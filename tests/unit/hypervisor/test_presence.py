"""Whether what is needed is there: real files and network devices, and libvirt's test driver."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconvirt.domain.needs import Need, NeedKind
from reconvirt.hypervisor.connection import Hypervisor


@pytest.fixture
def hypervisor() -> Iterator[Hypervisor]:
    connected = Hypervisor("test:///default")
    yield connected
    connected.close()


def file(path: Path | str) -> Need:
    return Need(NeedKind.FILE, str(path))


def test_files_and_devices(hypervisor: Hypervisor, tmp_path: Path) -> None:
    """Of any kind; a link counts for what it leads to."""
    (tmp_path / "image").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    there = [file(tmp_path), file(tmp_path / "image"), file("/dev/null")]
    gone = [file(tmp_path / "link"), file(tmp_path / "none"), file(tmp_path / "image/below")]

    assert sorted(gone) == list(hypervisor.missing([*there, *gone]))


def test_network_devices(hypervisor: Hypervisor) -> None:
    gone = Need(NeedKind.NETWORK_DEVICE, "rv-none0")

    assert (gone,) == hypervisor.missing([gone, Need(NeedKind.NETWORK_DEVICE, "lo")])


def test_what_cannot_be_said_counts_as_there(hypervisor: Hypervisor) -> None:
    """Else something would be reported as missing that is not."""
    odd = [file("/tmp/\0"), file("/tmp/" + "x" * 300)]

    assert () == hypervisor.missing(odd)


def test_networks_and_pools_must_be_active(hypervisor: Hypervisor) -> None:
    """The test driver has one of each, called so."""
    names = [("default", NeedKind.NETWORK), ("default-pool", NeedKind.POOL)]
    there = [Need(kind, name) for name, kind in names]
    gone = [Need(kind, "other") for _, kind in names]

    assert gone == list(hypervisor.missing([*there, *gone]))

    before = hypervisor.calls.reading
    hypervisor.missing([file("/"), Need(NeedKind.NETWORK_DEVICE, "lo")])
    assert before == hypervisor.calls.reading


def test_the_files_of_another_host_are_not_looked_for(
    hypervisor: Hypervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not ours."""
    needs = [file("/none"), Need(NeedKind.NETWORK_DEVICE, "none")]
    assert 2 == len(hypervisor.missing(needs))

    monkeypatch.setattr(hypervisor, "uri", "qemu+ssh://other/system")

    assert () == hypervisor.missing(needs)


def test_what_a_domain_needs_is_told_in_words(hypervisor: Hypervisor, tmp_path: Path) -> None:
    xml = f"""<domain type='test'><devices>
      <disk type='file'><source file='{tmp_path}/none'/></disk>
      <interface type='network'><source network='other'/></interface>
    </devices></domain>"""

    told = hypervisor.missing_sources(xml)

    assert (f"no file {tmp_path}/none", "no active network other") == tuple(sorted(told)[::-1])


def test_an_image_below_an_overlay_is_needed(hypervisor: Hypervisor, tmp_path: Path) -> None:
    """It stands in no configuration, and without it what is ended could not be started again."""
    base, overlay = tmp_path / "base.qcow2", tmp_path / "overlay.qcow2"
    make = ["qemu-img", "create", "-q", "-f", "qcow2"]
    subprocess.run([*make, base, "1M"], check=True)
    subprocess.run([*make, "-b", base, "-F", "qcow2", overlay], check=True)
    xml = f"""<domain type='test'><devices><disk type='file'><driver name='qemu' type='qcow2'/>
      <source file='{overlay}'/><target dev='vda'/></disk></devices></domain>"""
    assert () == hypervisor.missing_sources(xml)

    base.rename(tmp_path / "elsewhere")

    assert (f"no file {base}",) == hypervisor.missing_sources(xml)
