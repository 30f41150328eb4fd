"""Devices that no manifest has ever listed: reported as drift, or detached."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconvirt.domain.actions import Define, Detach
from reconvirt.domain.xmltree import parse_xml
from strategies import wanted
from virtual_servers import (
    actions,
    defined,
    definition,
    devices,
    disk,
    nic,
    plan,
    restarted,
    spec,
    stored,
    text_of,
)

if TYPE_CHECKING:
    from reconvirt.domain.observed import Observed

DISK = (
    "<disk type='file' device='disk'><source file='/hand.img'/><target dev='vdz' bus='virtio'/>"
    "<alias name='virtio-vdz'/><address type='ccw' devno='0x00aa'/></disk>"
)
NIC = (
    "<interface type='bridge'><mac address='52:54:00:99:99:99'/><source bridge='br0'/>"
    "<alias name='net9'/></interface>"
)
MDEV = (
    "<hostdev mode='subsystem' type='mdev' model='vfio-ap'><source>"
    "<address uuid='99999999-2222-4333-8444-555555555555'/></source><alias name='hostdev9'/>"
    "</hostdev>"
)
PATHS = {
    DISK: "devices.disks[vdz]",
    NIC: "devices.interfaces[52:54:00:99:99:99]",
    MDEV: "devices.hostdevs[mdev/99999999-2222-4333-8444-555555555555#1]",
}
DETACH = {"policy": {"unlisted": "detach"}}
LISTED = devices(disks=[disk("a")], interfaces=[nic()])


def with_hand(xml: str, *layers: str) -> Observed:
    """A running virtual server into which somebody has put a device."""
    seen = restarted(defined(wanted(LISTED)))
    for layer in layers:
        root = parse_xml(getattr(seen, layer))
        root.find("devices").append(parse_xml(xml))
        seen = replace(seen, **{layer: text_of(root)})
    return seen


@pytest.mark.parametrize("xml", PATHS)
@pytest.mark.parametrize("layers", [("config",), ("live",), ("config", "live")])
def test_they_are_reported_once_and_left_alone(xml: str, layers: tuple[str, ...]) -> None:
    """Whichever layer they are in; the virtual server counts as converged."""
    made = plan(LISTED, with_hand(xml, *layers))

    assert made.empty
    assert [PATHS[xml]] == [change.field for change in made.unlisted]
    assert made.unlisted[0].new is None


@pytest.mark.parametrize("xml", PATHS)
def test_they_are_detached_where_the_policy_says_so(xml: str) -> None:
    """From both layers; what the manifest lists stays."""
    seen = with_hand(xml, "config", "live")

    made = plan(LISTED | DETACH, seen)

    alias = parse_xml(xml).find("alias").get("name")
    assert [Detach(alias)] == actions(made)
    assert ["disk", "interface"] == [each.tag for each in definition(made).find("devices")]
    assert () == made.unlisted


def test_one_that_is_only_plugged_needs_no_define() -> None:
    """Its configuration is as wanted."""
    made = plan(LISTED | DETACH, with_hand(DISK, "live"))

    assert [Detach("virtio-vdz")] == actions(made)
    assert [] == [step for step in made.steps if isinstance(step.action, Define)]


def test_other_kinds_are_nobodys_business() -> None:
    """libvirt itself adds controllers, balloons and consoles."""
    seen = with_hand("<controller type='scsi' index='9'><alias name='s'/></controller>", "live")

    assert () == plan(LISTED, seen).unlisted
    assert plan(LISTED | DETACH, seen).empty


def test_what_a_piece_speaks_of_is_listed() -> None:
    """spec.xml may state a device that the keys cannot say."""
    xml = {"xml": f"<domain><devices>{DISK}</devices></domain>"}
    seen = with_hand(DISK, "config", "live")

    for policy in ({}, DETACH):
        made = plan(LISTED | xml | policy, seen)
        assert [] == actions(made)
        assert () == made.unlisted


def test_what_was_ours_once_is_not_foreign() -> None:
    """It is taken back, and never told of as attached by hand."""
    seen = restarted(defined(wanted(LISTED)))

    made = plan(spec(), seen)
    after = stored(made, seen)

    assert () == made.unlisted == plan(spec(), after).unlisted


def test_one_of_a_new_virtual_server_is_none() -> None:
    """Nothing is there."""
    assert () == plan(LISTED | DETACH, None).unlisted
