"""KVM's own numbers, where the machine has a KVM that QEMU can use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from testbed import LibvirtHost, Reconvirt, wait_until, x86_domain_xml
from testbed.kvm import KvmHost, kvm_is_usable

NAME = "with-kvm"
PREFIX = "reconvirt_virtual_server_"


@pytest.fixture
def kvm(tmp_path: Path) -> Iterator[tuple[LibvirtHost, Reconvirt]]:
    """A host on which a virtual server runs with KVM: its firmware looks for a system in vain."""
    if not kvm_is_usable():
        pytest.skip("QEMU cannot use KVM here")
    desired = tmp_path / "desired"
    desired.mkdir()
    with KvmHost.take() as host:
        host.define(x86_domain_xml(NAME, "pc").replace("type='qemu'", "type='kvm'"))
        host.virsh("start", NAME)
        wait_until(lambda: counter(host, "exits") > 0, 60, "the first exits")
        yield host, Reconvirt(host, desired, tmp_path)
        host.destroy_everything()


def counter(host: LibvirtHost, name: str) -> int:
    """One of the numbers that KVM keeps of the only virtual CPU."""
    lines = host.virsh("domstats", NAME, "--vcpu").splitlines()
    pairs = dict(line.strip().split("=", 1) for line in lines if "=" in line)
    return int(pairs.get(f"vcpu.0.{name}.sum", 0))


def exported(reconvirt: Reconvirt) -> dict[str, float]:
    """The metrics of the only virtual CPU, without the prefix."""
    return {
        sample.name.removeprefix(PREFIX): sample.value
        for family in text_string_to_metric_families(reconvirt("metrics"))
        for sample in family.samples
        if sample.name.startswith(PREFIX) and sample.labels.get("vcpu") == "0"
    }


@pytest.mark.libvirt
def test_the_metrics_are_kvms_numbers(kvm: tuple[LibvirtHost, Reconvirt]) -> None:
    """Read between two looks of virsh; they grow."""
    host, reconvirt = kvm
    before = counter(host, "exits")
    shown = exported(reconvirt)["kvm_exits_total"]
    after = counter(host, "exits")

    assert 0 < before <= shown <= after
    wait_until(lambda: exported(reconvirt)["kvm_exits_total"] > shown, 60, "more exits")


@pytest.mark.libvirt
def test_exits_are_shown_without_traces(kvm: tuple[LibvirtHost, Reconvirt]) -> None:
    """By perf where the kernel traces them, and else by what KVM has counted."""
    _, reconvirt = kvm

    report = json.loads(reconvirt("exits", NAME, "--seconds", "2", "-o", "json"))

    assert report["count"] > 0
    assert report["count"] >= max(each["count"] for each in report["exits"])
