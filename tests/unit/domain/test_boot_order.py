"""The order of devices to boot from, beside the kind of device that libvirt adds by itself."""

from __future__ import annotations

import yaml
from lxml import etree

from reconvirt.domain.actions import Attach
from reconvirt.domain.plan import render
from reconvirt.domain.xmltree import parse_xml
from reconvirt.manifest.load import load_file
from reconvirt.manifest.model import SourceFile
from strategies import wanted
from virtual_servers import (
    OS,
    actions,
    as_started,
    definition,
    devices,
    disk,
    observe,
    plan,
    spec,
    waits,
)

ORDERED = devices(disks=[disk("a", boot={"order": 1})])


def as_defined() -> etree._Element:
    """A virtual server without any order, as libvirt stores it."""
    root = parse_xml(render(wanted(spec())))
    system = root.find("os")
    assert system is not None
    etree.SubElement(system, "boot", dev="hd")
    return root


def test_an_order_of_devices_takes_the_place_of_what_libvirt_has_added() -> None:
    """libvirt refuses a definition that has both."""
    target = definition(plan(ORDERED, observe(as_defined())))

    assert target.find("os/boot") is None
    assert "1" == target.find("devices/disk/boot").get("order")


def test_without_an_order_of_devices_it_stays() -> None:
    """Another change is no reason to touch it."""
    target = definition(plan(devices(disks=[disk("a")]), observe(as_defined())))

    assert "hd" == target.find("os/boot").get("dev")


def test_a_disk_is_plugged_in_and_its_order_waits() -> None:
    """What was started with os/boot takes no device with an order; the guest gets the disk."""
    config = parse_xml(render(wanted(ORDERED)))
    live = as_started(as_defined())

    [attach] = actions(plan(ORDERED, observe(config, live)))

    assert isinstance(attach, Attach)
    assert parse_xml(attach.xml).find("boot") is None

    holder = live.find("devices")
    if holder is None:
        holder = etree.SubElement(live, "devices")
    holder.append(parse_xml(attach.xml))
    made = plan(ORDERED, observe(config, live))

    assert [] == actions(made)
    assert ["devices.disks[vda].boot.order"] == list(waits(made))


def test_a_disk_keeps_its_order_where_what_runs_has_one() -> None:
    """Then libvirt takes it."""
    config = parse_xml(render(wanted(ORDERED)))
    live = as_started(parse_xml(render(wanted(spec()))))

    [attach] = actions(plan(ORDERED, observe(config, live)))

    assert parse_xml(attach.xml).find("boot") is not None


def test_both_in_one_manifest_are_a_problem() -> None:
    """It is found before libvirt finds it."""
    manifest = {
        "apiVersion": "reconvirt/v1",
        "kind": "VirtualServer",
        "metadata": {"name": "vs"},
        "spec": ORDERED | {"os": OS | {"boot": ["hd"]}},
    }

    (problem,) = load_file(SourceFile("vs.yaml", yaml.safe_dump(manifest).encode())).problems

    assert "spec.devices.disks[0].boot.order" == problem.field
    assert "spec.os.boot" in problem.message
