"""Which step leads from each state to each other one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconvirt.domain.changes import Change, Step
from reconvirt.domain.desired import ON_REMOVAL, Desired, Statement
from reconvirt.domain.effects import Effect
from reconvirt.domain.lifecycle import (
    Circumstances,
    DumpFacts,
    plan_removal,
    plan_state,
)
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.policy import NO_POLICY, Policy, ShutdownPolicy, read_policy

NOTHING = Statement({}, {})


def observed(state: State, reason: str = "", **more: Any) -> Observed:
    live = None if state is State.SHUTOFF else "<domain/>"
    return Observed(
        "web1", "u", None if live is None else 1, state, reason, "<domain/>", live, **more
    )


def desired(state: str, policy: Policy = NO_POLICY, **more: Any) -> Desired:
    return Desired("web1", None, state, NOTHING, policy, **more)


def told(steps: list[Step | Change]) -> list[str]:
    return [
        each.action.verb if isinstance(each, Step) else f"{each.effect}: {each.reason}"
        for each in steps
    ]


def path(found: Observed | None, wanted: Desired, **happened: Any) -> list[str]:
    return told(list(plan_state(wanted, found, Circumstances(**happened))))


@pytest.mark.parametrize(
    ("state", "reason", "wanted", "expected"),
    [
        (State.SHUTOFF, "unknown", "running", ["start"]),
        (State.SHUTOFF, "unknown", "paused", ["start"]),
        (State.SHUTOFF, "unknown", "shutoff", []),
        (State.SHUTOFF, "unknown", "saved", []),
        (State.RUNNING, "booted", "running", []),
        (State.RUNNING, "booted", "paused", ["suspend"]),
        (State.RUNNING, "booted", "saved", ["save"]),
        (State.RUNNING, "booted", "shutoff", ["shutdown"]),
        (State.PAUSED, "user", "running", ["resume"]),
        (State.PAUSED, "migrating", "running", ["resume"]),
        (State.PAUSED, "user", "paused", []),
        (State.PAUSED, "user", "saved", ["save"]),
        (State.PAUSED, "user", "shutoff", ["resume"]),
        (State.SUSPENDED, "unknown", "running", ["wake"]),
        (State.CRASHED, "panicked", "any", []),
        (State.PAUSED, "user", "any", []),
    ],
)
def test_the_way_from_state_to_state(
    state: State, reason: str, wanted: str, expected: list[str]
) -> None:
    """By the right call, or by none."""
    assert expected == path(observed(state, reason), desired(wanted))


def test_a_saved_image_is_restored_or_discarded() -> None:
    """Discarded only by policy."""
    saved = observed(State.SHUTOFF, "saved", saved="<domain/>")
    (restore,) = plan_state(desired("running"), saved, Circumstances())
    (discard,) = plan_state(desired("running", Policy(saved="discard")), saved, Circumstances())

    assert not restore.action.force_boot
    assert discard.action.force_boot


def test_while_libvirt_is_busy_nothing_is_done() -> None:
    """Its end is an event."""
    busy = observed(State.PAUSED, "migrating", job="migration")

    assert ["live, guest must answer: libvirt is busy with it: migration"] == path(
        busy, desired("running")
    )


@pytest.mark.parametrize("reason", ["I/O error", "api error", "post-copy failed", "watchdog"])
def test_what_only_a_person_can_judge_is_left_to_a_person(reason: str) -> None:
    """With what to do about it."""
    (found,) = path(observed(State.PAUSED, reason), desired("running"))

    assert found.startswith("refused: ")
    assert "virsh" in found


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("resume", ["resume"]), ("nmi", ["inject-nmi", "resume"]), ("restart", ["destroy"])],
)
def test_after_the_watchdog_the_policy_counts(policy: Any, expected: list[str]) -> None:
    """A restart interrupt lets the guest dump itself."""
    wanted = desired("running", Policy(watchdog=policy))

    assert expected == path(observed(State.PAUSED, "watchdog"), wanted)


class TestCrash:
    CRASHED = observed(State.CRASHED, "panicked")
    READY = DumpFacts("/d/web1.elf", False, "")
    DONE = DumpFacts("/d/web1.elf", True, "")
    FULL = DumpFacts("/d/web1.elf", False, "there is no room")

    @pytest.mark.parametrize(
        ("policy", "dump", "expected"),
        [
            ("restart", READY, "destroy"),
            ("dump", READY, "dump"),
            ("dump", DONE, "refused: it has crashed; its memory is in /d/web1.elf"),
            ("dump", FULL, "refused: it has crashed and is preserved: no dump: there is no room"),
            ("dump-and-restart", READY, "dump"),
            ("dump-and-restart", DONE, "destroy"),
            ("dump-and-restart", FULL, "destroy"),
            ("preserve", READY, "refused: it has crashed and is preserved"),
        ],
    )
    def test_each_policy(self, policy: Any, dump: DumpFacts, expected: str) -> None:
        """The dump first; where there is no room it is told, and the restart goes on."""
        (found,) = path(self.CRASHED, desired("running", Policy(crash=policy)), dump=dump)

        assert found.startswith(expected)


class TestRestart:
    WAITS = (Change("memory.size", 1, 2, Effect.NEXT_START, "why"),)

    def plan(self, policy: Policy, **happened: Any) -> list[str]:
        found = plan_state(
            desired("running", policy),
            observed(State.RUNNING, "booted"),
            Circumstances(**happened),
            self.WAITS,
        )
        return told(list(found))

    def test_by_policy_the_guest_is_asked_to_shut_down(self) -> None:
        """Otherwise nothing is done."""
        assert ["shutdown"] == self.plan(Policy(restart="automatic"))
        assert [] == self.plan(NO_POLICY)

    def test_not_twice_for_the_same(self) -> None:
        """A restart that has not helped is not tried again for ever."""
        (found,) = self.plan(Policy(restart="automatic"), restarted_for=frozenset({"memory.size"}))

        assert found.startswith("refused: it was restarted for memory.size")

    def test_force_only_when_the_time_is_over(self) -> None:
        """And only by policy."""
        force = Policy(restart="automatic", shutdown=ShutdownPolicy(timeout=30, force=True))
        gentle = replace(force, shutdown=ShutdownPolicy(timeout=30))

        assert ["shutdown"] == self.plan(force, shutdown_asked=29.0)
        assert ["destroy"] == self.plan(force, shutdown_asked=30.0)
        assert ["shutdown"] == self.plan(gentle, shutdown_asked=99.0)


class TestRemoval:
    def plan(self, found: Observed, policy: str) -> list[str]:
        plan = plan_removal(found, Statement({}, {}, notes={ON_REMOVAL: policy}), Circumstances())
        return [step.action.verb for step in plan.steps] + [
            f"refused: {each.reason}" for each in plan.refused
        ]

    def test_what_the_mark_says_is_done(self) -> None:
        """Keep is the default; the guest is always asked to shut down first."""
        running, off = observed(State.RUNNING), observed(State.SHUTOFF)

        assert [] == self.plan(running, "keep")
        assert ["shutdown"] == self.plan(running, "shutdown")
        assert [] == self.plan(off, "shutdown")
        assert ["shutdown"] == self.plan(running, "undefine")
        assert ["undefine"] == self.plan(off, "undefine")

    @pytest.mark.parametrize(
        "reason", ["migrating", "starting up", "post-copy", "user", "I/O error"]
    )
    def test_nothing_is_resumed_that_may_run_elsewhere(self, reason: str) -> None:
        """What is paused may be what a migration has left here."""
        found = observed(State.PAUSED, reason)
        mark = Statement({}, {}, notes={ON_REMOVAL: "shutdown"})

        plan = plan_removal(found, mark, Circumstances(not_resumed="b may have it"))

        assert () == plan.steps
        assert "I/O error" == reason or ["b may have it"] == [each.reason for each in plan.waiting]

    def test_what_no_other_host_has_is_resumed_to_be_shut_down(self) -> None:
        """A paused guest does not hear that it shall shut down."""
        mark = Statement({}, {}, notes={ON_REMOVAL: "shutdown"})
        plan = plan_removal(observed(State.PAUSED, "user"), mark, Circumstances(resumable=True))

        assert ["resume"] == [step.action.verb for step in plan.steps]

    def test_a_saved_image_is_not_lost(self) -> None:
        """It would go with the definition."""
        (found,) = self.plan(observed(State.SHUTOFF, saved="<domain/>"), "undefine")

        assert found.startswith("refused: it has a saved system image")


def test_a_manifest_s_policy_goes_before_the_host_s() -> None:
    """Key by key, also within the shutdown."""
    host = Policy(crash="restart", drift="report", shutdown=ShutdownPolicy(timeout=60, retry=5))
    stated = {"drift": "correct", "shutdown": {"timeout": 10}, "migration": {"copied": ["vda"]}}

    expected = Policy(
        crash="restart",
        drift="correct",
        shutdown=ShutdownPolicy(timeout=10, retry=5),
        copied=frozenset({"vda"}),
    )
    assert expected == read_policy(stated, host)
