"""What is tried after a migration that has not been: the next host, or all again later."""

from __future__ import annotations

from reconvirt.controller.hosts.move import End, Report
from reconvirt.controller.hosts.tries import Past, next_try
from reconvirt.domain.desired import NOTHING, Desired
from reconvirt.manifest.host import HostManifest

WEB1 = Desired("web1", None, "running", NOTHING, host="a", hosts=("b", "c"))
B, C = (HostManifest(name, f"qemu+ssh://{name}/system") for name in "bc")
AWAY, NO = Report(End.STAYED, "b cannot be reached"), Report(End.REFUSED, "it cannot be moved: x")


def past(*hosts: HostManifest) -> Past:
    """Nothing was tried yet."""
    return Past((WEB1, hosts), AWAY)


def test_the_next_host_is_tried_at_once() -> None:
    """The first cannot have it."""
    found = next_try(past(B, C), "b", AWAY, 100.0)

    assert (100.0, 0, {"b": AWAY}) == (found.not_before, found.failures, found.tried)


def test_after_the_last_host_all_are_tried_again_later() -> None:
    """The reasons of each are told, and the pauses grow."""
    found = past(B, C)
    for pause in (10, 20, 40):
        found = next_try(found, "b", AWAY, 100.0)
        found = next_try(found, "c", NO, 100.0)
        assert (100.0 + pause, {}) == (found.not_before, found.tried)

    assert found.report.end is End.REFUSED
    assert found.report.message == (
        "none of its hosts can have it: b: b cannot be reached; c: it cannot be moved: x"
    )


def test_the_only_host_speaks_for_itself() -> None:
    """As it is."""
    assert next_try(past(B), "b", NO, 0.0).report == NO


def test_a_full_host_is_waited_for() -> None:
    """It is the best one all the same."""
    found = next_try(past(B, C), "b", Report(End.FULL, "full"), 100.0)

    assert (105.0, {}) == (found.not_before, found.tried)


def test_what_nobody_is_sure_of_is_looked_at_again() -> None:
    """It is never sent to another host."""
    found = next_try(past(B, C), "b", Report(End.UNSURE, "who has it?"), 100.0)

    assert (110.0, {}) == (found.not_before, found.tried)
