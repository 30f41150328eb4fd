"""What libvirt refuses is not tried again in the same look, whichever step it is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from guarded import Guarded
from reconvirt.controller.memory import FUTILE_TRIES
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.controller.prune import Orphan
from reconvirt.controller.reconcile import Reconciler
from reconvirt.domain.actions import (
    Action,
    Define,
    Destroy,
    GrowDisk,
    Record,
    Rename,
    Resume,
    Save,
    SetAutostart,
    SetLifecycleAction,
    Shutdown,
    Start,
    Suspend,
    Undefine,
)
from reconvirt.domain.changes import Plan, Step
from reconvirt.domain.desired import Desired
from reconvirt.domain.image_plan import ImageFacts
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.plan import Host
from reconvirt.domain.rules import HostRules
from reconvirt.hypervisor.errors import (
    Aborted,
    Busy,
    HypervisorError,
    NotLive,
    OperationFailed,
    Rejected,
    VirtualServerGone,
)
from strategies import NAME, wanted
from virtual_servers import Spec, defined, devices, disk, restarted, spec, stored

REFUSALS = (NotLive, Rejected, OperationFailed, Busy, Aborted, VirtualServerGone)


@dataclass
class Refusing(Guarded):
    """A libvirt that refuses one action, and counts how often it was called for each."""

    seen: Observed | None
    refused: type[Action]
    error: HypervisorError
    images: dict[str, ImageFacts | None] = field(default_factory=dict)
    calls: list[Action] = field(default_factory=list)

    def observe(self, _name: str, _uuid: str | None = None) -> Observed | None:
        return self.seen

    def look_around(self, desired: Desired, rules: HostRules) -> tuple[Desired, Host]:
        return desired, Host(rules, self.images)

    def act(self, _uuid: str, action: Action) -> None:
        if isinstance(action, self.refused):
            self.calls.append(action)
            raise self.error
        assert isinstance(action, Define | Record), action
        self.seen = stored(Plan(NAME, (Step(action, ()),)), self.seen)


def runs(what: Spec, **more: object) -> Observed:
    """A virtual server of this specification that runs, or is in another active state."""
    return replace(restarted(defined(wanted(what))), **more)


def off(what: Spec, **more: object) -> Observed:
    """One that is shut off."""
    return replace(defined(wanted(what)), **more)


CASES: dict[str, tuple[type[Action], Spec, Observed]] = {
    "save": (Save, spec(state="saved"), runs(spec())),
    "suspend": (Suspend, spec(state="paused"), runs(spec())),
    "shutdown": (Shutdown, spec(state="shutoff"), runs(spec())),
    "resume": (Resume, spec(), runs(spec(), state=State.PAUSED, reason="user")),
    "destroy": (
        Destroy,
        spec(policy={"crash": "restart"}),
        runs(spec(policy={"crash": "restart"}), state=State.CRASHED),
    ),
    "rename": (Rename, spec(state="shutoff"), off(spec(), name="before")),
    "start": (Start, spec(), off(spec())),
    "define": (Define, spec(memory="2 GiB", state="shutoff"), off(spec(state="shutoff"))),
    "autostart": (SetAutostart, spec(autostart=True), runs(spec(autostart=True))),
}


def look(libvirt: Refusing, at: Spec, times: int = 1) -> list[Outcome]:
    """So many looks at it, one after the other."""
    reconciler = Reconciler(lambda: libvirt, clock=lambda: 0.0)
    outcomes = []
    uuid = libvirt.seen.uuid if libvirt.seen else None
    for _ in range(times):
        libvirt.calls.clear()
        outcomes.append(reconciler.reconcile(wanted(at, uuid=uuid)))
    return outcomes


@pytest.mark.parametrize("error", REFUSALS)
@pytest.mark.parametrize("case", CASES)
def test_a_step_that_is_refused_is_one_call_a_look(case: str, error: type[HypervisorError]) -> None:
    action, at, seen = CASES[case]
    libvirt = Refusing(seen, action, error("libvirt's words"))

    (outcome,) = look(libvirt, at)

    assert 1 == len(libvirt.calls)
    assert Phase.FAILED is outcome.phase
    assert "libvirt's words" in outcome.message
    # What libvirt rejects as such waits for another manifest, as does any definition that it cannot
    # do; the rest is tried again, later each time.
    final = error is Rejected or (case, error) == ("define", NotLive)
    assert outcome.retry is not final


@pytest.mark.parametrize("case", sorted(CASES.keys() - {"define"}))
def test_one_that_is_refused_again_and_again_has_stalled(case: str) -> None:
    action, at, seen = CASES[case]
    libvirt = Refusing(seen, action, NotLive("not supported"))

    outcomes = look(libvirt, at, FUTILE_TRIES)

    assert [True] * (FUTILE_TRIES - 1) == [each.retry for each in outcomes[:-1]]
    assert Phase.STALLED is outcomes[-1].phase
    assert 1 == len(libvirt.calls)


@pytest.mark.parametrize("error", REFUSALS)
def test_an_undefine_that_is_refused_is_one_call_a_look(error: type[HypervisorError]) -> None:
    at = spec(state="shutoff", policy={"on_removal": "undefine"})
    libvirt = Refusing(off(at), Undefine, error("libvirt's words"))
    assert libvirt.seen is not None
    orphan = Orphan(NAME, libvirt.seen.uuid, wanted(at).statement)

    outcome = Reconciler(lambda: libvirt).remove(orphan)

    assert 1 == len(libvirt.calls)
    assert (Phase.FAILED, "libvirt's words") == (outcome.phase, outcome.message)


WITH_IMAGE = devices(disks=[disk("a", create={"size": "2 GiB"})])


@pytest.mark.parametrize("error", [NotLive, Rejected])
def test_a_live_change_that_no_start_brings_is_one_call_a_look(
    error: type[HypervisorError],
) -> None:
    """The reaction to the next reboot, and the size of an image, are not in the configuration."""
    at = spec(policy={"restart": "on-guest-reboot"}, memory="2 GiB")
    before = runs(spec(policy={"restart": "on-guest-reboot"}))
    reboot = Refusing(before, SetLifecycleAction, error("no reboot action"))
    small = ImageFacts("/images/a.img", "raw", 1 << 30)
    grow = Refusing(runs(WITH_IMAGE), GrowDisk, error("no resize"), {"/images/a.img": small})

    for libvirt, manifest in ((reboot, at), (grow, WITH_IMAGE)):
        (outcome,) = look(libvirt, manifest)

        assert 1 == len(libvirt.calls)
        assert Phase.FAILED is outcome.phase
        assert outcome.retry
