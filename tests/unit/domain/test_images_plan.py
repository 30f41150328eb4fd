"""Planning for images: made where nothing is, grown, and never anything else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconvirt.domain.actions import CreateImage, GrowDisk, GrowImage
from reconvirt.domain.changes import Plan
from reconvirt.domain.image_plan import ImageFacts, Images, KnownImages, wanted_images
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.plan import Host, make_plan
from reconvirt.domain.xmltree import parse_xml
from strategies import wanted
from virtual_servers import (
    Spec,
    defined,
    devices,
    disk,
    observe,
    refusals,
    restarted,
    running,
    shut_off,
    spec,
    text_of,
    verbs,
)

GIB = 1 << 30
PATH = "/images/a.img"
FIELD = "devices.disks[vda].create"


def made_disk(create: Spec, kind: str = "qcow2", **more: Any) -> Spec:
    """A virtual server with a disk whose image is to be made."""
    return devices(disks=[disk("a", driver={"type": kind}, create=create, **more)])


def plan_with(
    after: Spec,
    facts: ImageFacts | None,
    seen: Observed | None = None,
    images: Images | None = None,
) -> Plan:
    """The plan where this stands at the path of the image."""
    host = Host(images=images if images is not None else {PATH: facts})
    return make_plan(wanted(after), seen, {}, host)


def there(size: int, kind: str = "qcow2") -> ImageFacts:
    """A good image."""
    return ImageFacts(PATH, kind, size)


class TestMissing:
    def test_it_is_made_before_the_virtual_server_is_defined(self) -> None:
        """And started."""
        made = plan_with(made_disk({"size": "1 GiB"}), None)

        assert ["create-image", "define", "start"] == verbs(made)
        assert CreateImage(PATH, "qcow2", GIB, None, None, None) == made.steps[0].action
        change = made.steps[0].changes[0]
        assert (FIELD, None, "1 GiB") == (change.field, change.old, change.new)

    def test_it_may_start_from_another_one(self) -> None:
        """With or without a size of its own."""
        create = {"backing": {"file": "/base", "format": "raw"}, "preallocation": "metadata"}

        action = plan_with(made_disk(create), None).steps[0].action

        assert CreateImage(PATH, "qcow2", None, "/base", "raw", "metadata") == action

    @pytest.mark.parametrize("seen", [shut_off(spec()), running(spec())])
    def test_it_is_made_before_its_disk_is_plugged(self, seen: Observed) -> None:
        """Whether it runs or not."""
        made = plan_with(made_disk({"size": "1 GiB"}), None, seen)

        assert "create-image" == verbs(made)[0]

    def test_what_was_not_looked_at_is_left(self) -> None:
        """No facts are no reason to make anything."""
        made = plan_with(made_disk({"size": "1 GiB"}), None, images={})

        assert ["define", "start"] == verbs(made)

    def test_a_disk_without_create_is_the_administrators(self) -> None:
        """Nothing is made of it, whatever stands there."""
        after = devices(disks=[disk("a")])

        assert {} == wanted_images(wanted(after))
        assert ["define", "start"] == verbs(plan_with(after, None))

    def test_which_images_are_to_be_looked_at(self) -> None:
        """With the format they are read in."""
        assert {PATH: "raw"} == wanted_images(wanted(made_disk({"size": "1 GiB"}, "raw")))


class TestThere:
    def test_one_of_the_right_size_is_left(self) -> None:
        """There is nothing to do."""
        after = made_disk({"size": "1 GiB"})

        assert plan_with(after, there(GIB), running(after)).empty

    def test_one_is_grown_while_it_is_used(self) -> None:
        """By libvirt, which tells the guest."""
        after = made_disk({"size": "2 GiB"})

        made = plan_with(after, there(GIB), running(made_disk({"size": "1 GiB"})))

        assert [GrowDisk("vda", 2 * GIB)] == [s.action for s in made.steps if s.changes]
        change = made.steps[-1].changes[0]
        assert (f"{FIELD}.size", "1 GiB", "2 GiB") == (change.field, change.old, change.new)

    def test_one_is_grown_while_nobody_uses_it(self) -> None:
        """Before the start."""
        after = made_disk({"size": "2 GiB"})

        made = plan_with(after, there(GIB), shut_off(after))

        assert [GrowImage(PATH, "qcow2", 2 * GIB)] == [
            s.action for s in made.steps if s.action.verb == "grow-image"
        ]
        assert ["grow-image", "start"] == verbs(made)

    def test_one_that_is_still_to_be_plugged_is_grown_afterwards(self) -> None:
        """Then libvirt can do it."""
        made = plan_with(made_disk({"size": "2 GiB"}), there(GIB), running(spec()))

        assert "attach" in verbs(made)
        assert not {"grow-disk", "grow-image"} & set(verbs(made))

    @pytest.mark.parametrize("runs", [True, False])
    def test_it_is_never_made_smaller(self, runs: bool) -> None:
        """What its end holds would be lost."""
        after = made_disk({"size": "1 GiB"})

        made = plan_with(after, there(2 * GIB), running(after) if runs else shut_off(after))

        assert "an image is never made smaller" in refusals(made)[f"{FIELD}.size"]
        assert not {"grow-disk", "grow-image"} & set(verbs(made))

    def test_a_wrong_format_is_refused(self) -> None:
        """It is left as it is."""
        facts = ImageFacts(PATH, "raw", None, "it is raw and not qcow2")

        made = plan_with(made_disk({"size": "1 GiB"}), facts, shut_off(spec()))

        assert {FIELD: f"{PATH}: it is raw and not qcow2; it is left as it is"} == refusals(made)

    def test_without_a_size_any_will_do(self) -> None:
        """The size is its backing file's."""
        after = made_disk({"backing": {"file": "/base", "format": "raw"}})

        assert plan_with(after, there(7 * GIB), running(after)).empty

    def test_a_size_that_is_no_whole_kib_is_told_rounded_up(self) -> None:
        """Nothing is shown as equal that is not."""
        made = plan_with(made_disk({"size": "1 GiB"}), there(GIB + 512), running(spec()))
        after = made_disk({"size": "1 GiB"})
        plugged = plan_with(after, there(GIB + 512), running(after))

        assert {} == refusals(made)
        assert f"{(GIB >> 10) + 1} KiB" == plugged.refused[0].old


class TestOnceThere:
    """An image that was there once and is missing is never made again."""

    WAS_THERE = f"{PATH}: it was there, and is missing"

    @pytest.mark.parametrize("create", [{"size": "1 GiB"}, None], ids=["made", "given"])
    def test_one_that_the_last_applied_manifest_states(self, create: Spec | None) -> None:
        """It is not started, whoever made the image."""
        before = made_disk(create) if create else devices(disks=[disk("a")])

        made = plan_with(made_disk({"size": "1 GiB"}, "raw"), None, defined(wanted(before)))

        assert self.WAS_THERE in refusals(made)[FIELD]
        assert not {"create-image", "start"} & set(verbs(made))
        assert made.recheck

    def test_one_that_was_adopted_and_never_changed(self) -> None:
        """Its configuration names the image, and was not written by us."""
        after = made_disk({"size": "1 GiB"})
        seen = defined(wanted(after))
        root = parse_xml(seen.config)
        root.remove(root.find("metadata"))

        made = plan_with(after, None, replace(seen, config=text_of(root)))

        assert [] == verbs(made)

    def test_one_that_is_known_from_before(self) -> None:
        """The virtual server was undefined meanwhile; it is defined, and not started."""
        host = Host(images={PATH: None}, known_images=KnownImages(frozenset({PATH})))

        made = make_plan(wanted(made_disk({"size": "1 GiB"})), None, {}, host)

        assert ["define"] == verbs(made)
        assert self.WAS_THERE in refusals(made)[FIELD]

    @pytest.mark.parametrize(
        "known",
        [KnownImages(problem="why"), KnownImages(new_problem="why")],
        ids=["record unreadable", "a host is off"],
    )
    def test_where_that_cannot_be_known(self, known: KnownImages) -> None:
        """The careful answer, and what to do."""
        host = Host(images={PATH: None}, known_images=known)

        made = make_plan(wanted(made_disk({"size": "1 GiB"})), None, {}, host)

        assert ["define"] == verbs(made)
        assert "is unknown: why; if it shall really be empty" in refusals(made)[FIELD]

    @pytest.mark.parametrize(
        ("state", "policy"),
        [
            ("running", {"restart": "automatic"}),
            ("running", {"crash": "restart"}),
            ("paused", {}),
        ],
    )
    def test_one_that_runs_is_left_alone(self, state: str, policy: Spec) -> None:
        """The file was moved away by mistake: QEMU has it open still."""
        before = made_disk({"size": "1 GiB"})
        after = before | {"state": state, "policy": policy, "title": "x", "memory": "2 GiB"}
        seen = running(before)
        if "crash" in policy:
            seen = replace(seen, state=State.CRASHED)

        made = plan_with(after, None, seen)

        assert not {"shutdown", "destroy", "suspend", "create-image"} & set(verbs(made))
        assert {"define"} <= set(verbs(made))

    def test_what_shall_be_off_is_shut_down(self) -> None:
        before = made_disk({"size": "1 GiB"})

        made = plan_with(before | {"state": "shutoff"}, None, running(before))

        assert "shutdown" == verbs(made)[-1]

    def test_a_disk_is_not_plugged_without_it(self) -> None:
        """What else has changed is done."""
        host = Host(images={PATH: None}, known_images=KnownImages(frozenset({PATH})))
        after = wanted(made_disk({"size": "1 GiB"}) | {"cputune": {"shares": 7}})

        made = make_plan(after, running(spec()), {}, host)

        assert "set-parameter" in verbs(made)
        assert not {"attach", "create-image"} & set(verbs(made))

    def test_a_new_one_is_made_where_another_was_known(self) -> None:
        """The manifest was given another path."""
        host = Host(images={PATH: None}, known_images=KnownImages(frozenset({"/images/old"})))

        made = make_plan(wanted(made_disk({"size": "1 GiB"})), None, {}, host)

        assert ["create-image", "define", "start"] == verbs(made)


class TestMovedDisks:
    """What is stated is not where the disk is: the image there is none of our business."""

    def seen(self, inside: str = "") -> Observed:
        config = parse_xml(defined(wanted(made_disk({"size": "1 GiB"}))).config)
        config.find("devices/disk/source").set("file", "/images/moved")
        if inside:
            config.find("devices/disk").append(parse_xml(inside))
        return restarted(observe(config))

    def test_it_is_neither_made_nor_grown(self) -> None:
        for facts in (None, there(GIB)):
            made = plan_with(made_disk({"size": "2 GiB"}), facts, self.seen())

            assert ["record", "record"] == verbs(made)
            assert () == made.refused

    def test_nothing_below_an_overlay_is_grown(self) -> None:
        below = f"<backingStore type='file'><source file='{PATH}'/></backingStore>"

        made = plan_with(made_disk({"size": "2 GiB"}), there(GIB), self.seen(below))

        assert not {"grow-disk", "grow-image"} & set(verbs(made))

    def test_what_runs_on_the_old_image_is_not_grown_for_the_new_one(self) -> None:
        before = made_disk({"size": "1 GiB"}, source={"file": "/images/old"})

        made = plan_with(made_disk({"size": "2 GiB"}), there(GIB), running(before))

        assert "define" in verbs(made)
        assert not {"grow-disk", "grow-image"} & set(verbs(made))
