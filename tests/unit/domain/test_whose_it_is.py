"""Whose a virtual server is, what of it is ours, and what is never touched."""

from __future__ import annotations

import pytest
from lxml import etree

from reconvirt.domain.actions import (
    Define,
)
from reconvirt.domain.desired import Statement
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.plan import make_plan, render
from reconvirt.domain.xmltree import parse_xml
from strategies import NAME, wanted
from virtual_servers import disk, plan, shut_off, spec


class TestOwnership:
    def unmarked(self, uuid: str) -> Observed:
        """A virtual server that somebody else made."""
        root = parse_xml(render(wanted(spec(state="shutoff"))))
        root.find("uuid").text = uuid
        root.remove(root.find("metadata"))
        xml = etree.tostring(root, encoding="unicode")
        return Observed(NAME, uuid, None, State.SHUTOFF, "", xml, live=None)

    def test_a_stranger_is_left_alone(self) -> None:
        """The way to take it over is told."""
        uuid = "11111111-2222-4333-8444-555555555555"

        made = plan(spec(), self.unmarked(uuid))

        assert () == made.steps
        assert f"metadata.uuid: {uuid}" in made.refused[0].reason

    def test_stating_its_uuid_takes_it_over(self) -> None:
        """Without a difference nothing is written, not even the mark."""
        uuid = "11111111-2222-4333-8444-555555555555"

        made = make_plan(wanted(spec(state="shutoff"), uuid=uuid), self.unmarked(uuid))

        assert made.empty

    def test_a_uuid_does_not_change(self) -> None:
        """A manifest that states another uuid than the virtual server has is refused."""
        seen = shut_off(spec())

        made = make_plan(wanted(spec(), uuid="11111111-2222-4333-8444-555555555555"), seen)

        assert () == made.steps
        assert "metadata.uuid" == made.refused[0].field

    def test_an_architecture_does_not_change(self) -> None:
        """It would be another virtual server; nothing else is done either."""
        made = plan(spec(os={"arch": "x86_64", "machine": "q35"}, vcpu=2), shut_off(spec()))

        assert () == made.steps
        assert ["os.arch"] == [change.field for change in made.refused]

    def test_a_mark_that_cannot_be_read_owns_nothing(self) -> None:
        """It is repaired, and no device is taken away because of it."""
        seen = shut_off(spec(devices={"disks": [disk("a")]}))
        root = parse_xml(seen.config)
        root.find("metadata")[0].text = "{broken"
        xml = etree.tostring(root, encoding="unicode")

        made = plan(
            spec(state="shutoff"), Observed(NAME, seen.uuid, None, seen.state, "", xml, None)
        )

        assert ["record"] == [step.action.verb for step in made.steps]

    def test_a_mark_of_a_newer_version_is_read_as_far_as_known(self) -> None:
        """Fields this version does not know are left out, not guessed."""
        text = (
            '{"fields":{"memory.size":1,"future":2},"devices":'
            '{"disks":{"vda":{"readonly":true,"future":3}},"futures":{"x":{}}},"future":[]}'
        )

        known = Statement({"memory.size": 1}, {"disks": {"vda": {"readonly": True}}})
        assert known == Statement.from_json(text)

    def test_so_is_one_of_an_earlier_version(self) -> None:
        """It has no more than the paths of what waits."""
        known = Statement.from_json(
            '{"fields":{"memory.size":1},"devices":{},"pending":["memory"]}'
        )

        assert Statement({"memory.size": 1}, {}, pending={"memory": ""}) == known


class TestMachine:
    @pytest.mark.parametrize(
        ("stated", "found", "met"),
        [
            ("s390-ccw-virtio", "s390-ccw-virtio-7.2", True),
            ("s390-ccw-virtio-7.2", "s390-ccw-virtio-7.2", True),
            ("s390-ccw-virtio-7.1", "s390-ccw-virtio-7.2", False),
            ("q35", "pc-q35-7.2", True),
            ("pc", "pc-i440fx-rhel7.6.0", True),
            ("pc", "pc-q35-7.2", False),
        ],
    )
    def test_a_family_is_met_by_its_versions(self, stated: str, found: str, met: bool) -> None:
        """The short name never moves a virtual server to a newer machine."""
        arch = "s390x" if "ccw" in stated else "x86_64"
        seen = shut_off(spec(os={"arch": arch, "machine": found}, state="shutoff"))
        # The mark says what an earlier manifest stated; it is not what is compared here.
        made = plan(spec(os={"arch": arch, "machine": stated}, state="shutoff"), seen)

        assert met is not any(isinstance(s.action, Define) for s in made.steps)
