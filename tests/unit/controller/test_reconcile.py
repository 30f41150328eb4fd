"""One look at a virtual server after the other, with a libvirt that is made up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from guarded import Guarded
from reconvirt.controller.guard import Guard
from reconvirt.controller.holds import Hold, HoldStore
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.controller.prune import Orphan
from reconvirt.controller.reconcile import Reconciler
from reconvirt.controller.requests import ASK_AGAIN_SECONDS, MOST_REQUESTS
from reconvirt.controller.starts import StartGate
from reconvirt.controller.state_store import Document, StateStore
from reconvirt.controller.surroundings import Surroundings, hold_text
from reconvirt.controller.write_budget import WriteBudget
from reconvirt.domain.actions import (
    Action,
    Define,
    Detach,
    Record,
    SetLifecycleAction,
    SetParameter,
    Shutdown,
    Start,
    Undefine,
)
from reconvirt.domain.changes import Plan, Step
from reconvirt.domain.desired import Desired
from reconvirt.domain.mark import read_mark
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.plan import Host
from reconvirt.domain.rules import HostRules
from reconvirt.domain.xmltree import parse_xml, reach
from reconvirt.hypervisor.errors import (
    Busy,
    HypervisorDown,
    HypervisorError,
    NotLive,
    OperationFailed,
    Rejected,
    Underway,
    VirtualServerGone,
)
from strategies import NAME, wanted
from virtual_servers import (
    Spec,
    defined,
    devices,
    disk,
    restarted,
    shut_off,
    spec,
    stored,
    text_of,
)


@dataclass
class Libvirt(Guarded):
    """A libvirt that keeps one virtual server, and does as it is told.

    Attributes:
        seen: the virtual server.
        answers: whether its guest gives devices back.
        fails: the errors of the next calls of an action, by its verb.
        done: the calls that were made.
        during: called within each call, before it returns.
    """

    seen: Observed | None = None
    answers: bool = True
    fails: dict[str, list[HypervisorError]] = field(default_factory=dict)
    done: list[Action] = field(default_factory=list)
    during: Callable[[Action], None] = lambda _action: None

    def observe(self, _name: str, _uuid: str | None = None) -> Observed | None:
        return self.seen

    def look_around(self, desired: Desired, rules: HostRules) -> tuple[Desired, Host]:
        return desired, Host(rules=rules)

    def act(self, _uuid: str, action: Action) -> None:
        self.done.append(action)
        self.during(action)
        if self.fails.get(action.verb):
            raise self.fails[action.verb].pop(0)
        self.seen = self._after(action)

    def _after(self, action: Action) -> Observed | None:
        seen = self.seen
        if isinstance(action, Define | Record):
            return stored(Plan(NAME, (Step(action, ()),)), seen)
        assert seen is not None
        if isinstance(action, Start):
            return restarted(seen)
        if isinstance(action, Detach) and self.answers:
            root = parse_xml(seen.live or "")
            device = root.find(f"devices/*/alias[@name='{action.alias}']/..")
            device.getparent().remove(device)
            return replace(seen, live=text_of(root))
        match action:
            case SetParameter(_, "cpu_shares", value):
                return self._set("cputune/shares", str(value))
            case SetLifecycleAction(event, reaction):
                return self._set(f"on_{event}", reaction)
        return seen

    def _set(self, path: str, text: str) -> Observed:
        assert self.seen is not None
        root = parse_xml(self.seen.live or "")
        reach(root, path).text = text
        return replace(self.seen, live=text_of(root))

    @property
    def verbs(self) -> list[str]:
        """What was done, in order."""
        return [action.verb for action in self.done]


@dataclass
class Controller:
    """A reconciler, its libvirt and its clock."""

    libvirt: Libvirt
    now: float = 0.0
    stopping: bool = False

    def __post_init__(self) -> None:
        self.reconciler = Reconciler(
            lambda: self.libvirt,
            Surroundings(guard=Guard(budget=WriteBudget(clock=lambda: self.now))),
            stopping=lambda: self.stopping,
            clock=lambda: self.now,
        )

    def look(self, at: Spec, after: float = 0.0) -> Outcome:
        """One look, so many seconds later."""
        self.now += after
        self.libvirt.done.clear()
        return self.reconciler.reconcile(wanted(at))


def running(of: Spec, **more: object) -> Controller:
    """A controller of a virtual server that runs."""
    return Controller(Libvirt(restarted(defined(wanted(of))), **more))


WITH_DISK = devices(disks=[disk("a")])


class TestConverging:
    def test_a_new_one_is_made_and_started_and_looked_at_again(self) -> None:
        """The second look does nothing."""
        controller = Controller(Libvirt())

        first = controller.look(spec())
        done = controller.libvirt.verbs
        second = controller.look(spec())

        assert ["define", "start"] == done
        assert (Phase.CONVERGED, Phase.CONVERGED) == (first.phase, second.phase)
        assert [] == controller.libvirt.verbs

    def test_what_changes_nothing_is_not_done_again_and_again(self) -> None:
        """libvirt took the call; that is told, and tried later."""
        controller = Controller(Libvirt(shut_off(spec(state="shutoff"))))
        controller.libvirt._after = lambda _action: controller.libvirt.seen

        outcome = controller.look(spec(state="shutoff", memory="7 MiB"))

        assert Phase.FAILED is outcome.phase
        assert outcome.retry
        assert "define: libvirt took the call, but nothing has changed" == outcome.message

    def test_it_stops_between_two_steps(self) -> None:
        """What is due is told."""
        controller = Controller(Libvirt(), stopping=True)

        outcome = controller.look(spec())

        assert (Phase.DIFFERS, "ended before define, start") == (outcome.phase, outcome.message)
        assert [] == controller.libvirt.verbs


class TestRequests:
    def test_a_guest_that_answers_is_asked_once(self) -> None:
        """And the virtual server is converged."""
        controller = running(WITH_DISK)

        outcome = controller.look(spec())

        assert 1 == controller.libvirt.verbs.count("detach")
        assert Phase.CONVERGED is outcome.phase

    def test_one_that_does_not_is_asked_eight_times(self) -> None:
        """Every 20 seconds; then it is told, and the rest goes on."""
        controller = running(WITH_DISK, answers=False)
        asked = 0
        outcome = controller.look(spec())

        for _ in range(2 * MOST_REQUESTS):
            asked += controller.libvirt.verbs.count("detach")
            outcome = controller.look(spec(), after=ASK_AGAIN_SECONDS)

        assert MOST_REQUESTS == asked
        assert Phase.NO_ANSWER is outcome.phase
        assert "8 requests in 160 s for devices.disks[vda]" in outcome.message
        changed = controller.look(spec(cputune={"shares": 7}))
        assert "set-parameter" in controller.libvirt.verbs
        assert Phase.WAITING_FOR_GUEST is changed.phase

    def test_before_the_time_has_come_it_is_not_asked_again(self) -> None:
        """It is looked at again when it has."""
        controller = running(WITH_DISK, answers=False)
        controller.look(spec())

        outcome = controller.look(spec(), after=ASK_AGAIN_SECONDS - 1)

        assert [] == controller.libvirt.verbs
        assert (Phase.WAITING_FOR_GUEST, ASK_AGAIN_SECONDS) == (outcome.phase, outcome.again_after)

    @pytest.mark.parametrize("early", [True, False])
    def test_a_refusal_ends_the_asking(self, early: bool) -> None:
        """Whether the event comes before the call returns, or afterwards."""
        controller = running(WITH_DISK, answers=False)

        def refuse(action: Action) -> None:
            if isinstance(action, Detach):
                controller.reconciler.refuse_removal(NAME, action.alias)

        if early:
            controller.libvirt.during = refuse
        controller.look(spec())
        if not early:
            refuse(controller.libvirt.done[-1])
        outcome = controller.look(spec(), after=10 * ASK_AGAIN_SECONDS)

        assert [] == controller.libvirt.verbs
        assert Phase.NO_ANSWER is outcome.phase
        assert outcome.message.startswith("the guest refuses to release devices.disks[vda]")

    @pytest.mark.parametrize("what", ["manifest", "restart", "forgotten"])
    def test_then_it_is_asked_anew(self, what: str) -> None:
        """When its manifest changes, or it is started anew, or the daemon has forgotten."""
        controller = running(WITH_DISK, answers=False)
        controller.look(spec())
        controller.reconciler.refuse_removal(NAME, "virtio-vda")
        after = spec()
        if what == "manifest":
            after = spec(on_crash="preserve")
        elif what == "restart":
            controller.libvirt.seen = replace(controller.libvirt.seen, domain_id=2)
        else:
            controller.reconciler.forget(NAME)

        controller.look(after)

        assert "detach" in controller.libvirt.verbs

    def test_a_call_that_fails_is_no_request(self) -> None:
        """The guest knows nothing of it, and is asked as soon as it is tried again."""
        controller = running(WITH_DISK, answers=False)
        controller.libvirt.fails["detach"] = [HypervisorError("no")] * MOST_REQUESTS

        failed = [controller.look(spec()).phase for _ in range(MOST_REQUESTS)]
        outcome = controller.look(spec())

        assert [Phase.FAILED] * 4 + [Phase.STALLED] * 4 == failed
        assert ["detach"] == controller.libvirt.verbs
        assert Phase.WAITING_FOR_GUEST is outcome.phase

    def test_one_that_is_underway_already_is_a_request(self) -> None:
        """libvirt says so when it is asked a second time too early."""
        controller = running(WITH_DISK, answers=False)
        controller.libvirt.fails["detach"] = [Underway("in the process of unplug")]

        assert Phase.WAITING_FOR_GUEST is controller.look(spec()).phase

    def test_how_long_it_is_asked_to_shut_down_says_its_policy(self) -> None:
        """Every 20 seconds for 5 minutes, if it says nothing; then it is told."""
        controller = running(spec())

        asked = 0
        for _ in range(3 * MOST_REQUESTS):
            outcome = controller.look(spec(state="shutoff"), after=ASK_AGAIN_SECONDS)
            asked += controller.libvirt.done.count(Shutdown())

        assert 300 // 20 == asked
        assert Phase.NO_ANSWER is outcome.phase


FORCED = {"shutdown": {"mode": "agent", "force": True, "timeout": 30, "retry": 10}}


class TestForce:
    """A guest is ended by force only after requests that libvirt took, and its time for them."""

    def test_requests_that_libvirt_refuses_never_lead_to_it(self) -> None:
        """They are tried again, and told."""
        controller = running(spec(policy=FORCED))
        controller.libvirt.fails["shutdown"] = [OperationFailed("no agent")] * 20

        for _ in range(20):
            outcome = controller.look(spec(state="shutoff", policy=FORCED), after=20.0)
            assert "shutdown" == controller.libvirt.verbs[-1]
            assert "destroy" not in controller.libvirt.verbs

        assert (Phase.STALLED, True) == (outcome.phase, outcome.message.startswith("no agent"))

    def test_a_guest_that_was_asked_and_does_nothing_is_ended(self) -> None:
        """When its time is over, counted from the first request that was taken."""
        controller = running(spec(policy=FORCED))
        at = spec(state="shutoff", policy=FORCED)
        controller.libvirt.fails["shutdown"] = [OperationFailed("no agent")] * 3

        done = []
        for _ in range(7):
            controller.look(at, after=10.0)
            done += [verb for verb in controller.libvirt.verbs if verb != "record"]

        # Three are refused, the next three are left unanswered.
        assert ["shutdown"] * 6 + ["destroy"] == done[:7]

    def test_while_it_is_paused_its_time_does_not_go_on(self) -> None:
        """It is resumed, and has the rest of its time."""
        controller = running(spec(policy=FORCED))
        at = spec(state="shutoff", policy=FORCED)
        controller.look(at)
        seen = controller.libvirt.seen
        assert seen is not None

        broken = replace(seen, state=State.PAUSED, reason="I/O error")
        controller.libvirt.seen = broken
        outcome = controller.look(at, after=3600.0)
        assert (Phase.REFUSED, []) == (outcome.phase, controller.libvirt.verbs)
        controller.libvirt.seen = seen
        controller.look(at, after=3600.0)

        assert [] == controller.libvirt.verbs
        controller.look(at, after=10.0)
        assert ["shutdown"] == controller.libvirt.verbs
        controller.look(at, after=20.0)
        assert "destroy" in controller.libvirt.verbs


class TestErrors:
    @pytest.mark.parametrize("error", [NotLive, Rejected])
    def test_what_libvirt_cannot_do_live_waits(self, error: type[HypervisorError]) -> None:
        """With libvirt's words; it is not tried again until the manifest changes."""
        controller = running(spec(cputune={"shares": 5}))
        controller.libvirt.fails["set-parameter"] = [error("not supported")]
        after = spec(cputune={"shares": 6})

        first, second = controller.look(after), controller.look(after)

        assert [] == controller.libvirt.verbs
        for outcome in (first, second):
            assert Phase.WAITING_FOR_RESTART is outcome.phase
            assert {"libvirt cannot do it while it runs: not supported"} == {
                change.reason for change in outcome.plan.waiting
            }
        controller.look(spec(cputune={"shares": 7}))
        assert "set-parameter" in controller.libvirt.verbs

    def test_what_libvirt_has_refused_is_known_after_a_restart_of_the_daemon(self) -> None:
        """It stands in the mark of what runs, until the manifest changes or the next start."""
        controller = running(spec(cputune={"shares": 5}))
        controller.libvirt.fails["set-parameter"] = [NotLive("not supported")]
        after = spec(cputune={"shares": 6})
        controller.look(after)
        controller.reconciler.forget(NAME)

        outcome = controller.look(after)

        assert [] == controller.libvirt.verbs
        assert Phase.WAITING_FOR_RESTART is outcome.phase
        assert ["libvirt cannot do it while it runs: not supported"] == [
            change.reason for change in outcome.plan.waiting
        ]
        controller.look(spec(cputune={"shares": 7}))
        assert "set-parameter" in controller.libvirt.verbs
        mark = read_mark(parse_xml(controller.libvirt.seen.live))
        assert {} == mark.hindered

    def test_a_definition_that_is_rejected_waits_for_another_manifest(self) -> None:
        """It is not tried again."""
        controller = Controller(Libvirt(fails={"define": [Rejected("bad")]}))

        outcome = controller.look(spec())

        assert (Phase.FAILED, False, "bad") == (outcome.phase, outcome.retry, outcome.message)

    @pytest.mark.parametrize("error", [HypervisorError("x"), VirtualServerGone("x")])
    def test_other_failures_are_tried_again(self, error: HypervisorError) -> None:
        """Later."""
        controller = Controller(Libvirt(fails={"start": [error]}))

        outcome = controller.look(spec())

        assert (Phase.FAILED, True, "x") == (outcome.phase, outcome.retry, outcome.message)
        assert ["define"] == [step.action.verb for step in outcome.steps]

    def test_a_live_change_that_fails_keeps_no_other_back(self) -> None:
        """The others are made, and both failures told; the change of the state waits."""
        before = spec(**WITH_DISK, cputune={"shares": 5}, on_reboot="restart")
        after = spec(cputune={"shares": 6}, on_reboot="destroy", state="paused")
        controller = running(before)
        for verb in ("set-parameter", "detach"):
            controller.libvirt.fails[verb] = [OperationFailed(f"no {verb}")]

        first = controller.look(after)
        second = controller.look(after)

        assert (Phase.FAILED, True) == (first.phase, first.retry)
        assert "no set-parameter; no detach" == first.message
        done = [step.action.verb for step in first.steps]
        assert "set-lifecycle-action" in done
        assert {"set-parameter", "detach"}.isdisjoint(done)
        assert {"suspend"} == set(controller.libvirt.verbs) - {"set-parameter", "detach", "record"}
        assert {"set-parameter", "detach"} <= {step.action.verb for step in second.steps}

    @pytest.mark.parametrize("error", [Busy("x"), VirtualServerGone("x")])
    def test_where_nothing_can_be_done_nothing_more_is_tried(self, error: HypervisorError) -> None:
        """Each call would wait for the same lock, or find nobody."""
        controller = running(spec(cputune={"shares": 5}, on_reboot="restart"))
        controller.libvirt.fails["set-parameter"] = [error]

        outcome = controller.look(spec(cputune={"shares": 6}, on_reboot="destroy"))

        assert (Phase.FAILED, True, "x") == (outcome.phase, outcome.retry, outcome.message)
        assert "set-parameter" == controller.libvirt.verbs[-1]

    def test_what_has_failed_before_is_told_as_well(self) -> None:
        """Also where another failure ends the look."""
        controller = running(spec(**WITH_DISK, cputune={"shares": 5}))
        controller.libvirt.fails["set-parameter"] = [OperationFailed("no shares")]
        controller.libvirt.fails["detach"] = [Busy("a job")]

        outcome = controller.look(spec(cputune={"shares": 6}))

        assert ("no shares; a job", True) == (outcome.message, outcome.retry)

    def test_of_a_lost_connection_nothing_is_said(self) -> None:
        """Whoever asked must wait for another one."""
        controller = Controller(Libvirt(fails={"define": [HypervisorDown("gone")]}))

        with pytest.raises(HypervisorDown):
            controller.look(spec())


@pytest.mark.parametrize(
    ("state", "runs", "asked"),
    [("running", True, False), ("running", False, True), ("shutoff", False, False)],
)
def test_what_must_run_before_is_asked_of_one_that_is_to_be_started(
    state: str, runs: bool, asked: bool
) -> None:
    """In steady state nobody is: it may be on other hosts."""
    questions: list[str] = []

    def not_yet(desired: Desired) -> str:
        questions.append(desired.name)
        return "it waits for db"

    desired = wanted(spec(state=state))
    seen = defined(desired)
    libvirt = Libvirt(restarted(seen) if runs else seen)
    reconciler = Reconciler(lambda: libvirt, Surroundings(not_yet=not_yet))

    outcome = reconciler.reconcile(desired)

    assert asked == (NAME in questions) == ("it waits for db" in outcome.message)


@pytest.mark.parametrize("why", ["shall be off", "waits for db", "is held"])
def test_one_that_does_not_start_any_more_keeps_no_other_waiting(why: str) -> None:
    """Its turn would never come, nor that of those behind it."""
    gate, reasons, holds = StartGate(1), {"not_yet": ""}, HoldStore(StateStore())
    around = Surroundings(
        gate=gate,
        holds=holds,
        not_yet=lambda _desired: reasons["not_yet"],
    )
    desired = wanted(spec())
    reconciler = Reconciler(lambda: Libvirt(defined(desired)), around)
    assert gate.enter("first", 0)
    waits = reconciler.reconcile(desired)
    assert (Phase.WAITING, "others" in waits.message) == (waits.phase, True)
    assert not gate.enter("next", -1)

    if why == "is held":
        holds.add(desired.expected_uuid, NAME, Hold(why, "anna", 0.0), confirmed=True)
    reasons |= {"not_yet": why} if why == "waits for db" else {}
    reconciler.reconcile(wanted(spec(state="shutoff")) if why == "shall be off" else desired)
    gate.leave("first")

    assert gate.enter("next", -1)


class TestHolds:
    """A hold is the uuid's, and counts for orphans as well."""

    HELD = Hold("being repaired", "anna", 0.0)

    @pytest.mark.parametrize("how", ["by hand", "by annotation", "unreadable"])
    def test_an_orphan_that_is_held_stays(self, how: str, tmp_path: Path) -> None:
        """Whoever holds it, and also where that cannot be read."""
        desired = wanted(spec(policy={"on_removal": "undefine"}))
        libvirt, holds = Libvirt(defined(desired)), HoldStore(StateStore(tmp_path))
        assert libvirt.seen is not None
        uuid = libvirt.seen.uuid
        if how == "by hand":
            holds.add(uuid, NAME, self.HELD, confirmed=True)
        elif how == "by annotation":
            holds.note_annotations({NAME: (uuid, "being repaired")})
        else:
            (tmp_path / Document.HOLDS).write_text("{", encoding="utf-8")
        reconciler = Reconciler(lambda: libvirt, Surroundings(holds=holds))
        orphan = Orphan(NAME, uuid, desired.statement)

        outcome = reconciler.remove(orphan)

        assert ([], Phase.UNMANAGED) == (libvirt.done, outcome.phase)
        assert outcome.hold is not None
        assert "its manifest is gone" in outcome.message
        (tmp_path / Document.HOLDS).write_text("{}", encoding="utf-8")
        reconciler.remove(orphan)
        assert [Undefine] == [type(each) for each in libvirt.done]

    def test_a_manifest_that_gives_it_another_name(self) -> None:
        """What was held by its old name is held by its uuid."""
        before = wanted(spec(state="shutoff"))
        libvirt, holds = Libvirt(defined(before)), HoldStore(StateStore())
        assert libvirt.seen is not None
        holds.add(libvirt.seen.uuid, NAME, self.HELD, confirmed=True)
        renamed = replace(wanted(spec(state="shutoff", vcpu=2)), name="db1", uuid=libvirt.seen.uuid)

        outcome = Reconciler(lambda: libvirt, Surroundings(holds=holds)).reconcile(renamed)

        assert ([], Phase.HELD) == (libvirt.done, outcome.phase)

    @pytest.mark.parametrize("unreadable", [False, True])
    def test_it_stops_what_is_under_way(self, tmp_path: Path, *, unreadable: bool) -> None:
        """Whoever was answered that it is held finds no call made after that."""
        desired = wanted(spec(vcpu=4, memory="2 GiB", state="shutoff"))
        seen = restarted(defined(wanted(spec(state="shutoff"))))
        libvirt, holds = Libvirt(seen), HoldStore(StateStore(tmp_path))

        def hold(_action: Action) -> None:
            if unreadable:
                (tmp_path / Document.HOLDS).write_text("{", encoding="utf-8")
            else:
                holds.add(seen.uuid, NAME, self.HELD, confirmed=True)

        libvirt.during = hold
        around = Surroundings(holds=holds, guard=Guard(hold=partial(hold_text, holds)))

        outcome = Reconciler(lambda: libvirt, around).reconcile(desired)

        assert (1, Phase.HELD) == (len(libvirt.done), outcome.phase)
        assert outcome.hold is not None
