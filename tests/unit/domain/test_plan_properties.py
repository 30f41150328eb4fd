"""What holds for every manifest and every domain."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from reconvirt.domain.desired import Desired, Statement
from reconvirt.domain.devices import DEVICES
from reconvirt.domain.mark import read_mark
from reconvirt.domain.plan import make_plan, render
from reconvirt.domain.xmltree import parse_xml, reach
from strategies import DESIRED, specs, wanted
from virtual_servers import (
    as_started,
    canonical,
    defined,
    meaning,
    observe,
    restarted,
    stored,
    text_of,
    verbs,
)

# What no row of the table speaks of, and devices that no manifest of these tests lists.
FOREIGN = """
<domain>
  <metadata><other:app xmlns:other="urn:other"><other:k v="1">text</other:k></other:app></metadata>
  <memoryBacking><locked/></memoryBacking>
  <cputune><vcpupin vcpu="0" cpuset="3"/></cputune>
  <os><smbios mode="sysinfo"/></os>
  <features><hyperv mode="custom"><relaxed state="on"/></hyperv></features>
  <cpu><numa><cell id="0" cpus="0" memory="1" unit="GiB"/></numa></cpu>
  <clock><timer name="rtc" tickpolicy="catchup"/></clock>
  <keywrap><cipher name="other" state="on"/></keywrap>
  <seclabel type="none" model="dac"/>
  <devices>
    <controller type="scsi" index="77" model="virtio-scsi">
      <address type="ccw" cssid="0xfe" ssid="0x0" devno="0x0009"/>
    </controller>
    <disk type="network" device="disk">
      <driver name="qemu" type="raw"/>
      <source protocol="rbd" name="p/i"/>
      <target dev="vdz" bus="virtio"/>
      <address type="ccw" cssid="0xfe" ssid="0x0" devno="0x0007"/>
    </disk>
    <filesystem type="mount"><source dir="/a"/><target dir="a"/></filesystem>
    <sound model="ich9"/>
  </devices>
</domain>
"""
LIVE = specs(hotplug=True).map(lambda spec: wanted({**spec, "state": "any"}))


def with_foreign_parts(xml: str) -> str:
    """The domain with elements of somebody else's in it."""
    root = parse_xml(xml)
    for part in parse_xml(FOREIGN):
        reach(root, str(part.tag)).extend(list(part))
        if part.tag == "seclabel":
            reach(root, "seclabel").attrib.update(part.attrib)
    return text_of(root)


def foreign_parts(xml: str) -> list[str]:
    """Somebody else's elements, each in canonical form; those that are missing are empty."""
    root, found = parse_xml(xml), []
    for path in (
        *("metadata/{urn:other}app", "memoryBacking", "cputune/vcpupin", "os/smbios", "seclabel"),
        *("features/hyperv", "cpu/numa", "clock/timer", "keywrap/cipher[@name='other']"),
        *("devices/controller[@index='77']", "devices/disk/target[@dev='vdz']/.."),
        *("devices/filesystem", "devices/sound"),
    ):
        element = root.find(path)
        found.append("" if element is None else canonical(element))
    return found


@given(DESIRED)
def test_a_new_one_is_made_in_one_step(desired: Desired) -> None:
    """The plan of what was just made is empty."""
    assert make_plan(desired, defined(desired)).empty


@given(DESIRED, DESIRED)
def test_any_change_is_made_in_one_step(before: Desired, after: Desired) -> None:
    """The plan of any manifest applied to any configuration leaves an empty plan."""
    made = make_plan(after, defined(before))

    assert verbs(made) in ([], ["define"], ["record"])
    assert make_plan(after, stored(made, defined(before))).empty


@given(DESIRED, DESIRED)
def test_what_is_stated_no_more_leaves_nothing_behind(before: Desired, after: Desired) -> None:
    """Whatever was applied before, the same comes out as if it never had been."""
    changed, new = defined(after, defined(before)), defined(after)

    assert meaning(new.config) == meaning(changed.config)


@given(DESIRED, DESIRED)
def test_what_no_manifest_states_stays(before: Desired, after: Desired) -> None:
    """Elements of others, their addresses and metadata are the same after any change."""
    given_xml = with_foreign_parts(defined(before).config)

    changed = defined(after, observe(given_xml))

    assert foreign_parts(given_xml) == foreign_parts(changed.config)


@given(DESIRED, DESIRED)
def test_without_a_mark_nothing_is_taken_away(before: Desired, after: Desired) -> None:
    """What was not applied by reconvirt is added to and changed, and nothing more."""
    root = parse_xml(defined(before).config)
    root.remove(root.find("metadata"))
    listed = {kind.element for kind in DEVICES}

    changed = parse_xml(defined(replace(after, uuid=root.findtext("uuid")), observe(root)).config)

    for tag in listed:
        assert len(root.findall(f"devices/{tag}")) <= len(changed.findall(f"devices/{tag}"))


@given(DESIRED)
def test_the_mark_says_what_was_applied(desired: Desired) -> None:
    """What the mark keeps reads back as it was, through JSON and XML."""
    made = defined(desired)

    assert desired.statement == read_mark(parse_xml(made.config))
    assert desired.statement == Statement.from_json(desired.statement.to_json())


@given(DESIRED)
def test_rendering_is_the_define(desired: Desired) -> None:
    """What 'render' shows is what would be defined."""
    assert defined(desired).config == render(desired)


@given(DESIRED, st.data())
def test_the_order_of_devices_means_nothing(desired: Desired, data: st.DataObject) -> None:
    """Devices are compared by what they are, not by where they stand."""
    root = parse_xml(defined(desired).config)
    found = root.find("devices")
    if found is None:
        return
    # Those of one kind that only their order tells apart keep it.
    numbered = {kind.element for kind in DEVICES if kind.numbered}
    others = [each for each in found if each.tag not in numbered]
    found[:] = [*data.draw(st.permutations(others)), *(e for e in found if e.tag in numbered)]

    assert make_plan(desired, observe(root)).empty


@given(LIVE)
def test_what_was_just_started_is_as_wanted(desired: Desired) -> None:
    """Nothing is different live but the hotplug devices, which come next."""
    seen = restarted(defined(desired))

    made = make_plan(desired, seen)

    assert not [verb for verb in verbs(made) if verb not in ("record", "attach")]
    assert not made.refused


@given(LIVE, LIVE)
def test_what_cannot_be_done_live_waits_and_the_next_start_brings_it(
    before: Desired, after: Desired
) -> None:
    """Nothing is lost between the two layers: after a restart the plan has only hotplugging."""
    seen = restarted(defined(before))
    seen = stored(make_plan(after, seen), seen)

    second = make_plan(after, seen)
    last = make_plan(after, restarted(seen))

    assert not {"define", "record"} & set(verbs(second))
    assert not [verb for verb in verbs(last) if verb not in ("record", "attach")]


@given(LIVE, LIVE)
def test_planning_again_says_the_same(before: Desired, after: Desired) -> None:
    """What waits, waits for the same reasons once the configuration and the marks are stored."""
    seen = restarted(defined(before))
    first = make_plan(after, seen)

    second = make_plan(after, stored(first, seen))

    assert [c.field for c in first.waiting] == [c.field for c in second.waiting]
    assert first.refused == second.refused


def test_started_ones_have_aliases() -> None:
    """So that the properties above speak of what libvirt shows."""
    root = as_started("<domain><devices><emulator/><disk/></devices></domain>")

    assert ["disk"] == [each.getparent().tag for each in root.iterfind("devices/*/alias")]
