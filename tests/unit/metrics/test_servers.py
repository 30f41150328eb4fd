"""From libvirt's numbers to metrics: names, units, labels, and what is left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from reconvirt.domain.observed import State
from reconvirt.hypervisor.stats import Description, Reading
from reconvirt.metrics.facts import Disk, Facts, Interface, read_facts
from reconvirt.metrics.render import ServersText
from reconvirt.metrics.servers import Server, Snapshot
from reconvirt.metrics.table import ALL_ROWS

VALUES: dict[str, Any] = {
    "cpu.time": 3_797_555_000,
    "cpu.user": 3_738_006_000,
    "cpu.system": 59_548_000,
    "cpu.haltpoll.success.time": 1_500_000_000,
    "cpu.haltpoll.fail.time": 500_000_000,
    "balloon.current": 196608,
    "balloon.maximum": 393216,
    "balloon.rss": 100,
    "balloon.swap_in": 4,
    "vcpu.current": 2,
    "vcpu.maximum": 4,
    "vcpu.0.state": 1,
    "vcpu.0.time": 2_000_000_000,
    "vcpu.0.wait": 0,
    "vcpu.0.delay": 250_000_000,
    "vcpu.0.exits.sum": 77,
    "vcpu.0.halt_wait_ns.sum": 5_000_000_000,
    "vcpu.0.guest_mode.cur": 1,
    "vcpu.3.state": 2,
    "vcpu.3.time": 10,
    "vcpu.3.halted": True,
    "vm.remote_tlb_flush.sum": 9,
    "vm.max_mmu_page_hash_collisions.max": 3,
    "block.count": 1,
    "block.0.name": "vda",
    "block.0.path": "/dev/mapper/a",
    "block.0.rd.reqs": 5,
    "block.0.rd.times": 2_000_000_000,
    "block.0.capacity": 1024,
    "net.count": 1,
    "net.0.name": "vnet7",
    "net.0.rx.bytes": 200,
    "iothread.count": 1,
    "iothread.2.poll-max-ns": 32768,
    "perf.cpu_cycles": 12,
    "dirtyrate.calc_status": 0,
}
FACTS = Facts(
    "kvm",
    "s390x",
    "s390-ccw-virtio-7.2",
    "",
    persistent=True,
    autostart=False,
    managed_save=False,
    vcpus={("current", "config"): 3, ("maximum", "config"): 8, ("maximum", "live"): 4},
    disks={
        "vda": Disk(
            "/dev/mapper/a", "block", "virtio", "raw", "disk", "none", "S1", {"read_iops_sec": 500}
        )
    },
    interfaces={"vnet7": Interface("52:54:00:00:00:07", "bridge", "br0", "br0", "virtio")},
    scheduler={
        ("live", "cpu_shares"): 2048,
        ("live", "vcpu_period"): 100000,
        ("live", "vcpu_quota"): -1,
    },
)


def server(
    values: dict[str, Any], *, domain_id: int | None = 1, facts: Facts | None = FACTS
) -> Server:
    state = State.SHUTOFF if domain_id is None else State.RUNNING
    return Server(Reading("web1", "u-u", domain_id, state, "booted", values), 90.0, facts)


def in_order(shown: str) -> str:
    """A name with its labels, these in the order of the alphabet."""
    name, _, labels = shown.removesuffix("}").partition("{")
    return f"{name}{{{','.join(sorted(labels.split(',')))}}}"


def series(*servers: Server) -> dict[str, float]:
    """The samples as they are scraped: the name with its labels, and the value."""
    text = ServersText("host1").render(Snapshot(100.0, servers), open_metrics=False)
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            labels = {k: v for k, v in sample.labels.items() if k != "virtual_server"}
            assert "web1" == sample.labels["virtual_server"]
            name = sample.name.removeprefix("reconvirt_virtual_server_")
            shown = ",".join(f"{key}={value}" for key, value in labels.items())
            found[in_order(f"{name}{{{shown}}}")] = sample.value
    return found


def test_a_running_one() -> None:
    found = series(server(VALUES))
    expected = {
        "state_info{state=running,reason=booted}": 1,
        "running{}": 1,
        "cpu_seconds_total{}": 3.797555,
        "cpu_user_seconds_total{}": 3.738006,
        "cpu_system_seconds_total{}": 0.059548,
        "halt_polling_seconds_total{result=success}": 1.5,
        "halt_polling_seconds_total{result=fail}": 0.5,
        "memory_bytes{}": 196608 * 1024,
        "memory_maximum_bytes{}": 393216 * 1024,
        "memory_resident_bytes{}": 102400,
        "memory_swap_in_bytes_total{}": 4096,
        "vcpus{limit=current,scope=live}": 2,
        "vcpus{limit=maximum,scope=live}": 4,
        "vcpus{limit=current,scope=config}": 3,
        "vcpus{limit=maximum,scope=config}": 8,
        "vcpu_state_info{vcpu=0,state=running}": 1,
        "vcpu_state_info{vcpu=3,state=blocked}": 1,
        "vcpu_seconds_total{vcpu=0}": 2,
        "vcpu_delay_seconds_total{vcpu=0}": 0.25,
        "vcpu_halted{vcpu=3}": 1,
        "kvm_exits_total{vcpu=0}": 77,
        "kvm_vcpu_events_total{vcpu=0,event=exits}": 77,
        "kvm_vcpu_seconds_total{vcpu=0,event=halt_wait}": 5,
        "kvm_vcpu_value{vcpu=0,event=guest_mode,which=cur}": 1,
        "kvm_events_total{event=remote_tlb_flush}": 9,
        "kvm_value{event=max_mmu_page_hash_collisions,which=max}": 3,
        "block_read_requests_total{device=vda,source=/dev/mapper/a}": 5,
        "block_read_seconds_total{device=vda,source=/dev/mapper/a}": 2,
        "block_capacity_bytes{device=vda,source=/dev/mapper/a}": 1024,
        "block_limit{device=vda,limit=read_iops_sec}": 500,
        "interface_receive_bytes_total{interface=vnet7,mac=52:54:00:00:00:07,source=br0}": 200,
        "iothread_poll_maximum_seconds{iothread=2}": 32768e-9,
        "perf_events_total{event=cpu_cycles}": 12,
        "cpu_shares{scope=live}": 2048,
        "cpu_period_seconds{of=vcpu,scope=live}": 0.1,
        "cpu_quota_seconds{of=vcpu,scope=live}": -1e-6,
        "persistent{}": 1,
    }
    assert expected == pytest.approx({key: found.get(in_order(key), -99) for key in expected})
    told = "uuid=u-u,id=1,host=host1,type=kvm,arch=s390x,machine=s390-ccw-virtio-7.2,title="
    assert in_order(f"info{{{told}}}") in found
    told = "device=vda,source=/dev/mapper/a,type=block,kind=disk,bus=virtio,format=raw"
    assert in_order(f"block_info{{{told},cache=none,serial=S1}}") in found


def test_one_that_does_not_run() -> None:
    """libvirt gives it CPU time that is not its own, and its vCPUs are those of the next start."""
    found = series(server(VALUES, domain_id=None))
    names = {name.partition("{")[0] for name in found}
    assert not {each for each in names if each.startswith(("cpu_seconds", "vcpu_", "block_read"))}
    assert 0 == found["running{}"]
    assert 2 == found["vcpus{limit=current,scope=config}"]
    assert "vcpus{limit=current,scope=live}" not in found


def test_what_is_not_known_yet_is_left_out() -> None:
    found = series(server(VALUES, facts=None))
    assert in_order("interface_receive_bytes_total{interface=vnet7,mac=,source=}") in found
    assert not [name for name in found if name.startswith(("info{", "cpu_shares"))]


def test_names_follow_the_rules() -> None:
    for row in ALL_ROWS:
        assert row.exported.isidentifier()
        assert "__" not in row.exported
        assert row.help.endswith(".")
        if row.scale == 1e-9:
            assert row.name.endswith("_seconds")
        if row.scale == 1024:
            assert row.name.endswith("_bytes")


LIVE = """
<domain type='kvm' id='3'><name>web1</name><title>Web &amp; more</title>
<vcpu current='2'>4</vcpu><os><type arch='s390x' machine='s390-ccw-virtio-7.2'>hvm</type></os>
<devices>
<disk type='block' device='disk'><driver name='qemu' type='raw' cache='none'/>
<source dev='/dev/dm-1'/>
<serial>S1</serial><iotune><read_bytes_sec>1000</read_bytes_sec></iotune>
<target dev='vda' bus='virtio'/></disk>
<disk type='file' device='cdrom'><target dev='sda' bus='scsi'/></disk>
<disk type='network' device='disk'><source protocol='rbd' name='pool/image'/>
<target dev='vdb' bus='virtio'/></disk>
<interface type='network'><mac address='52:54:00:AA:00:01'/>
<source network='default' bridge='virbr0'/><target dev='vnet0'/><model type='virtio'/></interface>
<interface type='direct'><mac address='52:54:00:aa:00:02'/><source dev='bond0' mode='bridge'/>
<target dev='macvtap0'/></interface>
</devices></domain>"""
CONFIG = "<domain type='kvm'><name>web1</name><vcpu>8</vcpu></domain>"


def test_facts_from_xml() -> None:
    facts = read_facts(
        Description(CONFIG, LIVE, True, True, False, {"cpu_shares": 5}, {"cpu_shares": 6})
    )
    assert ("kvm", "s390x", "Web & more", True) == (
        facts.type,
        facts.arch,
        facts.title,
        facts.autostart,
    )
    assert {
        ("maximum", "config"): 8,
        ("current", "config"): 8,
        ("maximum", "live"): 4,
        ("current", "live"): 2,
    } == facts.vcpus
    assert {
        "vda": Disk(
            "/dev/dm-1", "block", "virtio", "raw", "disk", "none", "S1", {"read_bytes_sec": 1000}
        ),
        "sda": Disk("", "file", "scsi", "", "cdrom"),
        "vdb": Disk("pool/image", "network", "virtio", "", "disk"),
    } == facts.disks
    assert {
        "vnet0": Interface("52:54:00:aa:00:01", "network", "default", "virbr0", "virtio"),
        "macvtap0": Interface("52:54:00:aa:00:02", "direct", "bond0", "", ""),
    } == facts.interfaces
    assert {("live", "cpu_shares"): 5, ("config", "cpu_shares"): 6} == facts.scheduler


def test_a_virtual_server_without_xml_has_no_facts() -> None:
    assert "" == read_facts(Description("", None, False, False, False, {}, {})).arch


def test_lines_are_written_again_when_something_has_changed() -> None:
    text = ServersText("h")

    def render(*servers: Server) -> str:
        return text.render(Snapshot(100.0, servers), open_metrics=False)

    first = render(server(VALUES))
    assert first == render(server(dict(VALUES)))
    lines = text._kept["u-u"][1]
    assert lines is text._lines(server(dict(VALUES)))
    changed = render(server({**VALUES, "cpu.time": 5_000_000_000}))
    assert 'cpu_seconds_total{virtual_server="web1"} 5.0\n' in changed
    assert 'machine=""' in render(server(VALUES, facts=replace(FACTS, machine="")))
    assert "" == render()
    assert {} == text._kept


def test_odd_names_are_escaped_and_both_formats_say_the_same() -> None:
    odd = replace(server(VALUES).reading, name='we"b\\1\n')
    snapshot = Snapshot(1.0, (replace(server(VALUES), reading=odd),))
    text = ServersText('h"')
    plain = text.render(snapshot, open_metrics=False)
    found = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(plain)
        for sample in family.samples
    }
    assert {odd.name} == {dict(labels)["virtual_server"] for _, labels in found}
    same = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in open_metrics(text.render(snapshot, open_metrics=True) + "# EOF\n")
        for sample in family.samples
    }
    assert found == same
