"""Whose a virtual server is, what of it is ours, and what is never touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from lxml import etree

from reconvirt.domain.actions import (
    Define,
)
from reconvirt.domain.changes import Plan
from reconvirt.domain.desired import (
    IDENTITY_NAME,
    IDENTITY_UUID,
    REVISION,
    SOURCE,
    TIME,
    Desired,
    Origin,
    Statement,
    desire,
)
from reconvirt.domain.mark import read_mark, write_mark
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.ownership import is_ours
from reconvirt.domain.plan import make_plan, render
from reconvirt.domain.xmltree import parse_xml
from reconvirt.manifest.identity import derive_uuid
from reconvirt.manifest.model import Manifest
from reconvirt.manifest.problem import Position
from strategies import NAME, wanted
from virtual_servers import (
    as_started,
    defined,
    disk,
    observe,
    plan,
    shut_off,
    spec,
    stored,
    text_of,
)


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


STRANGE = "11111111-2222-4333-8444-555555555555"
HERE = Origin("desired")


def from_source(
    origin: Origin = HERE, uuid: str | None = None, name: str = NAME, **more: Any
) -> Desired:
    """A manifest from a source."""
    place = Position("web1.yaml", 1, 1)
    return desire(Manifest(name, uuid, {}, spec(state="shutoff", **more), place, ""), origin=origin)


def applied(desired: Desired, **noted: str | None) -> Observed:
    """A domain to which this was applied; perhaps with other notes, or without some."""
    seen = defined(desired)
    root = parse_xml(seen.config)
    mark = read_mark(root)
    assert mark is not None
    notes = {**mark.notes, **noted}
    kept = {key: note for key, note in notes.items() if note is not None}
    write_mark(root, replace(mark, notes=kept))
    return replace(seen, name=desired.name, config=text_of(root))


def with_uuid(seen: Observed, uuid: str) -> Observed:
    root = parse_xml(seen.config)
    element = root.find("uuid")
    assert element is not None
    element.text = uuid
    return replace(seen, uuid=uuid, config=text_of(root))


def notes_after(made: Plan, seen: Observed) -> Mapping[str, str]:
    mark = read_mark(parse_xml(stored(made, seen).config))
    assert mark is not None
    return mark.notes


class TestBinding:
    """Metadata owns the domain that it was written for, and no other."""

    def refusal(self, desired: Desired, seen: Observed) -> str:
        made = make_plan(desired, seen)
        assert ((), ()) == (made.steps, made.waiting)
        assert not is_ours(desired, seen)
        return made.refused[0].reason

    def test_what_was_applied_is_ours(self) -> None:
        """Nothing is written again."""
        seen = applied(from_source())

        assert make_plan(from_source(), seen).empty
        assert is_ours(from_source(), seen)

    def test_a_clone_is_not(self) -> None:
        """The way to have it managed is told; nothing that its copied metadata lists is removed."""
        seen = with_uuid(applied(from_source(title="a title")), STRANGE)

        assert f"state metadata.uuid: {STRANGE}" in self.refusal(from_source(), seen)

        made = make_plan(from_source(uuid=STRANGE), seen)
        assert ["record"] == [step.action.verb for step in made.steps]
        assert STRANGE == notes_after(made, seen)[IDENTITY_UUID]
        assert make_plan(from_source(uuid=STRANGE), stored(made, seen)).empty

    def test_one_of_an_earlier_version_is_bound_to_the_derived_uuid(self) -> None:
        """Or to the one that the manifest states."""
        unbound: dict[str, str | None] = {IDENTITY_UUID: None, IDENTITY_NAME: None}
        seen = applied(from_source(), **unbound)
        made = make_plan(from_source(), seen)
        assert ["record"] == [step.action.verb for step in made.steps]
        assert seen.uuid == notes_after(made, seen)[IDENTITY_UUID]

        other = with_uuid(seen, STRANGE)
        assert "metadata.uuid" in self.refusal(from_source(), other)
        assert is_ours(from_source(uuid=STRANGE), other)

    def test_a_uuid_that_is_stated_no_longer_stays(self) -> None:
        """The metadata says which it was."""
        seen = applied(from_source(uuid=STRANGE))

        assert make_plan(from_source(), seen).empty

    def test_one_that_was_renamed_by_hand_is_not(self) -> None:
        """Neither by its new name nor by its uuid."""
        here = with_name(applied(from_source(name="before")), NAME)
        assert f"virsh domrename {NAME} before" in self.refusal(from_source(), here)
        away = with_name(applied(from_source()), "after")
        assert f"virsh domrename after {NAME}" in self.refusal(from_source(), away)

    def test_a_manifest_that_states_its_uuid_renames_it(self) -> None:
        """Then the metadata is bound to the new name."""
        seen = applied(from_source(uuid=STRANGE, name="before"))
        desired = from_source(uuid=STRANGE)

        assert ["rename"] == [step.action.verb for step in make_plan(desired, seen).steps]

        renamed = with_name(seen, NAME)
        assert NAME == notes_after(make_plan(desired, renamed), renamed)[IDENTITY_NAME]

    def test_another_source_s_is_not(self) -> None:
        """Unless it is a former name of this one."""
        seen = applied(from_source(Origin("other")))

        assert "the source 'other' manages it" in self.refusal(from_source(), seen)

        made = make_plan(from_source(Origin("desired", ("other",))), seen)
        assert "desired" == notes_after(made, seen)[SOURCE]

    def test_stating_the_uuid_takes_it_over_once(self) -> None:
        """Two sources that both state it do not take it from each other for ever."""
        uuid = derive_uuid(NAME)
        first, second = from_source(uuid=uuid), from_source(Origin("other"), uuid)
        seen = applied(first)
        taken = stored(make_plan(second, seen), seen)

        assert make_plan(second, taken).empty
        assert "the source 'other' has taken it over" in self.refusal(first, taken)

    def test_another_revision_writes_nothing(self) -> None:
        """What was last applied keeps the revision from which it was."""
        first = from_source(Origin("desired", revision="a", time=1.0))
        later = from_source(Origin("desired", revision="b", time=2.0))
        seen = applied(first)

        assert make_plan(later, seen).empty

        changed = from_source(Origin("desired", revision="b", time=2.0), title="changed")
        notes = notes_after(make_plan(changed, seen), seen)
        assert ("b", "2.000") == (notes[REVISION], notes[TIME])


def with_name(seen: Observed, name: str) -> Observed:
    root = parse_xml(seen.config)
    element = root.find("name")
    assert element is not None
    element.text = name
    return replace(seen, name=name, config=text_of(root))


class TestLostDefinition:
    """A domain that runs and is not persistent any more."""

    def lost(self, **policy: str) -> tuple[Desired, Observed]:
        desired = wanted(spec(policy=policy))
        made = defined(desired)
        live = text_of(as_started(made.config))
        return desired, replace(observe(made.config, live), persistent=False)

    def test_it_is_defined_again(self) -> None:
        """From what libvirt shows."""
        desired, seen = self.lost()

        made = make_plan(desired, seen)

        assert ["define"] == [step.action.verb for step in made.steps]
        assert ["definition"] == [change.field for change in made.drifted]

    def test_or_reported(self) -> None:
        """If that is the policy."""
        made = make_plan(*self.lost(drift="report"))

        assert () == made.steps
        assert ["definition"] == [change.field for change in made.reported]
        assert not made.empty

    def test_one_that_is_arriving_is_left_alone(self) -> None:
        """It gets its definition at the end of the migration."""
        desired, seen = self.lost()

        made = make_plan(desired, replace(seen, job="incoming migration"))

        assert () == made.steps


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
