"""A disk that a guest writes to is never pointed at other content than it has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconvirt.domain.actions import Define, SetLifecycleAction, SetVcpus, Shutdown, Start
from reconvirt.domain.changes import Change, Plan
from reconvirt.domain.desired import Desired, Statement
from reconvirt.domain.effects import Effect
from reconvirt.domain.mark import read_mark, write_mark
from reconvirt.domain.observed import Observed
from reconvirt.domain.plan import Host, make_plan, render
from reconvirt.domain.side_by_side import lay_side_by_side
from reconvirt.domain.xmltree import parse_xml
from strategies import wanted
from virtual_servers import (
    Spec,
    actions,
    defined,
    definition,
    devices,
    disk,
    observe,
    restarted,
    spec,
    stored,
    text_of,
    verbs,
    waits,
)

OLD, NEW, OVERLAY = "/images/a.img", "/images/b.img", "/images/a.s1"
FIELD = "devices.disks[vda].source"
BELOW = f"<backingStore type='file'><format type='raw'/><source file='{OLD}'/></backingStore>"
MIRROR = f"<mirror type='file' job='copy' ready='yes'><source file='{NEW}'/></mirror>"
OTHER = "'/images/other.img'"


def on(path: str, form: str = "raw", **more: Any) -> Spec:
    """A manifest with one disk, on this image."""
    vda = disk("a", source={"file": path}, driver={"type": form})
    return spec(devices={"disks": [vda]}) | more


def in_pieces(path: str) -> Spec:
    """The same, said in ``spec.xml``."""
    said = f"<disk type='file'><source file='{path}'/><target dev='vda' bus='virtio'/></disk>"
    return spec(xml=f"<domain><devices>{said}</devices></domain>")


def applied(given: Spec, *, runs: bool = True) -> Observed:
    """One to which a manifest was applied, and that runs or does not."""
    made = defined(wanted(given))
    return restarted(made) if runs else made


def moved(
    seen: Observed,
    path: str,
    form: str = "qcow2",
    *,
    layers: tuple[str, ...] = ("config", "live"),
    inside: str = "",
) -> Observed:
    """The same after something has moved vda to another source."""
    changes = {}
    for layer in layers:
        if (text := getattr(seen, layer)) is None:
            continue
        root = parse_xml(text)
        [element] = root.xpath("devices/disk[target/@dev='vda']")
        element.find("source").set("file", path)
        driver = element.find("driver")
        if driver is not None:
            driver.set("type", form)
        if inside:
            element.append(parse_xml(inside))
        changes[layer] = text_of(root)
    return replace(seen, **changes)


def plan_for(given: Spec, seen: Observed, **host: Any) -> Plan:
    return make_plan(wanted(given), seen, {}, Host(**host))


def changes_of(made: Plan) -> set[str]:
    """All fields that a plan would change, now or at the next start."""
    return {c.field for step in made.steps for c in step.changes} | set(waits(made))


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize("drift", ["report", "correct"])
@pytest.mark.parametrize("manifest", [on(OLD), in_pieces(OLD)], ids=["listed", "spec.xml"])
class TestMoved:
    """By a block copy, a snapshot, or a person."""

    def test_it_is_reported_and_left_there(self, manifest: Spec, drift: str, runs: bool) -> None:
        """Whatever the policies say, nothing is defined, and nothing waits for a restart."""
        manifest = manifest | {"policy": {"drift": drift, "restart": "automatic"}}
        seen = moved(applied(manifest, runs=runs), NEW)

        made = plan_for(manifest, seen)

        [change] = made.diverged
        assert (FIELD, NEW, OLD, Effect.REFUSED) == (
            change.field,
            change.old,
            change.new,
            change.effect,
        )
        assert set() == changes_of(made) - {"state"}
        assert ([], [Start()])[not runs] == actions(made)
        assert not made.drifted
        assert not made.empty

    def test_other_changes_go_on_around_it(self, manifest: Spec, drift: str, runs: bool) -> None:
        """The configuration that is defined for them has the disk where it is."""
        seen = moved(applied(manifest, runs=runs), NEW)
        after = manifest | {"vcpu": {"maximum": 4, "current": 3}, "policy": {"drift": drift}}

        made = plan_for(after, seen)

        assert NEW == definition(made).find("devices/disk/source").get("file")
        assert (SetVcpus(3) in actions(made)) == runs
        assert {FIELD} == {each.field for each in made.diverged}
        settled = plan_for(after, as_set(stored(made, seen)))
        assert [] == [each for each in verbs(settled) if each not in ("start", "record")]
        assert {FIELD} == {each.field for each in settled.diverged}

    def test_it_is_in_sync_once_the_manifest_states_it(
        self, manifest: Spec, drift: str, runs: bool
    ) -> None:
        """It stays where it is, and may be moved by the manifest from then on."""
        seen = moved(applied(manifest, runs=runs), NEW)
        other = in_pieces(NEW) if "xml" in manifest else on(NEW, "qcow2")
        after = other | {"policy": {"drift": drift}}

        made = plan_for(after, seen)

        assert () == made.diverged
        if "xml" not in manifest:  # what a piece said no longer is searched by defining it again
            assert {"record"} == set(verbs(made)) - {"start"}
        seen = stored(made, seen)
        assert NEW == parse_xml(seen.config).find("devices/disk/source").get("file")
        assert set() == set(verbs(plan_for(after, seen))) - {"start"}
        back = plan_for(manifest, seen)
        assert OLD == definition(back).find("devices/disk/source").get("file")


def as_set(seen: Observed) -> Observed:
    """What runs, once its vCPUs have been changed."""
    if seen.live is None:
        return seen
    root = parse_xml(seen.live)
    root.find("vcpu").set("current", "3")
    return replace(seen, live=text_of(root))


class TestTheManifestMovesIt:
    def test_one_that_is_where_it_was_applied(self) -> None:
        """The configuration at once, what runs at its next start."""
        seen = applied(on(OLD))

        made = plan_for(on(NEW), seen)

        assert NEW == definition(made).find("devices/disk/source").get("file")
        assert {"devices.disks[vda].source.file"} == set(waits(made))
        assert () == made.diverged

    def test_what_waits_for_its_restart_is_not_taken_for_moved(self) -> None:
        """What runs keeps in its own metadata what it was started with."""
        seen = applied(on(OLD))
        for _ in range(2):
            seen = stored(plan_for(on(NEW), seen), seen)

        made = plan_for(on(NEW), seen)

        assert ([], ()) == (verbs(made), made.diverged)
        assert {"devices.disks[vda].source.file"} == set(waits(made))
        assert plan_for(on(NEW), restarted(seen)).empty

    def test_back_again_before_the_restart(self) -> None:
        seen = applied(on(OLD))
        seen = stored(plan_for(on(NEW), seen), seen)
        seen = stored(plan_for(on(OLD), seen), seen)

        assert plan_for(on(OLD), seen).empty

    def test_to_a_block_device(self) -> None:
        block = devices(disks=[disk("a", type="block", source={"dev": "/dev/mapper/a"})])

        made = plan_for(block, applied(on(OLD), runs=False))

        assert {"dev": "/dev/mapper/a"} == dict(definition(made).find("devices/disk/source").attrib)

    def test_not_what_has_been_moved_meanwhile(self) -> None:
        """A person and the manifest want two things: nothing is lost while they make up."""
        seen = moved(applied(on(OLD)), OVERLAY)

        made = plan_for(on(NEW), seen)

        assert [(OVERLAY, NEW)] == [(each.old, each.new) for each in made.diverged]
        assert set() == changes_of(made)
        seen = stored(made, seen)
        assert [OVERLAY] == [each.old for each in plan_for(on(NEW), seen).diverged]
        back = moved(seen, OLD, "raw")
        assert NEW == definition(plan_for(on(NEW), back)).find("devices/disk/source").get("file")

    def test_the_chain_of_the_old_source_is_forgotten(self) -> None:
        """libvirt keeps it in the configuration; below the new one it would mix both."""
        given = on(OVERLAY, "qcow2")
        seen = moved(applied(given, runs=False), OVERLAY, inside=BELOW)

        found = definition(plan_for(on(NEW), seen)).find("devices/disk")

        assert (NEW, None) == (found.find("source").get("file"), found.find("backingStore"))

    def test_not_while_a_block_job_works_on_it(self) -> None:
        seen = moved(applied(on(OLD)), OLD, "raw", layers=("live",), inside=MIRROR)

        made = plan_for(on(NEW), seen)

        assert set() == changes_of(made)
        assert "block job (copy)" in made.diverged[0].reason
        assert plan_for(on(OLD), seen).empty

    @pytest.mark.parametrize("more", [{"readonly": True}, {"device": "cdrom"}], ids=str)
    def test_what_cannot_be_written_to_is_free(self, more: Spec) -> None:
        """Media and read-only disks go where the manifest says, whoever moved them."""
        name = "sda" if "device" in more else "vda"
        given = devices(disks=[disk("a", target={"dev": name}, **more)])
        seen = observe(defined(wanted(given)).config.replace(OLD, NEW))

        made = plan_for(given, seen)

        assert OLD == definition(made).find("devices/disk/source").get("file")
        assert () == made.diverged


class TestOneLayer:
    def test_an_edited_configuration(self) -> None:
        """`virsh edit`: it stays, though the guest runs on the stated image; no restart for it."""
        manifest = on(OLD, policy={"restart": "automatic"})
        seen = moved(applied(manifest), NEW, layers=("config",))

        made = plan_for(manifest | {"vcpu": {"maximum": 8, "current": 2}}, seen)

        assert NEW == definition(made).find("devices/disk/source").get("file")
        assert "its configuration has another source" in made.diverged[0].reason
        assert "not restarted" in made.diverged[0].reason
        assert not [each for each in made.steps if isinstance(each.action, Shutdown)]

    def test_what_runs_alone(self) -> None:
        """The next start would lose what the guest writes now: it is not restarted by us."""
        for policy in ("automatic", "on-guest-reboot"):
            manifest = on(OLD, policy={"restart": policy})
            seen = moved(applied(manifest), NEW, layers=("live",))

            made = plan_for(manifest | {"vcpu": {"maximum": 8, "current": 2}}, seen)

            assert NEW == made.diverged[0].old
            assert not {Shutdown(), SetLifecycleAction("reboot", "destroy")} & set(actions(made))
            assert "shutdown" in verbs(plan_for(manifest | {"state": "shutoff"}, seen))


class TestFirstAdoption:
    """A virtual server that was made by others; its manifest states its uuid."""

    def make(self, given: Spec, *, runs: bool = True) -> tuple[Desired, Observed]:
        seen = applied(on(NEW), runs=runs)
        seen = replace(seen, config=bare(seen.config), live=bare(seen.live))
        return replace(wanted(given), uuid=seen.uuid), seen

    @pytest.mark.parametrize("runs", [True, False])
    def test_another_source_than_it_has(self, runs: bool) -> None:
        desired, seen = self.make(on(OLD, title="x"), runs=runs)

        made = make_plan(desired, seen)

        assert NEW == definition(made).find("devices/disk/source").get("file")
        assert [(NEW, OLD)] == [(each.old, each.new) for each in made.diverged]
        assert "never applied" in made.diverged[0].reason
        settled = make_plan(desired, stored(made, seen))
        assert [(NEW, OLD)] == [(each.old, each.new) for each in settled.diverged]
        assert {"start", "set-text"} >= set(verbs(settled))

    def test_the_source_that_it_has(self) -> None:
        desired, seen = self.make(on(NEW))

        assert make_plan(desired, seen).empty


def bare(xml: str | None) -> str | None:
    """Without what was recorded."""
    if xml is None:
        return None
    root = parse_xml(xml)
    root.remove(root.find("metadata"))
    return text_of(root)


class TestRemoved:
    def test_a_disk_that_was_moved_is_not_detached(self) -> None:
        """And stays ours: it is reported until a person has decided."""
        seen = moved(applied(on(OLD)), NEW)

        made = plan_for(spec(), seen)
        again = stored(made, seen)
        settled = plan_for(spec(), again)

        for each in (made, settled):
            assert [(FIELD, NEW, None)] == [(c.field, c.old, c.new) for c in each.diverged]
            assert () == each.unlisted
            assert not [step for step in each.steps if isinstance(step.action, Define)]
            assert [] == actions(each)
        assert [] == verbs(settled)

    def test_one_that_is_where_it_was_applied_is(self) -> None:
        made = plan_for(spec(), applied(on(OLD)))

        assert ["define", "detach"] == verbs(made)


class TestOverlay:
    def test_the_chain_of_what_runs_leads_to_the_stated_image(self) -> None:
        seen = moved(applied(on(OLD)), OVERLAY, inside=BELOW)

        made = plan_for(on(OLD), seen)

        assert made.empty
        assert [(FIELD, OVERLAY, OLD)] == [(c.field, c.old, c.new) for c in made.overlays]
        assert "blockcommit" in made.overlays[0].reason

    def test_the_headers_of_images_tell_it_of_one_that_is_off(self) -> None:
        """libvirt does not write the chain of a snapshot that was made while it was off."""
        seen = moved(applied(on(OLD, state="shutoff"), runs=False), OVERLAY)
        chains = {OVERLAY: ("/images/between", "/images/../images/a.img")}

        made = plan_for(on(OLD, state="shutoff"), seen, chains=lambda _disks: chains)

        assert made.empty
        assert [OVERLAY] == [each.old for each in made.overlays]

    def test_it_is_no_difference_beside_the_stated_image(self) -> None:
        """`diff` says what `plan` says."""
        seen, desired = moved(applied(on(OLD)), OVERLAY, inside=BELOW), wanted(on(OLD))
        overlays = make_plan(desired, seen).overlays

        def differing(*known: Change) -> set[str]:
            lines = lay_side_by_side(desired, seen, known)
            return {line.field for line in lines if line.differs}

        assert set() == differing(*overlays)
        assert {f"{FIELD}.file", "devices.disks[vda].driver.type"} == differing()

    def test_other_changes_leave_it(self) -> None:
        seen = moved(applied(on(OLD)), OVERLAY, inside=BELOW)

        made = plan_for(on(OLD, title="x"), seen)

        element = definition(made).find("devices/disk")
        assert OVERLAY == element.find("source").get("file")
        assert OLD == element.find("backingStore/source").get("file")
        assert 1 == len(made.overlays)

    def test_an_overlay_of_another_image_has_diverged(self) -> None:
        seen = moved(applied(on(OLD)), OVERLAY, inside=BELOW.replace(OLD, "/images/x"))

        assert [OVERLAY] == [each.old for each in plan_for(on(OLD), seen).diverged]

    def test_one_that_its_next_start_would_leave_has_diverged(self) -> None:
        """The configuration has the stated image still, without what the guest wrote since."""
        seen = moved(applied(on(OLD)), OVERLAY, layers=("live",), inside=BELOW)

        made = plan_for(on(OLD), seen)

        assert "not restarted" in made.diverged[0].reason

    def test_a_transient_disk_is_libvirts_own(self) -> None:
        """It runs on an overlay by design, and that is nothing to tell."""
        seen = applied(on(OLD))
        marked = [
            text_of(add_transient(parse_xml(each or ""))) for each in (seen.config, seen.live)
        ]
        seen = replace(seen, config=marked[0], live=marked[1])
        seen = moved(seen, OVERLAY, layers=("live",), inside=BELOW)

        made = plan_for(on(OLD), seen)

        assert (True, ()) == (made.empty, made.overlays)


def add_transient(root: Any) -> Any:
    root.find("devices/disk").append(parse_xml("<transient/>"))
    return root


class TestWhatIsRecorded:
    def test_what_an_earlier_version_recorded_of_a_running_one_is_no_licence(self) -> None:
        """It recorded what is stated, whatever ran: the careful answer is that it was moved."""
        seen = stored(plan_for(on(NEW), applied(on(OLD))), applied(on(OLD)))
        root = parse_xml(seen.live or "")
        write_mark(root, wanted(on(NEW)).statement)

        made = plan_for(on(NEW), replace(seen, live=text_of(root)))

        assert [OLD] == [each.old for each in made.diverged]

    def test_what_is_shown_is_what_would_be_defined(self) -> None:
        seen = moved(applied(on(OLD), runs=False), NEW)
        after = wanted(on(OLD, title="x", state="shutoff"))

        made = make_plan(after, seen)

        assert text_of(definition(made)) == text_of(parse_xml(render(after, seen)))

    def test_the_source_that_was_applied_stays_recorded(self) -> None:
        seen = moved(applied(on(OLD), runs=False), "/images/x")
        seen = stored(plan_for(on(NEW, title="x"), seen), seen)

        mark = read_mark(parse_xml(seen.config))

        assert isinstance(mark, Statement)
        assert OLD == mark.devices["disks"]["vda"]["source.file"]
        assert "x" == mark.fields["title"]
