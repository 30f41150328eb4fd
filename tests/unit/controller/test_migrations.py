"""The migrations of a host, where libvirt cannot be reached."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from reconvirt.controller.history import History
from reconvirt.controller.hosts.copies import Copies
from reconvirt.controller.hosts.journeys import Journeys
from reconvirt.controller.hosts.migrations import Migrations, Standing
from reconvirt.controller.hosts.move import End, Move, Report
from reconvirt.controller.state_store import Document, StateStore
from reconvirt.domain.desired import NOTHING, Desired
from reconvirt.domain.placing import Inventory
from reconvirt.manifest.host import HostManifest

NOWHERE = "qemu+unix:///system?socket=/nonexistent"
HOSTS = {name: HostManifest(name, f"{NOWHERE}/{name}") for name in ("a", "b")}
STAYS = Desired("web1", None, "running", NOTHING, host="a")
LEAVES = replace(STAYS, host="b")


class Away:
    """Host a, whose libvirt is away, and that of host b as well."""

    def __init__(self, state_directory: Path) -> None:
        self.history = History()
        self.woken = threading.Semaphore(0)
        self.journeys = Journeys(StateStore(state_directory))
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.migrations = Migrations(
            NOWHERE,
            lambda: Inventory("a", HOSTS),
            lambda _name: self.woken.release(),
            lambda _name, _progress: self.go_on(),
            self.history,
            Copies(StateStore(state_directory)),
            self.journeys,
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
    away.journeys.send("web1", "b")
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
    away.journeys.send("web1", "b")
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


def test_what_cannot_be_kept_is_not_begun() -> None:
    """A daemon that is started anew would not know of it."""
    away = Away(Path("/proc/no-such-place"))  # nobody can make a directory there, nor root

    for _ in range(2):
        away.migrations.forget("web1")
        away.migrations.move(LEAVES)
        assert away.woken.acquire(timeout=30)
        found = away.migrations.move(LEAVES)
        assert "cannot be stored" in found.message


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
    Journeys(StateStore(tmp_path)).send("web1", "b")
    Journeys(StateStore(tmp_path)).wish("web1", end=True)
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
    journeys = Journeys(StateStore(tmp_path))
    journeys.wish("web1", end=True)

    away.migrations.move(LEAVES)
    while away.migrations.moving("web1"):
        ended.wait(0.01)

    assert journeys.wished("web1")
