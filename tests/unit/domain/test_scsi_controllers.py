"""Controllers that libvirt adds for SCSI devices, and such as cannot go before their devices."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import etree

from reconvirt.domain.actions import Attach, Detach
from reconvirt.domain.effects import Effect
from reconvirt.domain.observed import Observed
from reconvirt.domain.plan import make_plan, render
from reconvirt.domain.xmltree import parse_xml
from strategies import wanted
from virtual_servers import actions, as_started, devices, observe, plan, spec, waits

CD = {
    "type": "file",
    "device": "cdrom",
    "driver": {"type": "raw"},
    "source": {"file": "/iso/a.iso"},
    "target": {"dev": "sda", "bus": "scsi"},
    "address": {"type": "drive", "controller": 1, "bus": 0, "target": 0, "unit": 0},
}
TAPE = {
    "type": "scsi",
    "source": {"adapter": {"name": "scsi_host0"}, "address": {"target": 0, "unit": 0}},
    "address": {"type": "drive", "controller": 1, "bus": 0, "target": 0, "unit": 3},
}
FRAGMENT = (
    "<domain><devices><hostdev mode='subsystem' type='scsi'><source protocol='iscsi' name='iqn.x'>"
    "<host name='h' port='3260'/></source>"
    "<address type='drive' controller='1' bus='0' target='0' unit='5'/></hostdev>"
    "</devices></domain>"
)
CONTROLLER = {"type": "scsi", "index": 1, "model": "virtio-scsi"}


def stored(after: dict[str, Any], *, plugged: tuple[int, ...] = ()) -> Observed:
    """Running, with the configuration as libvirt stores it: controllers 0 and 1 are added."""
    config, live = parse_xml(render(wanted(after))), parse_xml(render(wanted(spec())))
    for index in (0, 1):
        for root in (config, live) if index in plugged else (config,):
            parent = root.find("devices")
            if parent is None:
                parent = etree.SubElement(root, "devices")
            if root.find(f"devices/controller[@index='{index}']") is None:
                attributes = {"type": "scsi", "index": str(index), "model": "virtio-scsi"}
                controller = etree.SubElement(parent, "controller", attributes)
                etree.SubElement(controller, "address", type="ccw", devno=f"0x000{index + 5}")
    return observe(config, as_started(live))


@pytest.mark.parametrize(
    "after", [devices(disks=[CD]), devices(hostdevs=[TAPE]), spec(xml=FRAGMENT)]
)
def test_controllers_are_plugged_before_the_device_where_they_are_stored(
    after: dict[str, Any],
) -> None:
    """Left to libvirt they would take the device numbers that are kept for others."""
    plugs = [parse_xml(each.xml) for each in actions(plan(after, stored(after)))]

    assert ["controller", "controller"] == [each.tag for each in plugs[:2]]
    assert ["0x0005", "0x0006"] == [each.find("address").get("devno") for each in plugs[:2]]
    assert 3 == len(plugs)
    assert plugs[2].tag in ("disk", "hostdev")


def test_controllers_that_are_plugged_in_are_not_plugged_again() -> None:
    """Nor is one that the manifest lists plugged twice."""
    after = devices(disks=[CD], controllers=[CONTROLLER])

    one = actions(plan(after, stored(after, plugged=(0,))))
    none = actions(plan(after, stored(after, plugged=(0, 1))))

    assert ["controller", "disk"] == [parse_xml(each.xml).tag for each in one]
    assert ["disk"] == [parse_xml(each.xml).tag for each in none]


def test_other_devices_need_no_controller() -> None:
    """A SCSI controller that is stored and not plugged in is no business of a virtio disk."""
    disk = CD | {"device": "disk", "target": {"dev": "vda"}}
    del disk["address"]
    after = devices(disks=[disk])

    assert [Attach] == [type(each) for each in actions(plan(after, stored(after)))]


def test_a_controller_goes_after_what_is_behind_it() -> None:
    """libvirt calls it busy until then."""
    before, after = devices(disks=[CD], controllers=[CONTROLLER]), spec()
    seen = observe(render(wanted(before)), as_started(render(wanted(before))))

    made = make_plan(wanted(after), seen)

    assert [Detach("virtio-sda")] == actions(made)
    assert {"devices.controllers[scsi/1#1]": "devices are still behind it"} == waits(made)
    assert [Effect.NEXT_START] == [each.effect for each in made.waiting]

    live = parse_xml(seen.live or "")
    live.find("devices").remove(live.find("devices/disk"))
    again = make_plan(wanted(after), observe(seen.config, live))

    assert [Detach] == [type(each) for each in actions(again)]
    assert () == again.waiting
