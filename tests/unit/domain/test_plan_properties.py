"""What holds for every manifest and every domain."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from reconvirt.domain.actions import Define, Record
from reconvirt.domain.desired import Desired, Statement
from reconvirt.domain.mark import read_mark, write_mark
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.plan import make_plan, render
from reconvirt.domain.xmltree import parse_xml, print_xml, reach
from strategies import DESIRED, NAME

FOREIGN = """
<domain type='kvm'>
  <title>by hand</title>
  <metadata><other:app xmlns:other='urn:other'><other:k v='1'>text</other:k></other:app></metadata>
  <cpu mode='host-model' check='partial'/>
  <clock offset='utc'/>
  <devices>
    <controller type='scsi' index='0' model='virtio-scsi'>
      <address type='ccw' cssid='0xfe' ssid='0x0' devno='0x0009'/>
    </controller>
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw'/>
      <source protocol='rbd' name='p/i'/>
      <target dev='vdz' bus='virtio'/>
      <address type='ccw' cssid='0xfe' ssid='0x0' devno='0x0007'/>
    </disk>
    <rng model='virtio'><backend model='random'>/dev/random</backend></rng>
  </devices>
</domain>
"""


def stored(xml: str) -> Observed:
    """A virtual server that is shut off and has this configuration."""
    uuid = parse_xml(xml).findtext("uuid") or ""
    return Observed(NAME, uuid, None, State.SHUTOFF, "", xml, None)


def defined(desired: Desired, before: Observed | None) -> Observed:
    """The virtual server after the plan's one step, if there is one."""
    steps = make_plan(desired, before).steps
    assert len(steps) <= 1
    for step in steps:
        if isinstance(step.action, Define):
            return stored(step.action.xml)
        assert isinstance(step.action, Record)
        assert before is not None
        root = parse_xml(before.config)
        write_mark(root, desired.statement)
        return stored(print_xml(root))
    assert before is not None
    return before


def with_foreign_parts(xml: str) -> str:
    """The domain with elements of somebody else's in it."""
    root, foreign = parse_xml(xml), parse_xml(FOREIGN)
    for part in foreign:
        if part.tag in ("devices", "metadata"):
            reach(root, part.tag).extend(list(part))
        else:
            root.append(part)
    return etree.tostring(root, encoding="unicode")


def foreign_parts(xml: str) -> set[str]:
    """Somebody else's elements, each in canonical form."""
    root = parse_xml(xml)
    known = [
        root.find("title"),
        root.find("cpu"),
        root.find("clock"),
        root.find("metadata/{urn:other}app"),
        root.find("devices/controller"),
        root.find("devices/disk/target[@dev='vdz']/.."),
        root.find("devices/rng"),
    ]
    return {etree.tostring(each, method="c14n2", strip_text=True).decode() for each in known}


@given(DESIRED)
def test_a_new_one_is_made_in_one_step(desired: Desired) -> None:
    """The plan of what was just made is empty."""
    made = defined(desired, None)

    assert make_plan(desired, made).empty


@given(DESIRED, DESIRED)
def test_any_change_is_made_in_one_step(before: Desired, after: Desired) -> None:
    """The plan of any manifest applied to any configuration leaves an empty plan."""
    changed = defined(after, defined(before, None))

    assert make_plan(after, changed).empty


@given(DESIRED, DESIRED)
def test_what_no_manifest_states_stays(before: Desired, after: Desired) -> None:
    """Elements of others, their addresses and metadata are the same after any change."""
    given_xml = with_foreign_parts(defined(before, None).config)

    changed = defined(after, stored(given_xml))

    assert foreign_parts(given_xml) == foreign_parts(changed.config)


@given(DESIRED, DESIRED)
def test_what_was_ours_and_is_stated_no_more_goes(before: Desired, after: Desired) -> None:
    """No device stays behind that only the earlier manifest stated."""
    changed = defined(after, defined(before, None))

    targets = {each.get("dev") for each in parse_xml(changed.config).iterfind(".//disk/target")}
    assert set(after.statement.devices["disks"]) == targets


@given(DESIRED)
def test_the_mark_says_what_was_applied(desired: Desired) -> None:
    """What the mark keeps reads back as it was, through JSON and XML."""
    made = defined(desired, None)

    assert desired.statement == read_mark(parse_xml(made.config))
    assert desired.statement == Statement.from_json(desired.statement.to_json())


@given(DESIRED)
def test_rendering_is_the_define(desired: Desired) -> None:
    """What 'render' shows is what would be defined."""
    assert defined(desired, None).config == render(desired)


@given(DESIRED, st.data())
def test_the_order_of_devices_means_nothing(desired: Desired, data: st.DataObject) -> None:
    """Devices are compared by what they are, not by where they stand."""
    root = parse_xml(defined(desired, None).config)
    devices = root.find("devices")
    if devices is None:
        return
    others = [each for each in devices if each.tag != "console"]
    consoles = devices.findall("console")
    devices[:] = [*data.draw(st.permutations(others)), *consoles]

    assert make_plan(desired, stored(etree.tostring(root, encoding="unicode"))).empty
