"""Nothing is opened that something else uses, and a plan says so before."""

from __future__ import annotations

from dataclasses import replace

from reconvirt.domain.changes import Plan
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.plan import Host, make_plan
from strategies import wanted
from virtual_servers import Spec, devices, disk, refusals, running, shut_off, spec, verbs

WITH_DISK = devices(disks=[disk("a")])
TAKEN = "/images/a.img (vda): web2, which runs on this host, has it open"


def plan_with(given: Spec, seen: Observed | None, *taken: str) -> tuple[Plan, list[str]]:
    """The plan where some images are taken; and the XML that was asked about."""
    asked: list[str] = []

    def in_use(uuid: str, xml: str) -> tuple[str, ...]:
        assert uuid == (seen.uuid if seen else wanted(given).expected_uuid)
        asked.append(xml)
        return tuple(TAKEN for each in taken if each in xml)

    return make_plan(wanted(given), seen, {}, Host(in_use=in_use)), asked


def test_one_is_not_started() -> None:
    """It is defined all the same, and seen to again soon."""
    made, _ = plan_with(WITH_DISK, None, "/images/a.img")

    assert ["define"] == verbs(made)
    assert {"state": TAKEN} == refusals(made)
    assert made.recheck


def test_neither_is_one_that_was_shut_down_by_hand() -> None:
    """It is no drift that is only reported: it would be started."""
    seen = replace(shut_off(WITH_DISK), reason="shutdown")

    made, _ = plan_with(WITH_DISK, seen, "/images/a.img")

    assert ([], (), ()) == (verbs(made), made.drifted, made.reported)
    assert {"state": TAKEN} == refusals(made)


def test_what_a_start_would_open_is_asked_about() -> None:
    """The configuration as it will be, or a saved system image."""
    seen = shut_off(WITH_DISK)
    after = devices(disks=[disk("b", target={"dev": "vda"})])

    _, asked = plan_with(after, seen)
    _, restored = plan_with(WITH_DISK, replace(seen, saved="<domain>saved</domain>"))
    discarded = WITH_DISK | {"policy": {"saved": "discard"}}
    _, booted = plan_with(discarded, replace(seen, saved="<domain>saved</domain>"))

    assert ["/images/b.img" in each for each in asked] == [True]
    assert ["<domain>saved</domain>"] == restored
    assert "saved" not in booted[0]


def test_a_disk_is_not_plugged_and_others_are() -> None:
    after = devices(disks=[disk("a"), disk("b")], interfaces=[])

    made, asked = plan_with(after, running(spec()), "/images/a.img")

    assert 1 == verbs(made).count("attach")
    assert {"devices.disks[vda]": TAKEN} == refusals(made)
    assert 2 == len(asked)


def test_one_is_not_ended_that_could_not_be_started_again() -> None:
    """By a restart policy, or as one that has crashed; what shall be off is ended."""
    restart = WITH_DISK | {"policy": {"restart": "automatic", "crash": "restart"}}
    seen = running(WITH_DISK)

    waiting, _ = plan_with(restart | {"memory": "2 GiB"}, seen, "/images/a.img")
    crashed, _ = plan_with(restart, replace(seen, state=State.CRASHED), "/images/a.img")
    off, asked = plan_with(WITH_DISK | {"state": "shutoff"}, seen, "/images/a.img")

    assert not {"shutdown", "destroy"} & {*verbs(waiting), *verbs(crashed)}
    assert ["record", "shutdown"] == verbs(off)
    assert [] == asked


def test_nothing_is_asked_where_nothing_is_opened() -> None:
    _, asked = plan_with(WITH_DISK | {"title": "x"}, running(WITH_DISK))

    assert [] == asked
