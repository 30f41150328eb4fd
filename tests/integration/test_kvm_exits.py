"""KVM's own numbers, where the machine has a KVM that QEMU can use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from testbed import LibvirtHost, Reconvirt, wait_until, x86_domain_xml
from testbed.kvm import KvmHost, kvm_is_usable
from testbed.lacks import Lack, needs_root, skip

ROOT = Path(__file__).parents[2]
TRACEPOINTS = Path("/sys/kernel/tracing/events/kvm/kvm_entry")
NOBODY = (65534, 65534)
RECORD = """
import sys
from reconvirt.metrics.perf_record import record_window
from reconvirt.metrics.settings import PerfSettings
print(record_window(PerfSettings(window_seconds=0.5, directory=sys.argv[1]), {}).bytes)
"""
PREFIX = "reconvirt_virtual_server_"


@pytest.fixture
def kvm(tmp_path: Path) -> Iterator[tuple[LibvirtHost, Reconvirt, str]]:
    """A host on which this virtual server runs with KVM: its firmware finds no system."""
    if not kvm_is_usable():
        skip(Lack.KVM)
    desired = tmp_path / "desired"
    desired.mkdir()
    with KvmHost.take() as host:
        name = host.unique_name()
        host.define(x86_domain_xml(name, "pc").replace("type='qemu'", "type='kvm'"))
        host.virsh("start", name)
        wait_until(lambda: exits_of(host, name) > 0, 60, "the first exits")
        yield host, Reconvirt(host, desired, tmp_path), name
        host.destroy_everything()


def exits_of(host: LibvirtHost, name: str) -> int:
    """How many exits KVM has counted of the only virtual CPU."""
    lines = host.virsh("domstats", name, "--vcpu").splitlines()
    pairs = dict(line.strip().split("=", 1) for line in lines if "=" in line)
    return int(pairs.get("vcpu.0.exits.sum", 0))


def exported(reconvirt: Reconvirt) -> dict[str, float]:
    """The metrics of the only virtual CPU, without the prefix."""
    return {
        sample.name.removeprefix(PREFIX): sample.value
        for family in text_string_to_metric_families(reconvirt("metrics"))
        for sample in family.samples
        if sample.name.startswith(PREFIX) and sample.labels.get("vcpu") == "0"
    }


@pytest.mark.libvirt
def test_the_metrics_are_kvms_numbers(kvm: tuple[LibvirtHost, Reconvirt, str]) -> None:
    """Read between two looks of virsh; they grow."""
    host, reconvirt, name = kvm
    before = exits_of(host, name)
    shown = exported(reconvirt)["kvm_exits_total"]
    after = exits_of(host, name)

    assert 0 < before <= shown <= after
    wait_until(lambda: exported(reconvirt)["kvm_exits_total"] > shown, 60, "more exits")


@pytest.mark.libvirt
def test_exits_are_shown_without_traces(kvm: tuple[LibvirtHost, Reconvirt, str]) -> None:
    """By perf where the kernel traces them, and else by what KVM has counted."""
    _, reconvirt, name = kvm

    report = json.loads(reconvirt("exits", name, "--seconds", "2", "-o", "json"))

    assert report["count"] > 0
    assert report["count"] >= max(each["count"] for each in report["exits"])


@needs_root
def test_recording_needs_two_capabilities_and_no_root(tmp_path: Path) -> None:
    """Those of the drop-in kvm-exits.conf; nothing is left of the recording."""
    drop_in = ROOT / "deploy" / "systemd" / "examples" / "kvm-exits.conf"
    assert "AmbientCapabilities=CAP_PERFMON\n" in drop_in.read_text(encoding="utf-8")
    if not TRACEPOINTS.exists():
        skip(Lack.KVM_TRACES)
    place = tmp_path / "recordings"
    place.mkdir()
    os.chown(place, *NOBODY)
    capabilities = "+perfmon,+dac_read_search"
    done = subprocess.run(
        [
            *("setpriv", f"--reuid={NOBODY[0]}", f"--regid={NOBODY[1]}", "--clear-groups"),
            *(f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}"),
            *(f"--bounding-set=-all,{capabilities}", sys.executable, "-c", RECORD, str(place)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stderr
    assert float(done.stdout) > 0
    assert [] == list(place.iterdir())
