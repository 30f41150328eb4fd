"""What is planned in which situation, for shut off and for running virtual servers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from lxml import etree

from reconvirt.domain.actions import (
    AddIothread,
    Attach,
    Define,
    DeleteIothread,
    Detach,
    Record,
    SetLifecycleAction,
    SetParameter,
    SetVcpus,
    Shutdown,
    Start,
)
from reconvirt.domain.changes import Plan
from reconvirt.domain.desired import Statement
from reconvirt.domain.effects import Effect
from reconvirt.domain.joint_places import IothreadCount
from reconvirt.domain.mark import read_mark, write_mark
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.plan import make_plan, render
from reconvirt.domain.xmltree import parse_xml
from strategies import NAME, wanted

OS = {"arch": "s390x", "machine": "s390-ccw-virtio"}


def spec(**more: Any) -> dict[str, Any]:
    """A small ``spec``, with something else in it."""
    return {"memory": "1 GiB", "vcpu": {"maximum": 4, "current": 2}, "os": OS} | more


def disk(letter: str, **more: Any) -> dict[str, Any]:
    """A disk, vdX on /images/X.img."""
    return {
        "type": "file",
        "driver": {"type": "raw"},
        "source": {"file": f"/images/{letter}.img"},
        "target": {"dev": f"vd{letter}"},
    } | more


def running(
    config_spec: dict[str, Any], live_spec: dict[str, Any] | None = None, **live: str
) -> Observed:
    """A running virtual server: its configuration, and what it was started with."""
    config = parse_xml(render(wanted(config_spec)))
    active = parse_xml(render(wanted(live_spec or config_spec)))
    for root in (config, active):
        for number, device in enumerate(root.findall("devices/disk")):
            if device.find("address") is None:
                etree.SubElement(device, "address", type="ccw", ssid="0x0", devno=f"0x{number:04x}")
    for device in active.findall("devices/disk"):
        target = device.find("target")
        assert target is not None
        etree.SubElement(device, "alias", name=f"virtio-{target.get('dev')}")
    for path, value in live.items():
        element = active.find(path)
        assert element is not None
        element.text = value
    texts = [etree.tostring(root, encoding="unicode") for root in (config, active)]
    return Observed(NAME, config.findtext("uuid") or "", 1, State.RUNNING, "", *texts)


def shut_off(config_spec: dict[str, Any]) -> Observed:
    """A virtual server that is shut off."""
    xml = render(wanted(config_spec))
    return Observed(
        NAME, parse_xml(xml).findtext("uuid") or "", None, State.SHUTOFF, "", xml, live=None
    )


def plan(after: dict[str, Any], observed: Observed | None, **hindrances: str) -> Plan:
    """The plan for a manifest with this ``spec``."""
    return make_plan(wanted(after), observed, hindrances)


def actions(made: Plan) -> list[Any]:
    """The actions of the steps after the define and the records, which are looked at apart."""
    return [s.action for s in made.steps if not isinstance(s.action, Define | Record)]


def waits(made: Plan) -> dict[str, str]:
    """The reasons of what waits, by field."""
    return {change.field: change.reason for change in made.waiting}


class TestState:
    def test_a_new_one_is_defined_and_started(self) -> None:
        """A virtual server that is not there is made first."""
        made = plan(spec(), None)

        assert ["define", "start"] == [step.action.verb for step in made.steps]

    def test_a_new_one_can_stay_off(self) -> None:
        """Nothing is started that shall be shut off."""
        made = plan(spec(state="shutoff"), None)

        assert ["define"] == [step.action.verb for step in made.steps]

    def test_one_that_is_off_is_started(self) -> None:
        """One that shall run is started, and nothing else."""
        assert [Start()] == actions(plan(spec(), shut_off(spec())))

    def test_one_that_runs_is_asked_to_shut_down(self) -> None:
        """The guest must answer; nothing is destroyed."""
        made = plan(spec(state="shutoff"), running(spec()))

        assert [Shutdown()] == actions(made)
        assert made.steps[-1].asks

    def test_nothing_is_plugged_into_one_that_shall_go_off(self) -> None:
        """Only the configuration follows."""
        made = plan(spec(state="shutoff", cputune={"shares": 5}), running(spec()))

        assert ["define", "shutdown"] == [step.action.verb for step in made.steps]

    @pytest.mark.parametrize("state", [State.PAUSED, State.CRASHED, State.SUSPENDED])
    def test_one_that_somebody_stopped_is_left_to_people(self, state: State) -> None:
        """It is said, with what to do, and nothing is done."""
        seen = running(spec())
        seen = Observed(NAME, seen.uuid, 1, state, "", seen.config, seen.live)

        made = plan(spec(), seen)

        assert [] == actions(made)
        assert ["state"] == [change.field for change in made.refused]

    def test_as_wanted_is_an_empty_plan(self) -> None:
        """Nothing to do is nothing at all."""
        assert plan(spec(), running(spec())).empty


class TestVcpus:
    def test_more_are_hotplugged(self) -> None:
        """Up to the running maximum it is done at once, in the configuration and live."""
        made = plan(spec(vcpu={"maximum": 4, "current": 3}), running(spec()))

        assert [SetVcpus(3)] == actions(made)
        assert {} == waits(made)

    def test_fewer_wait_on_s390x(self) -> None:
        """s390x has no unplug of vCPUs."""
        made = plan(spec(vcpu={"maximum": 4, "current": 1}), running(spec()))

        assert [] == actions(made)
        assert {"vcpu.current": "s390x cannot unplug vCPUs from a running virtual server"} == waits(
            made
        )

    def test_fewer_are_asked_for_elsewhere(self) -> None:
        """On x86 the guest releases them."""
        pc = {"os": {"arch": "x86_64", "machine": "q35"}}

        made = plan(spec(**pc, vcpu={"maximum": 4, "current": 1}), running(spec(**pc)))

        assert [SetVcpus(1)] == actions(made)
        assert Effect.GUEST is made.steps[-1].changes[0].effect

    def test_more_than_the_running_maximum_wait(self) -> None:
        """Maximum and current both wait, and say why."""
        made = plan(spec(vcpu=8), running(spec()))

        assert [] == actions(made)
        assert ["vcpu.maximum", "vcpu.current"] == list(waits(made))

    def test_a_hindrance_makes_it_wait(self) -> None:
        """What libvirt refused to do live is not tried again and again."""
        made = plan(
            spec(vcpu={"maximum": 4, "current": 3}),
            running(spec()),
            **{"vcpu.current": "libvirt says no"},
        )

        assert [] == actions(made)
        assert {"vcpu.current": "libvirt says no"} == waits(made)


class TestTuning:
    def test_shares_are_live(self) -> None:
        """A new CPU weight is set at once."""
        made = plan(spec(cputune={"shares": 512}), running(spec(cputune={"shares": 2048})))

        assert [SetParameter(512)] == actions(made)

    def test_only_the_live_weight_drifted(self) -> None:
        """Nothing is defined when only what runs is different."""
        stated = spec(cputune={"shares": 512})

        made = plan(stated, running(stated, **{"cputune/shares": "77"}))

        assert ["set-shares"] == [step.action.verb for step in made.steps]

    def test_a_reaction_is_live(self) -> None:
        """Lifecycle actions can be changed while it runs."""
        made = plan(spec(on_crash="preserve"), running(spec(on_crash="destroy")))

        assert [SetLifecycleAction("crash", "preserve")] == actions(made)

    def test_memory_waits_and_says_so(self) -> None:
        """Old and new are told as a person writes them."""
        made = plan(spec(memory="2 GiB"), running(spec()))

        change = made.waiting[0]
        assert ("memory", "1 GiB", "2 GiB") == (change.field, change.old, change.new)

    def test_live_memory_is_rounded_up(self) -> None:
        """libvirt rounds the memory of what runs to whole MiB; that is no difference."""
        made = plan(spec(memory="131073 KiB"), running(spec(memory="131073 KiB"), memory="132096"))

        assert made.empty


class TestIothreads:
    def test_one_is_added_before_the_disk_that_uses_it(self) -> None:
        """Steps come in an order that works."""
        after = spec(
            iothreads=1, devices={"disks": [disk("a", driver={"type": "raw", "iothread": 1})]}
        )

        made = plan(after, running(spec()))

        assert [AddIothread, Attach] == [type(each) for each in actions(made)]

    def test_an_idle_one_is_deleted(self) -> None:
        """The highest one that nothing uses goes."""
        before = spec(
            iothreads=2, devices={"disks": [disk("a", driver={"type": "raw", "iothread": 1})]}
        )

        made = plan({**before, "iothreads": 1}, running(before))

        assert [DeleteIothread(2)] == actions(made)

    def test_those_that_were_busy_go_later(self) -> None:
        """No longer stated, and one of two is deleted already: the other one goes as well."""
        seen = running(spec(), spec(iothreads=2))
        root = parse_xml(seen.live or "")
        IothreadCount().put(root, "1")
        live = etree.tostring(root, encoding="unicode")

        made = plan(spec(), replace(seen, live=live))

        assert [DeleteIothread(1)] == actions(made)


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
        assert "/images/precious.img" in made.refused[0].reason

    def test_what_is_not_given_back_yet_is_remembered(self) -> None:
        """The mark of what runs lists a disk until it is gone; the configuration's does not."""
        before = spec(devices={"disks": [disk("a")]})

        made = plan(spec(), running(before))

        [define] = [s.action for s in made.steps if isinstance(s.action, Define)]
        assert not [s for s in made.steps if isinstance(s.action, Record)]
        assert {} == read_mark(parse_xml(define.xml)).devices["disks"]

    def test_what_will_be_plugged_is_remembered_first(self) -> None:
        """A daemon killed between the record and the attach knows what it was about to do."""
        made = plan(spec(devices={"disks": [disk("a")]}), running(spec()))

        verbs = [step.action.verb for step in made.steps]
        assert ["define", "record", "attach"] == verbs

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
        text = '{"fields":{"memory":1,"future":2},"devices":{"disks":{},"futures":{}}}'

        assert Statement({"memory": 1}, {"disks": {}}) == Statement.from_json(text)


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
