"""SCSI devices by stable names: found, moved, lost, and not lost sight of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconvirt.domain.actions import Start
from reconvirt.domain.changes import Plan
from reconvirt.domain.desired import Desired
from reconvirt.domain.observed import Observed
from reconvirt.domain.plan import make_plan
from reconvirt.domain.resolve import ScsiAddress, needs_resolving, resolve
from reconvirt.domain.xmltree import parse_xml
from strategies import wanted
from virtual_servers import (
    Spec,
    actions,
    defined,
    definition,
    devices,
    disk,
    refusals,
    restarted,
    spec,
    stored,
    verbs,
)

STABLE = {"device": "0.0.1900", "wwpn": "0x500507630300c562", "lun": "0x401040a000000000"}
NAME = "/".join(STABLE.values())
HERE, THERE = ScsiAddress(0, 0, 3, 1088), ScsiAddress(7, 0, 5, 1088)


def tape(**more: object) -> Spec:
    """A virtual server with a tape."""
    return devices(hostdevs=[{"type": "scsi", "source": STABLE} | more])


def found(of: Spec, where: ScsiAddress | str) -> Desired:
    """What is wanted, where the host has the tape there, or says why it has not."""
    return resolve(wanted(of), lambda *_: where)


def with_tape(where: ScsiAddress = HERE, **more: object) -> Observed:
    """A running virtual server that has the tape."""
    return restarted(defined(found(tape(**more), where)))


def plan(desired: Desired, seen: Observed) -> Plan:
    return make_plan(desired, seen)


def test_only_what_is_named_so_is_looked_for() -> None:
    """By all three names."""
    address = {"adapter": {"name": "scsi_host1"}, "address": {"target": 1, "unit": 2}}

    assert needs_resolving(wanted(tape()))
    assert not needs_resolving(wanted(tape(source=address)))
    assert not needs_resolving(wanted(spec()))


def test_it_is_looked_for_by_what_is_stable() -> None:
    """FCP device, port and LUN."""
    asked: list[tuple[str, ...]] = []

    resolve(wanted(tape()), lambda *names: asked.append(names) or HERE)

    assert [tuple(STABLE.values())] == asked


def test_one_that_is_found_is_given_its_present_address() -> None:
    """In libvirt's words."""
    root = definition(make_plan(found(tape(), HERE), None))

    source = root.find("devices/hostdev/source")
    assert "scsi_host0" == source.find("adapter").get("name")
    assert {"bus": "0", "target": "3", "unit": "1088"} == dict(source.find("address").attrib)
    assert [] == [each for each in source if each.tag not in ("adapter", "address")]


def test_found_again_at_the_same_place_is_nothing_to_do() -> None:
    """The plan is empty."""
    assert plan(found(tape(), HERE), with_tape()).empty


def test_one_that_has_moved_is_plugged_anew() -> None:
    """The old place is given back, though nothing is there any more."""
    made = plan(found(tape(), THERE), with_tape())

    assert ["detach", "attach"] == [action.verb for action in actions(made)]
    attached = parse_xml(actions(made)[1].xml)
    assert "scsi_host7" == attached.find("source/adapter").get("name")
    [config] = definition(made).findall("devices/hostdev")
    assert "scsi_host7" == config.find("source/adapter").get("name")


@pytest.mark.parametrize("persistent", [True, False])
def test_one_that_is_lost_stays_as_it_was_applied(persistent: bool) -> None:
    """It is refused with the reason, and nothing is taken away because of it."""
    seen = with_tape(persistent=persistent)

    made = plan(found(tape(persistent=persistent), "there is no such port"), seen)

    assert {"devices.hostdevs": "there is no such port"} == refusals(made)
    assert NAME == made.refused[0].new
    assert "detach" not in verbs(made)
    assert "define" not in verbs(made)


def test_the_rest_of_the_manifest_is_done_all_the_same() -> None:
    """One lost tape holds nothing up."""
    both = tape() | {"cputune": {"shares": 5}}

    made = plan(found(both, "lost"), with_tape())

    assert "set-parameter" in verbs(made)
    assert 1 == len(definition(made).findall("devices/hostdev"))


def test_what_is_stated_no_more_goes_though_it_is_lost() -> None:
    """Nothing keeps it then."""
    made = plan(wanted(spec()), with_tape())

    assert ["detach"] == [action.verb for action in actions(made)]


def test_without_a_persistent_one_it_is_not_started() -> None:
    """libvirt would not start it either, and with a worse message."""
    seen = defined(found(tape(), HERE))

    assert [] == actions(plan(found(tape(), "lost"), seen))
    assert [Start()] == actions(plan(found(tape(), HERE), seen))


def test_without_a_hotplug_device_it_is_started() -> None:
    """That comes when it is there."""
    lost = found(tape(persistent=False), "lost")

    assert [Start()] == actions(plan(lost, defined(wanted(spec()))))


def test_a_new_virtual_server_is_defined_and_not_started() -> None:
    """Without what is not to be found."""
    made = make_plan(found(devices(**tape()["devices"], disks=[disk("a")]), "lost"), None)

    assert ["define"] == verbs(made)
    assert ["disk"] == [each.tag for each in definition(made).find("devices")]


def test_one_that_comes_back_is_nothing_to_do() -> None:
    """If it comes back where it was."""
    seen = with_tape()
    lost = found(tape(), "lost")

    seen = stored(plan(lost, seen), seen)

    assert plan(found(tape(), HERE), seen).empty


def test_two_of_one_adapter_are_told_apart() -> None:
    """By where they are."""
    other = STABLE | {"lun": "0x401140a000000000"}
    both = devices(hostdevs=[{"type": "scsi", "source": each} for each in (STABLE, other)])
    places = {STABLE["lun"]: HERE, other["lun"]: replace(HERE, unit=1089)}

    desired = resolve(wanted(both), lambda _device, _wwpn, lun: places[lun])

    assert ["scsi/scsi_host0/0/3/1088#1", "scsi/scsi_host0/0/3/1089#1"] == list(
        desired.statement.devices["hostdevs"]
    )
