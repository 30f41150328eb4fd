"""The latest events, for those who ask and those who wait."""

from __future__ import annotations

import threading

import pytest
from structlog.testing import capture_logs

from reconvirt.controller.history import SAME_SECONDS, History


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


FAILED = {"step": "start", "field": "state", "level": "error"}


def test_only_the_latest_are_kept() -> None:
    """Their numbers tell what was missed."""
    history = History(clock=lambda: 5.0, most=3)
    for number in range(5):
        history.tell("web1", "StepDone", f"step {number}")

    assert [3, 4, 5] == [each.number for each in history.since()]
    assert [5] == [each.number for each in history.since(4)]
    assert [] == history.since(0, "db1")


def test_who_follows_gets_what_comes() -> None:
    """At once, and an empty list when nothing has come for a while."""
    history = History()
    follower = history.follow(0, lambda: False, 0.05)
    assert [] == next(follower)

    threading.Timer(0.01, history.tell, ("web1", "Converged", "as wanted")).start()
    seen = next(follower) or next(follower)

    assert ["Converged"] == [each.reason for each in seen]


def test_an_event_says_field_old_and_new() -> None:
    """As a person reads them, with the revision in force."""
    history = History()
    history.revision = "abc"
    history.tell("web1", "StepDone", "why", step="set-vcpus", field="vcpu.current", old=1, new=2)

    (event,) = history.since()

    expected = ("set-vcpus", "vcpu.current", "1", "2", "abc")
    assert expected == (event.step, event.field, event.old, event.new, event.revision)


class TestRepeated:
    """What happens again is one event with a count."""

    def test_it_has_a_count_and_two_times(self) -> None:
        """And goes to the end, with a new number: who has seen it sees it again."""
        clock = Clock()
        history = History(clock)
        history.tell("web1", "StepFailed", "no such file", **FAILED)
        history.tell("db1", "Converged", "in sync")
        clock.now += 30.0
        history.tell("web1", "StepFailed", "no such file", **FAILED)

        events = history.since()

        seen = [(each.number, each.virtual_server, each.count) for each in events]
        assert [(2, "db1", 1), (3, "web1", 2)] == seen
        assert (1000.0, 1030.0) == (events[-1].first_time, events[-1].time)
        assert [3] == [each.number for each in history.since(2)]

    @pytest.mark.parametrize(
        "other",
        [
            ("db1", "StepFailed", "no such file", FAILED),
            ("web1", "MustWaitForRestart", "no such file", FAILED),
            ("web1", "StepFailed", "no such file or directory", FAILED),
            ("web1", "StepFailed", "no such file", FAILED | {"step": "attach"}),
            ("web1", "StepFailed", "no such file", FAILED | {"field": "devices.disks[vda]"}),
            ("web1", "StepFailed", "no such file", FAILED | {"new": 2}),
        ],
    )
    def test_another_event_is_another_one(self, other: tuple[str, str, str, dict]) -> None:
        history = History()
        history.tell("web1", "StepFailed", "no such file", **FAILED)
        *words, fields = other

        history.tell(*words, **fields)

        assert [1, 1] == [each.count for each in history.since()]

    def test_after_an_hour_without_it_it_is_a_new_one(self) -> None:
        clock = Clock()
        history = History(clock)
        for after in (0.0, SAME_SECONDS - 1, SAME_SECONDS - 1, SAME_SECONDS):
            clock.now += after
            history.tell("web1", "StepFailed", "no such file", **FAILED)

        assert [3, 1] == [each.count for each in history.since()]

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (
                "qemu unexpectedly closed the monitor: 2026-11-28T13:26:16.229526Z qemu: no lock",
                "qemu unexpectedly closed the monitor: 2026-11-28T13:27:01.000001Z qemu: no lock",
            ),
            (
                "/var/lib/libvirt/qemu/domain-7-web1/monitor.sock: refused",
                "/var/lib/libvirt/qemu/domain-12-web1/monitor.sock: refused",
            ),
            ("the lock is held by pid 71", "the lock is held by pid 1234"),
            ("started again in 37 s", "started again in 2.5 s"),
        ],
    )
    def test_what_differs_each_time_does_not_make_it_another_one(
        self, first: str, second: str
    ) -> None:
        """The message is the latest."""
        history = History()
        for message in (first, second):
            history.tell("web1", "StepFailed", message, **FAILED)

        (event,) = history.since()

        assert (2, second) == (event.count, event.message)

    def test_numbers_that_mean_something_make_it_another_one(self) -> None:
        history = History()
        for message in ("2 of 4 vCPUs", "3 of 4 vCPUs", "disk 1 GiB", "disk 2 GiB"):
            history.tell("web1", "StepFailed", message)

        assert 4 == len(history.since())

    def test_the_journal_has_it_ever_more_seldom(self) -> None:
        """At counts that are powers of two; the others are for debugging."""
        history = History()
        with capture_logs() as lines:
            for _ in range(20):
                history.tell("web1", "StepFailed", "no such file", **FAILED)

        told = [each.get("count", 1) for each in lines if each["log_level"] == "error"]
        assert [1, 2, 4, 8, 16] == told
        assert {"error", "debug"} == {each["log_level"] for each in lines}
        assert {"step failed"} == {each["event"] for each in lines}

    @pytest.mark.parametrize(
        ("reason", "level"),
        [("StepDone", "info"), ("Converged", "info"), ("PrunePending", "warning")],
    )
    def test_what_is_no_failure_is_in_the_journal_each_time(self, reason: str, level: str) -> None:
        """Each start that was needed, that it is in sync again, and what is going to happen."""
        history = History()
        with capture_logs() as lines:
            for _ in range(5):
                history.tell("web1", reason, "words", level=level)

        assert [level] * 5 == [each["log_level"] for each in lines]

    def test_requests_are_not(self) -> None:
        """A guest may be asked for hours."""
        history = History()
        with capture_logs() as lines:
            for _ in range(5):
                history.tell("web1", "StepAsked", "the guest is asked to shut down")

        levels = [each["log_level"] for each in lines]
        assert ["info", "info", "debug", "info", "debug"] == levels

    def test_nothing_is_kept_of_what_was_dropped(self) -> None:
        history = History(most=10)
        for number in range(1000):
            history.tell("web1", "Failed", f"number {number % 30}")

        assert 10 == len(history.since()) == len(history._numbers)

    def test_who_follows_sees_it_again(self) -> None:
        history = History()
        history.tell("web1", "StepFailed", "no such file", **FAILED)
        follower = history.follow(1, lambda: False, 5.0)

        history.tell("web1", "StepFailed", "no such file", **FAILED)

        assert [2] == [each.count for each in next(follower)]
