"""The migrations of a host, where libvirt cannot be reached."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from reconvirt.controller.history import History
from reconvirt.controller.hosts import migrations as module
from reconvirt.controller.hosts.copies import Copies
from reconvirt.controller.hosts.migration_journal import NOTHING as NOTHING_BEFORE
from reconvirt.controller.hosts.migration_journal import Entry, MigrationJournal
from reconvirt.controller.hosts.migrations import Migrations, Standing
from reconvirt.controller.hosts.move import Move
from reconvirt.controller.hosts.report import End, Report
from reconvirt.controller.state_store import Document, StateStore
from reconvirt.domain.desired import NOTHING, Desired
from reconvirt.domain.placing import Inventory
from reconvirt.manifest.host import HostManifest

NOWHERE = "qemu+unix:///system?socket=/nonexistent"
HOSTS = {name: HostManifest(name, f"{NOWHERE}/{name}") for name in ("a", "b", "c")}
STAYS = Desired("web1", None, "running", NOTHING, host="a")
LEAVES = replace(STAYS, host="b")
UUID = STAYS.expected_uuid
TO_B = Entry("web1", "b", uri=HOSTS["b"].uri, before=NOTHING_BEFORE)


class Away:
    """Host a, whose libvirt is away, and that of host b as well."""

    def __init__(self, state_directory: Path) -> None:
        self.history = History()
        self.woken = threading.Semaphore(0)
        store = StateStore(state_directory)
        self.journal = MigrationJournal(store)
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.migrations = Migrations(
            NOWHERE,
            lambda: Inventory("a", HOSTS),
            lambda _name: self.woken.release(),
            lambda _name, _progress: self.go_on(),
            self.history,
            Copies(store),
            self.journal,
        )

    def go_on(self) -> None:
        """Called in the thread of a migration."""
        assert self.may_go_on.wait(30)

    def told(self) -> list[str]:
        """The reasons of what has happened."""
        return [each.reason for each in self.history.since()]

    def end(self) -> Standing:
        """A look at one that shall stay here, and is on its way for all that is known."""
        found = self.migrations.end(STAYS, here=True)
        assert found is not None
        return found


def test_one_of_which_nobody_can_tell_is_not_asked_for_all_the_time(tmp_path: Path) -> None:
    """Its end has it looked at; that look must not begin the next try."""
    away = Away(tmp_path)
    away.journal.begin(UUID, TO_B)
    assert away.end().underway
    assert away.woken.acquire(timeout=30)

    found = away.end()

    assert not away.migrations.moving("web1")
    assert ["MigrationNotDone"] == away.told()
    assert "not to be told" in found.message
    assert found.again_after is not None
    assert 5 < found.again_after <= 10


def test_a_person_has_it_tried_at_once(tmp_path: Path) -> None:
    """Whatever the pause."""
    away = Away(tmp_path)
    away.journal.begin(UUID, TO_B)
    away.end()
    assert away.woken.acquire(timeout=30)

    away.migrations.forget("web1")

    assert away.end().underway
    assert away.woken.acquire(timeout=30)


def test_nothing_is_kept_of_one_whose_manifest_is_gone(tmp_path: Path) -> None:
    """Neither a place among those that wait, nor its metrics."""
    away = Away(tmp_path)
    away.may_go_on.clear()
    away.migrations.move(LEAVES)
    away.migrations.move(replace(LEAVES, name="web2"))

    def seen() -> dict[str, str]:
        return {each.name: each.phase for each in away.migrations.seen()}

    assert {"web1": "running", "web2": "waiting"} == seen()
    away.migrations.let_go("web2")
    assert {"web1": "running"} == seen()
    away.may_go_on.set()
    assert away.woken.acquire(timeout=30)
    assert {"web1": "failed"} == seen()
    away.migrations.let_go("web1")
    assert {} == seen()


class Reaching(Move):
    """A migration whose destination b takes connections, and never answers.

    The others have nothing against it, and their memory is being sent until it is allowed to end.
    """

    may_end: ClassVar[threading.Event]
    sent: ClassVar[list[str]]

    def run(self) -> Report | None:
        """Reach the destination, take a slot, and send."""
        if self.destination.name == "b":
            self.may_end.wait(30)
        if why := self.take_slot(self, False):
            return Report(End.STAYED if self.aborted else End.FULL, why)
        self.sent.append(self.name)
        self.may_end.wait(30)
        return Report(End.MOVED, "moved")


@pytest.fixture
def reaching(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Reaching]]:
    """Migrations of which those to b get no answer."""

    class OfThisTest(Reaching):
        """What is left of other tests goes on meanwhile."""

        may_end = threading.Event()
        sent: ClassVar[list[str]] = []

    monkeypatch.setattr(module, "Move", OfThisTest)
    yield OfThisTest
    OfThisTest.may_end.set()


def until(condition: Callable[[], object]) -> None:
    """Wait for something that another thread does."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_silent_destination_holds_only_its_own_slot(
    tmp_path: Path, reaching: type[Reaching]
) -> None:
    """What goes to a healthy host goes meanwhile; two do not send at once."""
    migrations = Away(tmp_path).migrations
    migrations.move(LEAVES)
    migrations.move(replace(LEAVES, name="web2", host="c"))
    until(lambda: reaching.sent == ["web2"])

    assert migrations.moving("web1")
    waits = migrations.move(replace(LEAVES, name="web3", host="b"))
    assert "it waits for a slot to move away from a" == waits.message


def test_one_that_is_stuck_ends_when_its_manifest_says_so(
    tmp_path: Path, reaching: type[Reaching]
) -> None:
    """At once: nothing was sent, and nothing is when the destination answers after all."""
    migrations = Away(tmp_path).migrations
    migrations.move(LEAVES)

    assert migrations.end(STAYS, here=True) is None
    assert not migrations.moving("web1")

    threads = [each for each in threading.enumerate() if each.name == "migration-web1"]
    reaching.may_end.set()
    for each in threads:
        each.join(30)
    assert [] == reaching.sent


def test_one_that_is_stuck_goes_elsewhere_when_its_manifest_says_so(
    tmp_path: Path, reaching: type[Reaching]
) -> None:
    """The new destination need not wait for the old one."""
    migrations = Away(tmp_path).migrations
    migrations.move(LEAVES)

    found = migrations.move(replace(LEAVES, host="c"))

    assert "it moves to c" == found.message
    until(lambda: reaching.sent == ["web1"])


def test_a_migration_goes_on_to_where_it_was_begun(tmp_path: Path) -> None:
    """Although the manifest of that host is gone, or names another libvirt."""
    away = Away(tmp_path)
    away.may_go_on.clear()
    away.journal.begin(UUID, replace(TO_B, host="d", uri=f"{NOWHERE}/d"))

    found = away.migrations.move(LEAVES)

    assert "it moves to d" == found.message
    away.may_go_on.set()


def test_with_an_unreadable_journal_nothing_is_taken_for_begun(tmp_path: Path) -> None:
    """And nothing is cleaned up."""
    (tmp_path / Document.MIGRATIONS).write_text("{", encoding="utf-8")
    away = Away(tmp_path)

    assert away.migrations.end(STAYS, here=True) is None


@pytest.mark.parametrize("document", [Document.MIGRATIONS, Document.ABORT_REQUESTS])
def test_none_is_begun_where_it_is_not_known_which_were(tmp_path: Path, document: Document) -> None:
    """The status says so, until the file can be read again."""
    (tmp_path / document).write_text("{", encoding="utf-8")
    away = Away(tmp_path)

    found = away.migrations.move(LEAVES)

    assert (False, True) == (found.underway, str(tmp_path / document) in found.message)
    assert found.report is not None
    assert found.report.end is End.REFUSED
    assert str(tmp_path / document) in away.migrations.unknown()
    (tmp_path / document).unlink()
    assert away.migrations.move(LEAVES).underway
    assert away.woken.acquire(timeout=30)


def test_what_a_person_has_ended_while_no_daemon_ran_is_not_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays until its manifest changes, as if the daemon had seen it."""

    def run(move: Move) -> Report:
        return Report(End.MOVED, "begun") if move.begins else Report(End.STAYED, "it is here")

    monkeypatch.setattr(Move, "run", run)
    MigrationJournal(StateStore(tmp_path)).begin(UUID, TO_B)
    MigrationJournal(StateStore(tmp_path)).request_abort("web1", end=True)
    away = Away(tmp_path)

    away.migrations.move(LEAVES)
    assert away.woken.acquire(timeout=30)
    found = away.migrations.move(LEAVES)

    assert ("ended by hand" in found.message, found.underway) == (True, False)
    away.migrations.forget("web1")
    away.migrations.move(LEAVES)
    assert away.woken.acquire(timeout=30)
    assert 1 == away.migrations.ended()["moved"]


def test_a_daemon_that_ends_leaves_the_wish_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The migration has not ended yet."""
    ended = threading.Event()
    monkeypatch.setattr(Move, "run", lambda _move: None)
    away = Away(tmp_path)
    monkeypatch.setattr(away.migrations, "_wake", lambda _name: pytest.fail("it goes on"))
    journal = MigrationJournal(StateStore(tmp_path))
    journal.request_abort("web1", end=True)

    away.migrations.move(LEAVES)
    while away.migrations.moving("web1"):
        ended.wait(0.01)

    assert journal.abort_requested("web1")
