"""Devices that are plugged into what runs, and taken back."""

from __future__ import annotations

from lxml import etree

from reconvirt.domain.actions import (
    Define,
    Detach,
    Record,
)
from reconvirt.domain.mark import read_mark, write_mark
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.xmltree import parse_xml
from strategies import NAME, wanted
from virtual_servers import actions, disk, plan, running, spec, waits


class TestDevices:
    def test_a_disk_is_attached_at_the_address_of_the_configuration(self) -> None:
        """Live and configured device get the same device number."""
        both = spec(devices={"disks": [disk("a"), disk("b")]})

        made = plan(both, running(both, spec(devices={"disks": [disk("a")]})))

        [attach] = actions(made)
        assert "0x0001" == parse_xml(attach.xml).find("address").get("devno")

    def test_a_new_one_keeps_clear_of_what_only_runs(self) -> None:
        """A device that somebody plugged live is not pushed aside at the next start."""
        seen = running(spec(devices={"disks": [disk("a")]}))
        live = parse_xml(seen.live or "")
        foreign = etree.SubElement(live.find("devices"), "disk")
        etree.SubElement(foreign, "target", dev="vdz")
        etree.SubElement(foreign, "address", type="ccw", ssid="0x0", devno="0x0001")
        seen = Observed(
            NAME, seen.uuid, 1, State.RUNNING, "", seen.config, etree.tostring(live).decode()
        )

        made = plan(spec(devices={"disks": [disk("a"), disk("b")]}), seen)

        [define] = [s.action for s in made.steps if isinstance(s.action, Define)]
        address = parse_xml(define.xml).find("devices/disk/target[@dev='vdb']/../address")
        assert "0x0002" == address.get("devno")

    def test_one_that_was_ours_is_detached_by_its_alias(self) -> None:
        """The configuration first, then what runs."""
        made = plan(spec(), running(spec(devices={"disks": [disk("a")]})))

        assert [Detach("virtio-vda")] == actions(made)
        assert "define" == made.steps[0].action.verb

    def test_somebody_elses_is_left(self) -> None:
        """A disk that no manifest ever stated is no business of ours."""
        seen = running(spec(devices={"disks": [disk("a")]}))
        texts = []
        for text in (seen.config, seen.live or ""):
            root = parse_xml(text)
            write_mark(root, wanted(spec()).statement)
            texts.append(etree.tostring(root, encoding="unicode"))

        assert plan(spec(), Observed(NAME, seen.uuid, 1, State.RUNNING, "", *texts)).empty

    def test_another_disk_behind_the_same_target_is_not_detached(self) -> None:
        """Detaching goes by the target; what stands behind it is looked at first."""
        seen = running(spec(devices={"disks": [disk("a")]}))
        live = (seen.live or "").replace("/images/a.img", "/images/precious.img", 2)
        root = parse_xml(live)
        write_mark(root, wanted(spec(devices={"disks": [disk("a")]})).statement)
        live = etree.tostring(root, encoding="unicode")

        made = plan(spec(), Observed(NAME, seen.uuid, 1, State.RUNNING, "", seen.config, live))

        assert [] == actions(made)
        [diverged] = made.diverged
        assert ("devices.disks[vda].source", "/images/precious.img") == (
            diverged.field,
            diverged.old,
        )

    def test_what_is_not_given_back_yet_is_remembered(self) -> None:
        """The mark of what runs lists a disk until it is gone; the configuration's does not."""
        before = spec(devices={"disks": [disk("a")]})

        made = plan(spec(), running(before))

        [define] = [s.action for s in made.steps if isinstance(s.action, Define)]
        assert not [s for s in made.steps if isinstance(s.action, Record)]
        assert {} == read_mark(parse_xml(define.xml)).devices

    def test_what_will_be_plugged_is_remembered_first(self) -> None:
        """A daemon killed between the record and the attach knows what it was about to do."""
        made = plan(spec(devices={"disks": [disk("a")]}), running(spec()))

        verbs = [step.action.verb for step in made.steps]
        assert ["record", "define", "attach"] == verbs

    def test_a_changed_source_waits(self) -> None:
        """A fixed disk cannot get another image while it is plugged in."""
        after = spec(devices={"disks": [disk("a", source={"file": "/images/new.img"})]})

        made = plan(after, running(spec(devices={"disks": [disk("a")]})))

        assert ["devices.disks[vda].source.file"] == list(waits(made))

    def test_a_disk_on_a_slow_bus_waits(self) -> None:
        """Only what can be hotplugged is."""
        after = spec(devices={"disks": [disk("a", target={"dev": "sda", "bus": "sata"})]})

        made = plan(after, running(spec()))

        assert {"devices.disks[sda]": "a disk on the bus sata cannot be hotplugged"} == waits(made)
