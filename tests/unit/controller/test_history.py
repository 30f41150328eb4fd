"""The latest events, for those who ask and those who wait."""

from __future__ import annotations

import threading

from reconvirt.controller.history import History


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
