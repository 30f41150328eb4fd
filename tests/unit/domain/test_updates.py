"""Changes of devices that are plugged in: interfaces, media, limits; balloon and labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconvirt.domain.actions import (
    LimitInterface,
    SetMemory,
    SetText,
    Throttle,
    UpdateDevice,
)
from reconvirt.domain.changes import Plan
from reconvirt.domain.effects import Effect
from reconvirt.domain.xmltree import parse_xml
from virtual_servers import (
    Spec,
    actions,
    change_live,
    definition,
    devices,
    disk,
    nic,
    plan,
    refusals,
    running,
    spec,
    verbs,
    waits,
)

NIC = "devices.interfaces[52:54:00:00:00:01]"
CDROM = "devices.disks[sda]"
BALLOON: Spec = {"devices": {"memballoon": {"model": "virtio"}}}
NETWORK: Spec = {"type": "network", "source": {"network": "n", "portgroup": "p"}}


def changed(before: Spec, after: Spec) -> Plan:
    """The plan for an interface that is plugged in."""
    return plan(devices(interfaces=[nic() | after]), running(devices(interfaces=[nic() | before])))


def fields(made: Plan) -> list[list[str]]:
    """The fields that each call changes."""
    return [
        [change.field.removeprefix(f"{NIC}.") for change in step.changes]
        for step in made.steps
        if isinstance(step.action, UpdateDevice | LimitInterface)
    ]


class TestInterfaces:
    @pytest.mark.parametrize(
        ("before", "after", "groups"),
        [
            ({}, {"link": {"state": "down"}}, [["link.state"]]),
            ({"link": {"state": "down"}}, {}, [["link.state"]]),
            ({}, {"source": {"bridge": "br1"}}, [["source.bridge"]]),
            (
                NETWORK,
                NETWORK | {"source": {"network": "m"}},
                [["source.network", "source.portgroup"]],
            ),
            ({}, {"vlan": {"tag": {"id": 7}}}, [["vlan.tag.id"]]),
            ({}, {"filterref": {"filter": "f"}}, [["filterref.filter"]]),
            ({}, {"port": {"isolated": "yes"}}, [["port.isolated"]]),
            (
                {"bandwidth": {"inbound": {"average": 1}}},
                {"bandwidth": {"inbound": {"average": 2}, "outbound": {"average": 3, "peak": 4}}},
                [
                    [
                        "bandwidth.inbound.average",
                        "bandwidth.outbound.average",
                        "bandwidth.outbound.peak",
                    ]
                ],
            ),
            (
                {},
                {"source": {"bridge": "br1"}, "link": {"state": "down"}},
                [["source.bridge"], ["link.state"]],
            ),
        ],
    )
    def test_what_is_changed_together_is_one_call(
        self, before: Spec, after: Spec, groups: list[list[str]]
    ) -> None:
        """Of one element of an interface, at once; another one has a call of its own."""
        made = changed(before, after)

        assert groups == fields(made)
        assert {} == waits(made) == refusals(made)

    def test_a_network_that_is_a_bridge_is_the_network_that_was_stated(self) -> None:
        """libvirt tells in the XML of what runs which bridge it is."""
        wanted = devices(interfaces=[nic() | NETWORK])
        plugged = change_live(running(wanted), "devices/interface", type="bridge")
        plugged = change_live(plugged, "devices/interface/source", portid="x", bridge="br7")

        assert plan(wanted, plugged).empty
        other = plan(devices(interfaces=[nic() | NETWORK | {"source": {"network": "m"}}]), plugged)
        assert [["source.network", "source.portgroup"]] == fields(other)

    def test_a_rate_that_is_stated_no_longer_is_lifted(self) -> None:
        """By its number: an update that says nothing of it leaves it on an Open vSwitch port."""
        rates = {"inbound": {"average": 1, "peak": 2}, "outbound": {"average": 3}}
        made = changed({"bandwidth": rates}, {"bandwidth": {"outbound": {"average": 4}}})

        limits = (("inbound.average", 0), ("inbound.peak", 0), ("outbound.average", 4))
        assert [limits] == [action.rates for action in actions(made)]

    def test_the_whole_interface_is_sent_as_it_runs(self) -> None:
        """What libvirt does not find in an update it removes."""
        made = changed({}, {"link": {"state": "down"}, "source": {"bridge": "br1"}})

        sent = [parse_xml(action.xml) for action in actions(made)]
        assert ["br1", "br0"] == [each.find("source").get("bridge") for each in sent]
        assert [None, "down"] == [
            None if each.find("link") is None else each.find("link").get("state") for each in sent
        ]
        assert all(each.find("alias") is not None for each in sent)

    def test_what_libvirt_found_out_about_the_source_is_left_out(self) -> None:
        """It is not true of the next one."""
        before, after = (
            devices(interfaces=[nic() | NETWORK | {"source": {"network": each}}]) for each in "nm"
        )
        seen = change_live(running(before), "devices/interface/source", portid="x", bridge="virbr0")

        [update] = actions(plan(after, seen))

        assert {"network": "m"} == dict(parse_xml(update.xml).find("source").attrib)

    @pytest.mark.parametrize(
        ("after", "field"),
        [
            ({"model": {"type": "e1000"}}, "model.type"),
            ({"mtu": {"size": 9000}}, "mtu.size"),
            ({"driver": {"queues": 4}}, "driver.queues"),
            ({"boot": {"order": 1}}, "boot.order"),
        ],
    )
    def test_other_fields_wait(self, after: Spec, field: str) -> None:
        """libvirt cannot change them while the interface is plugged in."""
        made = changed({}, after)

        assert [f"{NIC}.{field}"] == list(waits(made))
        assert [] == actions(made)

    def test_another_type_lets_all_wait(self) -> None:
        """Nothing of an interface can be changed together with its type."""
        made = changed({}, {**NETWORK, "link": {"state": "down"}})

        assert [] == actions(made)
        assert {f"{NIC}.type", f"{NIC}.source.network", f"{NIC}.link.state"} <= set(waits(made))

    def test_what_libvirt_has_refused_waits(self) -> None:
        """Each field for itself."""
        before = running(devices(interfaces=[nic()]))
        after = devices(interfaces=[nic(link={"state": "down"}, source={"bridge": "br1"})])

        made = plan(after, before, **{f"{NIC}.link.state": "libvirt says no"})

        assert [["source.bridge"]] == fields(made)
        assert {f"{NIC}.link.state": "libvirt says no"} == waits(made)


def cdrom(file: str | None, **more: Any) -> Spec:
    """A CD-ROM drive with a medium."""
    source = {} if file is None else {"file": file}
    drive = {"device": "cdrom", "target": {"dev": "sda"}, "source": source}
    return disk("a", **drive) | more


def with_drive(file: str | None, **more: Any) -> Spec:
    """A virtual server with the drive alone."""
    return devices(disks=[cdrom(file)]) | more


class TestMedia:
    @pytest.mark.parametrize(
        ("before", "after"), [(None, "/new.iso"), ("/old.iso", None), ("/old.iso", "/new.iso")]
    )
    def test_a_medium_is_inserted_ejected_and_replaced(
        self, before: str | None, after: str | None
    ) -> None:
        """At once, and only as far as the guest lets it go."""
        made = plan(with_drive(after), running(with_drive(before)))

        [update] = actions(made)
        source = parse_xml(update.xml).find("source")
        assert after == (None if source is None else source.get("file"))
        assert update.force is False
        assert ["define", "update"] == verbs(made)[-2:]

    def test_a_locked_tray_is_forced_where_the_policy_says_so(self) -> None:
        """As if the drive had an emergency eject."""
        made = plan(with_drive(None, policy={"media": "force"}), running(with_drive("/old.iso")))

        assert [True] == [action.force for action in actions(made)]

    def test_a_host_device_takes_the_place_of_a_file(self) -> None:
        """Type, source and format change in one call, and no trace of the file is left."""
        block = cdrom(None, type="block", source={"dev": "/dev/sr0"})

        made = plan(devices(disks=[block]), running(with_drive("/old.iso")))

        [update] = actions(made)
        element = parse_xml(update.xml)
        assert ("block", {"dev": "/dev/sr0"}) == (
            element.get("type"),
            dict(element.find("source").attrib),
        )

    def test_the_drive_itself_stays(self) -> None:
        """Another bus is another drive."""
        after = devices(disks=[cdrom("/old.iso", target={"dev": "sda", "bus": "sata"})])

        made = plan(after, running(with_drive("/old.iso")))

        assert [f"{CDROM}.target.bus"] == list(waits(made))

    def test_a_disk_has_no_medium(self) -> None:
        """Its source waits, with the reason."""
        after = devices(disks=[disk("a", source={"file": "/other.img"})])

        made = plan(after, running(devices(disks=[disk("a")])))

        assert {
            "devices.disks[vda].source.file": "libvirt can change the source of CD-ROM and "
            "floppy drives only"
        } == waits(made)


class TestLimits:
    def limited(self, **limits: int | str) -> Spec:
        """A virtual server with one disk whose I/O is limited."""
        return devices(disks=[disk("a", iotune=limits) if limits else disk("a")])

    def test_all_limits_are_set_in_one_call(self) -> None:
        """Those that stay are set again: libvirt takes what is left out as it is."""
        before = self.limited(total_iops_sec=100, read_bytes_sec=5)
        after = self.limited(total_iops_sec=200, read_bytes_sec=5, group_name="g")

        made = plan(after, running(before))

        assert [
            Throttle("vda", (("group_name", "g"), ("read_bytes_sec", 5), ("total_iops_sec", 200)))
        ] == actions(made)

    def test_what_is_stated_no_more_is_no_limit(self) -> None:
        """0 lifts it."""
        before = self.limited(total_iops_sec=100, read_bytes_sec=5)

        made = plan(self.limited(read_bytes_sec=5), running(before))

        assert [Throttle("vda", (("read_bytes_sec", 5), ("total_iops_sec", 0)))] == actions(made)

    def test_all_of_them_can_be_lifted(self) -> None:
        """A group stays: it cannot be left."""
        before = self.limited(total_iops_sec=100, group_name="g")

        made = plan(self.limited(), running(before))

        assert [Throttle("vda", (("total_iops_sec", 0),))] == actions(made)

    def test_another_field_of_the_disk_waits_beside(self) -> None:
        """Each in its own way."""
        after = devices(disks=[disk("a", iotune={"total_iops_sec": 1}, serial="s")])

        made = plan(after, running(devices(disks=[disk("a")])))

        assert ["throttle"] == [action.verb for action in actions(made)]
        assert ["devices.disks[vda].serial"] == list(waits(made))


class TestBalloon:
    def test_the_guest_is_asked_to_fill_it(self) -> None:
        """And must answer."""
        made = plan(spec(currentMemory="512 MiB", **BALLOON), running(spec(**BALLOON)))

        assert [SetMemory(524288)] == actions(made)
        assert made.steps[-1].asks
        assert Effect.GUEST is made.steps[-1].changes[0].effect

    @pytest.mark.parametrize("kind", [{}, {"devices": {"memballoon": {"model": "none"}}}])
    def test_without_a_balloon_it_waits(self, kind: Spec) -> None:
        """There is nobody to ask."""
        made = plan(spec(currentMemory="512 MiB", **kind), running(spec(**kind)))

        assert {"currentMemory": "it was started without a memory balloon"} == waits(made)

    def test_more_than_it_was_started_with_waits(self) -> None:
        """Memory and balloon grow together at the next start."""
        made = plan(
            spec(memory="4 GiB", currentMemory="2 GiB", **BALLOON),
            running(spec(currentMemory="1 GiB", **BALLOON)),
        )

        assert {"memory.size", "currentMemory"} == set(waits(made))

    def test_what_is_stated_no_more_waits(self) -> None:
        """The guest keeps what it has."""
        before = spec(currentMemory="512 MiB", **BALLOON)

        made = plan(spec(**BALLOON), running(before))

        assert ["currentMemory"] == list(waits(made))

    def test_more_memory_leaves_the_balloon_as_it_is_stated(self) -> None:
        """Though libvirt would give the guest all of it."""
        before = spec(memory="1 GiB", currentMemory="1 GiB", state="shutoff")
        after = spec(memory="2 GiB", currentMemory="1 GiB", state="shutoff")

        [step] = plan(after, running(before)).steps[:1]

        assert '<currentMemory unit="KiB">1048576<' in step.action.xml

    def test_with_more_memory_alone_the_guest_gets_all_of_it(self) -> None:
        """What libvirt has filled in would take the balloon for a wish."""
        seen = running(spec())
        now = "<currentMemory unit='KiB'>1048576</currentMemory>"
        filled = seen.config.replace("<vcpu", f"{now}<vcpu")

        made = plan(spec(memory="2 GiB"), replace(seen, config=filled))

        assert definition(made).find("currentMemory") is None


class TestLabels:
    @pytest.mark.parametrize("kind", ["title", "description"])
    def test_they_are_set_changed_and_removed_at_once(self, kind: str) -> None:
        """libvirt only keeps them."""
        bare, one, two = spec(), spec(**{kind: "one"}), spec(**{kind: "two"})

        assert [SetText(kind, "one")] == actions(plan(one, running(bare)))
        assert [SetText(kind, "two")] == actions(plan(two, running(one)))
        assert [SetText(kind, "")] == actions(plan(bare, running(one)))
