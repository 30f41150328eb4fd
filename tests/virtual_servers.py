"""Virtual servers that are made up for tests: manifests, and what libvirt would have of them."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lxml import etree

from reconvirt.domain.actions import Define, Record
from reconvirt.domain.changes import Plan
from reconvirt.domain.desired import Desired, Statement
from reconvirt.domain.mark import write_mark
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.plan import make_plan, render
from reconvirt.domain.xmltree import parse_xml
from strategies import NAME, wanted

if TYPE_CHECKING:
    from lxml.etree import _Element

Spec = dict[str, Any]
OS = {"arch": "s390x", "machine": "s390-ccw-virtio"}
PC = {"arch": "x86_64", "machine": "q35"}


def spec(**more: Any) -> Spec:
    """A small ``spec``, with something else in it."""
    return {"memory": "1 GiB", "vcpu": {"maximum": 4, "current": 2}, "os": OS} | more


def devices(**kinds: Any) -> Spec:
    """A small ``spec`` with these devices."""
    return spec(devices=kinds)


def disk(letter: str, **more: Any) -> Spec:
    """A disk, vdX on /images/X.img."""
    return {
        "type": "file",
        "driver": {"type": "raw"},
        "source": {"file": f"/images/{letter}.img"},
        "target": {"dev": f"vd{letter}"},
    } | more


def nic(number: int = 1, **more: Any) -> Spec:
    """An interface on the bridge br0."""
    mac = {"address": f"52:54:00:00:00:{number:02x}"}
    return {"type": "bridge", "mac": mac, "source": {"bridge": "br0"}} | more


def text_of(root: _Element) -> str:
    """The element as text, however it is indented."""
    return etree.tostring(root, encoding="unicode", with_tail=False)


def observe(config: str | _Element, live: str | _Element | None = None) -> Observed:
    """What libvirt says of a virtual server with these definitions."""
    texts = [
        None if each is None else each if isinstance(each, str) else text_of(each)
        for each in (config, live)
    ]
    uuid = parse_xml(texts[0] or "").findtext("uuid") or ""
    if texts[1] is None:
        return Observed(NAME, uuid, None, State.SHUTOFF, "", texts[0] or "", None)
    return Observed(NAME, uuid, 1, State.RUNNING, "", texts[0] or "", texts[1])


def shut_off(config_spec: Spec) -> Observed:
    """A virtual server that is shut off."""
    return observe(render(wanted(config_spec)))


def as_started(config: str | _Element) -> _Element:
    """The active XML of one that was started with this configuration: devices have aliases."""
    root = parse_xml(config) if isinstance(config, str) else copy.deepcopy(config)
    for number, device in enumerate(root.iterfind("devices/*")):
        if device.find("alias") is None and device.tag != "emulator":
            target = device.find("target")
            what = target.get("dev") if target is not None and device.tag == "disk" else None
            etree.SubElement(device, "alias", name=f"virtio-{what or number}")
    return root


def running(config_spec: Spec, live_spec: Spec | None = None, **live: str) -> Observed:
    """A running virtual server: its configuration, and what it was started with."""
    config = parse_xml(render(wanted(config_spec)))
    active = parse_xml(render(wanted(live_spec or config_spec)))
    for root in (config, active):
        for number, device in enumerate(root.findall("devices/disk")):
            if device.find("address") is None:
                etree.SubElement(device, "address", type="ccw", ssid="0x0", devno=f"0x{number:04x}")
    active = as_started(active)
    for path, value in live.items():
        element = active.find(path)
        assert element is not None
        element.text = value
    return observe(config, active)


def change_live(seen: Observed, find: str, **attributes: str) -> Observed:
    """The same with other attributes of one element of what runs."""
    root = parse_xml(seen.live or "")
    element = root.find(find)
    assert element is not None
    for name, value in attributes.items():
        element.set(name, value)
    return replace(seen, live=text_of(root))


def plan(after: Spec, observed: Observed | None, **hindrances: str) -> Plan:
    """The plan for a manifest with this ``spec``."""
    return make_plan(wanted(after), observed, hindrances)


def actions(made: Plan) -> list[Any]:
    """The actions of the steps but the define and the records, which are looked at apart."""
    return [s.action for s in made.steps if not isinstance(s.action, Define | Record)]


def verbs(made: Plan) -> list[str]:
    """What is done, in order."""
    return [step.action.verb for step in made.steps]


def waits(made: Plan) -> dict[str, str]:
    """The reasons of what waits, by field."""
    return {change.field: change.reason for change in made.waiting}


def refusals(made: Plan) -> dict[str, str]:
    """The reasons of what is refused, by field."""
    return {change.field: change.reason for change in made.refused}


def definition(made: Plan) -> _Element:
    """The domain that a plan defines."""
    [action] = [step.action for step in made.steps if isinstance(step.action, Define)]
    return parse_xml(action.xml)


def stored(made: Plan, observed: Observed | None) -> Observed:
    """The virtual server after the steps that write its configuration and its marks."""
    for step in made.steps:
        match step.action:
            case Define(xml):
                observed = (
                    observe(xml) if observed is None else replace(observed, config=as_libvirt(xml))
                )
            case Record(mark, live):
                assert observed is not None
                root = parse_xml((observed.live if live else observed.config) or "")
                write_mark(root, Statement.from_json(parse_xml(mark).text or ""))
                changed = {"live" if live else "config": text_of(root)}
                observed = replace(observed, **changed)
    assert observed is not None
    return observed


def as_libvirt(xml: str) -> str:
    """A definition as it is read back."""
    return text_of(parse_xml(xml))


def defined(desired: Desired, before: Observed | None = None) -> Observed:
    """One that is shut off after the plan for it."""
    return stored(make_plan(replace(desired, state="shutoff"), before), before)


def restarted(seen: Observed) -> Observed:
    """The same after its next start."""
    return observe(seen.config, as_started(seen.config))


def canonical(element: _Element) -> str:
    """One text for equal elements."""
    return etree.tostring(element, method="c14n2", strip_text=True).decode()


def _tag(element: _Element) -> str:
    return str(element.tag)


def meaning(xml: str) -> str:
    """What a domain says, in whatever order its elements stand; without the mark.

    Spare ports that libvirt has not numbered yet are left out: they are never taken away.
    """
    root = parse_xml(xml)
    for path in ("metadata", "devices/controller[@model='pcie-root-port']"):
        for element in root.findall(path):
            if element.get("index") is None:
                element.getparent().remove(element)
    for element in list(root):
        if not len(element) and not element.attrib and not element.text:
            root.remove(element)
    for parent in list(root.iter())[::-1]:
        # The order of what is booted from is its meaning.
        parent[:] = sorted(parent, key=_tag if parent.tag == "os" else canonical)
    return canonical(root)
