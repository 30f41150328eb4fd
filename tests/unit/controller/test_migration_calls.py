"""The calls of migrations pass the guard like all others, and only the journal orders some."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from reconvirt.controller.guard import Call, Guard, NoAuthority, OnHold, Outdated, Refusal
from reconvirt.domain.actions import Action, Destroy, Start, Undefine
from reconvirt.domain.mark import mark_text
from reconvirt.domain.migration import Order
from reconvirt.domain.migration_actions import (
    AbortMigration,
    EndLeftover,
    Migrate,
    MigrationAction,
    ResumeAfterMigration,
    SetMaxDowntime,
)
from reconvirt.domain.migration_policy import USUAL_MIGRATION
from reconvirt.domain.observed import Identity, State
from reconvirt.domain.xmltree import parse_xml
from strategies import NAME, wanted
from virtual_servers import defined, restarted, spec

UP = restarted(defined(wanted(spec())))
LEAVES = replace(wanted(spec()), host="zhost2")
MOVE = Migrate(Order("qemu+tcp://zhost2/system", "", False, (), USUAL_MIGRATION, 49215))
SAID = "its migration"


class Libvirt:
    """Has the domain as it was observed, and keeps the calls that it gets."""

    def __init__(self) -> None:
        self.done: list[Action] = []

    def identify(self, _uuid: str, _name: str) -> tuple[Identity, ...]:
        mark = mark_text(parse_xml(UP.config))
        return (Identity(UP.uuid, UP.name, UP.domain_id, UP.persistent, mark),)

    def act(self, _uuid: str, action: Action) -> None:
        self.done.append(action)


def refused(kind: type[Refusal], guard: Guard, call: Call) -> None:
    """The guard does not make a call."""
    libvirt = Libvirt()
    with pytest.raises(kind):
        guard.act(libvirt, call)
    assert [] == libvirt.done


@pytest.mark.parametrize(
    "action",
    [
        SetMaxDowntime(100),
        AbortMigration(),
        ResumeAfterMigration(),
        EndLeftover(State.SHUTOFF, "migrated"),
    ],
)
def test_the_journal_orders_what_belongs_to_a_migration(action: MigrationAction) -> None:
    """Whatever the manifest says by now; without the journal nothing does."""
    libvirt = Libvirt()
    Guard(wanted=dict).act(libvirt, Call(NAME, UP.uuid, action, UP, migration=SAID))

    assert [action] == libvirt.done
    refused(NoAuthority, Guard(), Call(NAME, UP.uuid, action, UP, LEAVES))
    refused(NoAuthority, Guard(), Call(NAME, UP.uuid, action, UP))


@pytest.mark.parametrize("action", [Destroy(), Undefine(), Start(), MOVE])
def test_the_journal_orders_nothing_else(action: Action) -> None:
    """What starts, ends or moves a virtual server needs its manifest or a policy."""
    refused(NoAuthority, Guard(), Call(NAME, UP.uuid, action, UP, migration=SAID))


def test_it_is_begun_for_the_manifest_in_force() -> None:
    """Which must say on which host it shall be."""
    libvirt = Libvirt()
    Guard(wanted=lambda: {NAME: LEAVES}).act(libvirt, Call(NAME, UP.uuid, MOVE, UP, LEAVES))
    assert [MOVE] == libvirt.done

    stays = replace(LEAVES, host="zhost1")
    changed = Guard(wanted=lambda: {NAME: stays})
    refused(Outdated, changed, Call(NAME, UP.uuid, MOVE, UP, LEAVES))
    refused(NoAuthority, Guard(), Call(NAME, UP.uuid, MOVE, UP, replace(LEAVES, host=None)))


@pytest.mark.parametrize("kind", get_args(MigrationAction))
def test_a_hold_stops_a_migration_before_its_next_call(kind: type[MigrationAction]) -> None:
    """Also the calls that clean up: a person looks at it."""
    made: dict[type, MigrationAction] = {
        Migrate: MOVE,
        SetMaxDowntime: SetMaxDowntime(100),
        EndLeftover: EndLeftover(State.SHUTOFF, "migrated"),
    }
    action = made.get(kind) or kind()
    desired, said = (LEAVES, "") if kind is Migrate else (None, SAID)
    call = Call(NAME, UP.uuid, action, UP, desired, migration=said)

    refused(OnHold, Guard(hold=lambda *_: "an administrator works on it"), call)


def test_what_has_changed_meanwhile_is_not_ended() -> None:
    """It is another domain than the one that was observed."""
    restart = replace(UP, domain_id=99)
    action = EndLeftover(State.PAUSED, "migrating")

    refused(Outdated, Guard(), Call(NAME, UP.uuid, action, restart, migration=SAID))
