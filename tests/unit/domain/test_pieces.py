"""What a manifest says through spec.xml: planned, plugged, waiting, and taken out again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconvirt.domain.actions import Attach, Detach
from reconvirt.domain.fragment import canonical
from reconvirt.domain.xmltree import parse_xml
from strategies import wanted
from virtual_servers import (
    actions,
    change_live,
    defined,
    definition,
    devices,
    disk,
    meaning,
    plan,
    restarted,
    shut_off,
    spec,
    stored,
    text_of,
    verbs,
    waits,
)

BACKING = "<memoryBacking><locked/></memoryBacking>"
SHMEM = "<shmem name='s'><model type='ivshmem-plain'/><size unit='M'>4</size></shmem>"
SOUND = "<sound model='ich9'/>"
NO_CHANGE = "reconvirt knows no live change for what spec.xml says"


def xml(*parts: str, below: str = "") -> dict[str, str]:
    """A ``spec.xml`` of parts of a domain, and parts below ``<devices>``."""
    inner = f"<devices>{below}</devices>" if below else ""
    return {"xml": f"<domain>{''.join(parts)}{inner}</domain>"}


class TestConfiguration:
    def test_a_piece_is_put_in_and_stays(self) -> None:
        """The next plan is empty."""
        after = spec(state="shutoff", **xml(BACKING, below=SOUND))

        seen = stored(plan(after, shut_off(spec())), shut_off(spec()))

        assert "<locked/>" in seen.config
        assert 'model="ich9"' in seen.config
        assert plan(after, seen).empty

    def test_what_libvirt_adds_to_it_is_no_difference(self) -> None:
        """A piece is satisfied by whatever contains it."""
        after = spec(state="shutoff", **xml(below=SHMEM))
        seen = defined(wanted(after))
        root = parse_xml(seen.config)
        shmem = root.find("devices/shmem")
        shmem.append(parse_xml("<address type='pci' bus='0x01' slot='0x01'/>"))
        shmem.find("size").text = "4096"
        shmem.find("size").set("unit", "KiB")

        assert plan(after, replace(seen, config=text_of(root))).empty

    def test_what_a_person_has_changed_is_put_right(self) -> None:
        """Drift of a piece is drift."""
        after = spec(
            state="shutoff", **xml("<memoryBacking><source type='memfd'/></memoryBacking>")
        )
        seen = defined(wanted(after))
        seen = replace(seen, config=seen.config.replace("memfd", "file"))

        root = definition(plan(after, seen))

        assert "memfd" == root.find("memoryBacking/source").get("type")

    @pytest.mark.parametrize("part", [BACKING, "<on_lockfailure>poweroff</on_lockfailure>"])
    def test_what_is_stated_no_more_is_taken_out(self, part: str) -> None:
        """Nothing is left of it."""
        before = defined(wanted(spec(**xml(part, below=SOUND))))

        after = stored(plan(spec(state="shutoff"), before), before)

        assert meaning(defined(wanted(spec())).config) == meaning(after.config)

    def test_several_that_only_order_tells_apart_are_taken_out(self) -> None:
        """All of them, though each that goes counts no more."""
        before = defined(wanted(spec(**xml(below=12 * SOUND))))

        after = stored(plan(spec(state="shutoff"), before), before)

        assert (12, 0) == tuple(each.config.count("<sound") for each in (before, after))

    def test_only_what_was_ours_is_taken_out(self) -> None:
        """What somebody else has added to the same element stays."""
        before = defined(wanted(spec(**xml("<memoryBacking><locked/></memoryBacking>"))))
        root = parse_xml(before.config)
        root.find("memoryBacking").append(parse_xml("<nosharepages/>"))
        before = replace(before, config=text_of(root))

        made = definition(plan(spec(state="shutoff"), before))

        assert ["nosharepages"] == [each.tag for each in made.find("memoryBacking")]

    def test_what_a_piece_says_no_more_is_taken_out_of_it(self) -> None:
        """Though the piece is still there."""
        before = defined(
            wanted(spec(**xml("<memoryBacking><locked/><nosharepages/></memoryBacking>")))
        )

        made = definition(plan(spec(state="shutoff", **xml(BACKING)), before))

        assert ["locked"] == [each.tag for each in made.find("memoryBacking")]

    def test_a_sibling_of_the_same_name_is_left_alone(self) -> None:
        """One pin of a vCPU is added beside another one's."""
        before = shut_off(spec(cputune={"shares": 5}))
        root = parse_xml(before.config)
        root.find("cputune").append(parse_xml("<vcpupin vcpu='1' cpuset='3'/>"))
        before = replace(before, config=text_of(root))
        pin = "<cputune><vcpupin vcpu='0' cpuset='2'/></cputune>"
        stated = spec(state="shutoff", cputune={"shares": 5})

        with_pin = stored(plan(stated | xml(pin), before), before)
        without = definition(plan(stated, with_pin))

        assert ["1", "0"] == [
            e.get("vcpu") for e in parse_xml(with_pin.config).iterfind("cputune/vcpupin")
        ]
        assert ["1"] == [each.get("vcpu") for each in without.iterfind("cputune/vcpupin")]


class TestRunning:
    def test_a_device_that_can_be_plugged_is(self) -> None:
        """As the configuration has it."""
        made = plan(spec(**xml(below=SHMEM)), restarted(shut_off(spec())))

        [attach] = actions(made)
        assert isinstance(attach, Attach)
        assert canonical(parse_xml(SHMEM)) == canonical(parse_xml(attach.xml))

    def test_it_is_given_back_when_no_manifest_states_it(self) -> None:
        """By its alias."""
        seen = restarted(defined(wanted(spec(**xml(below=SHMEM)))))
        alias = parse_xml(seen.live or "").find("devices/shmem/alias").get("name")

        made = plan(spec(), seen)

        assert [Detach(alias)] == actions(made)
        assert "define" in verbs(made)

    def test_a_device_that_cannot_be_plugged_waits(self) -> None:
        """And says so, also when it shall go."""
        before, after = shut_off(spec()), spec(**xml(below=SOUND))
        why = "libvirt cannot plug a sound into a running virtual server"

        assert {"xml.devices.sound[ich9#1]": why} == waits(plan(after, restarted(before)))
        assert {"xml.devices.sound[ich9#1]": why} == waits(
            plan(spec(), restarted(defined(wanted(after))))
        )

    def test_a_kind_of_the_lists_follows_its_own_rules(self) -> None:
        """A disk on a slow bus waits, though spec.xml states it."""
        part = "<disk type='network'><target dev='sda' bus='sata'/></disk>"

        made = plan(spec(**xml(below=part)), restarted(shut_off(spec())))

        assert {"xml.devices.disk[sda]": "a disk on the bus sata cannot be hotplugged"} == waits(
            made
        )

    def test_anything_else_waits_until_the_next_start(self) -> None:
        """At the first look, at the second, and no longer after a restart."""
        after, seen = spec(**xml(BACKING)), restarted(shut_off(spec()))

        first = plan(after, seen)
        seen = stored(first, seen)
        second = plan(after, seen)

        assert {"xml.memoryBacking": NO_CHANGE} == waits(first) == waits(second)
        assert [] == verbs(second)
        assert plan(after, restarted(seen)).empty

    def test_what_libvirt_shows_otherwise_live_is_what_it_was_started_with(self) -> None:
        """A piece that was there at the start is in force, whatever libvirt made of it."""
        part = "<clock offset='variable' adjustment='0'/>"
        seen = restarted(defined(wanted(spec(**xml(part)))))

        assert plan(spec(**xml(part)), change_live(seen, "clock", adjustment="17")).empty

    def test_a_piece_that_is_taken_out_waits(self) -> None:
        """What runs has it until the next start."""
        seen = restarted(defined(wanted(spec(**xml(BACKING)))))

        first = plan(spec(), seen)
        seen = stored(first, seen)

        assert {"xml.memoryBacking": NO_CHANGE} == waits(first) == waits(plan(spec(), seen))
        assert plan(spec(), restarted(seen)).empty


class TestListedDevices:
    """A piece may add to a device that a list states."""

    MORE = "<disk><target dev='vda'/><encryption format='luks'/></disk>"

    def test_it_adds_to_the_device(self) -> None:
        """One device comes of both, in the configuration and plugged."""
        after = devices(disks=[disk("a")]) | xml(below=self.MORE)

        made = plan(after, restarted(shut_off(spec())))

        [attach] = actions(made)
        plugged = parse_xml(attach.xml)
        assert "/images/a.img" == plugged.find("source").get("file")
        assert "luks" == plugged.find("encryption").get("format")
        assert 1 == len(definition(made).findall("devices/disk"))

    def test_it_is_taken_out_of_the_device(self) -> None:
        """The device stays as its list states it."""
        stated = devices(disks=[disk("a")])
        before = defined(wanted(stated | xml(below=self.MORE)))

        after = stored(plan(stated | {"state": "shutoff"}, before), before)

        assert meaning(defined(wanted(stated)).config) == meaning(after.config)

    def test_the_list_may_go_and_the_piece_stay(self) -> None:
        """A device that moves into spec.xml is neither removed nor given back."""
        source = "<source file='/images/a.img'/><target dev='vda' bus='virtio'/>"
        after = spec(**xml(below=f"<disk type='file'>{source}</disk>"))
        seen = restarted(defined(wanted(devices(disks=[disk("a")]))))

        made = plan(after, seen)

        assert [] == actions(made)
        assert {} == waits(made)
        assert "<disk" in stored(made, seen).config
        assert plan(after, stored(made, seen)).empty

    def test_the_piece_may_go_and_the_list_stay(self) -> None:
        """A device that moves out of spec.xml stays in the configuration and plugged."""
        said = "<driver name='qemu' type='raw'/><source file='/images/a.img'/>"
        said += "<target dev='vda' bus='virtio'/>"
        piece = xml(below=f"<disk type='file' device='disk'>{said}</disk>")
        seen = restarted(defined(wanted(spec(**piece))))
        after = devices(disks=[disk("a")])

        made = plan(after, seen)

        assert [] == actions(made)
        assert {} == waits(made)
        assert plan(after, stored(made, seen)).empty

    def test_what_the_list_does_not_say_waits_where_the_piece_goes(self) -> None:
        """The device stays plugged; the next start brings it without."""
        seen = restarted(defined(wanted(devices(disks=[disk("a")]) | xml(below=self.MORE))))
        after = devices(disks=[disk("a")])

        made = plan(after, seen)
        seen = stored(made, seen)

        assert [] == [each for each in actions(made) if isinstance(each, Attach | Detach)]
        assert ["xml.devices.disk[vda]"] == list(waits(plan(after, seen)))
        assert plan(after, restarted(seen)).empty

    def test_both_may_go_at_once(self) -> None:
        """Nothing is left."""
        before = defined(wanted(devices(disks=[disk("a")]) | xml(below=self.MORE)))

        after = stored(plan(spec(state="shutoff"), before), before)

        assert "<disk" not in after.config
        assert plan(spec(state="shutoff"), after).empty
