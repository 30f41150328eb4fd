"""What has failed for want of something is tried again when that is there."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from reconvirt.controller.missing import Missing
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.domain.desired import Desired
from reconvirt.domain.needs import Need, NeedKind
from reconvirt.domain.plan import Host, make_plan
from reconvirt.hypervisor.errors import HypervisorDown
from strategies import NAME, wanted
from virtual_servers import devices, disk, nic

IMAGE = Need(NeedKind.FILE, "/images/a.img")
BRIDGE = Need(NeedKind.NETWORK_DEVICE, "br0")
DESIRED = wanted(devices(disks=[disk("a")], interfaces=[nic()]))


@dataclass
class House:
    """A host that lacks some things, and counts what it is asked for."""

    lacks: set[Need] = field(default_factory=set)
    checked: list[frozenset[Need]] = field(default_factory=list)
    down: bool = False

    def missing(self, needs: Iterable[Need]) -> tuple[Need, ...]:
        self.checked.append(frozenset(needs))
        return tuple(sorted(self.lacks & self.checked[-1]))

    def current(self) -> House:
        if self.down:
            raise HypervisorDown("gone")
        return self


@dataclass
class Scene:
    """The keeper of what is missing, on a host that lacks some things."""

    house: House = field(default_factory=House)
    woken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.missing = Missing(self.house.current, self.woken.append)

    def fail(self, desired: Desired = DESIRED, phase: Phase = Phase.FAILED) -> str:
        """A reconcile ends so; its message."""
        plan = make_plan(desired, None)
        return self.missing.note(desired, Outcome(desired.name, phase, "no", plan)).message


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.STALLED, Phase.REFUSED])
def test_what_is_missing_is_named(scene: Scene, phase: Phase) -> None:
    scene.house.lacks = {IMAGE, BRIDGE}

    told = scene.fail(phase=phase)

    assert "no; missing on this host: file /images/a.img, network device br0" == told


def test_many_are_not_all_named(scene: Scene) -> None:
    disks = [disk(letter) for letter in "abcdef"]
    scene.house.lacks = {Need(NeedKind.FILE, f"/images/{each}.img") for each in "abcdef"}

    told = scene.fail(wanted(devices(disks=disks)))

    assert told.endswith("file /images/b.img, file /images/c.img and 3 more")


def test_where_nothing_is_missing_nothing_is_said_or_checked(scene: Scene) -> None:
    assert "no" == scene.fail()

    scene.house.checked.clear()
    scene.missing.look()

    assert [] == scene.house.checked


def test_it_is_tried_again_when_one_has_appeared(scene: Scene) -> None:
    """Once; the poller checks what is missing, and nothing else."""
    scene.house.lacks = {IMAGE, BRIDGE}
    scene.fail()
    scene.house.checked.clear()

    scene.missing.look()
    assert [] == scene.woken
    assert {IMAGE, BRIDGE} == frozenset().union(*scene.house.checked)
    scene.house.lacks = {BRIDGE}
    scene.missing.look()
    scene.missing.look()
    assert [NAME] == scene.woken
    scene.house.lacks = set()
    scene.missing.look()
    assert [NAME, NAME] == scene.woken


def test_what_appeared_since_the_attempt_before_is_not_overlooked(scene: Scene) -> None:
    """It came between the attempt that stalled and the check for it."""
    scene.house.lacks = {IMAGE}
    scene.fail()
    scene.house.lacks = set()

    scene.fail(phase=Phase.STALLED)

    assert [NAME] == scene.woken
    scene.fail(phase=Phase.STALLED)
    assert [NAME] == scene.woken


@pytest.mark.parametrize("phase", sorted(set(Phase) - {"failed", "stalled", "refused"}))
def test_one_that_has_not_failed_waits_for_nothing(scene: Scene, phase: Phase) -> None:
    scene.house.lacks = {IMAGE}
    scene.fail()

    assert "no" == scene.fail(phase=phase)

    scene.house.lacks = set()
    scene.missing.look()
    assert [] == scene.woken


def test_an_image_that_is_to_be_made_is_not_missing(scene: Scene) -> None:
    """What it is to be made in is."""
    made = wanted(devices(disks=[disk("a", create={"size": "1 GiB"})]))
    plan = make_plan(made, None, host=Host(images={IMAGE.name: None}))
    assert "create-image" in [step.action.verb for step in plan.steps]
    scene.house.lacks = {IMAGE, Need(NeedKind.FILE, "/images")}

    told = scene.missing.note(made, Outcome(NAME, Phase.FAILED, "no", plan)).message

    assert "no; missing on this host: file /images" == told


def test_without_a_connection_nothing_is_checked(scene: Scene) -> None:
    """Whoever makes it again has everything reconciled."""
    scene.house.lacks = {IMAGE}
    scene.fail()
    scene.house.down = True
    scene.house.lacks = set()

    scene.missing.look()
    assert "no" == scene.fail()

    assert [] == scene.woken


def test_a_file_system_that_does_not_answer_delays_nothing_else(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The poller goes on after a moment, and does not ask for the same twice at once."""
    monkeypatch.setattr("reconvirt.controller.missing._PATIENCE_SECONDS", 0.05)
    scene.house.lacks = {IMAGE, BRIDGE}
    scene.fail()
    answers = threading.Event()
    plain = scene.house.missing
    asked: list[frozenset[Need]] = []

    def hang(needs: Iterable[Need]) -> tuple[Need, ...]:
        wanted = frozenset(needs)
        if IMAGE in wanted:
            asked.append(wanted)
            answers.wait(30)
        return plain(wanted)

    monkeypatch.setattr(scene.house, "missing", hang)
    scene.missing.look()
    scene.house.lacks = {IMAGE}
    scene.missing.look()

    assert 1 == len(asked)
    assert [NAME] == scene.woken
    answers.set()
