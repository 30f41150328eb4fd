"""Holds outlive the daemon, follow the uuid, and where they cannot be read everything is held."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from reconvirt.controller.holds import Hold, HoldStore
from reconvirt.controller.state_store import Document, StateStore

HOLD = Hold("maintenance", "anna", 1000.0)
UUID = "8f1c6a0e-5d0b-4c36-9d0e-6b0f6c1f2a11"
OTHER = "0d6e7a52-54b1-4e5e-8f0f-3a3f2f1c9b77"


def holds_in(directory: Path) -> HoldStore:
    """As another process sees them."""
    return HoldStore(StateStore(directory))


def test_a_hold_is_there_after_a_restart(tmp_path: Path) -> None:
    """Who, why and since when are stored."""
    holds_in(tmp_path).add(UUID, "web1", HOLD, confirmed=True)

    later = holds_in(tmp_path)
    assert HOLD == later.find(UUID, "web1")
    assert later.find(OTHER, "db1") is None
    assert later.release(UUID, "web1")
    assert not later.release(UUID, "web1")
    assert holds_in(tmp_path).empty


def test_none_is_lost_when_several_are_set_at_once(tmp_path: Path) -> None:
    """The interface has a thread for each request."""
    holds, barrier = holds_in(tmp_path), threading.Barrier(8)

    def add(number: int) -> None:
        barrier.wait()
        holds.add(f"uuid{number}", f"web{number}", HOLD, confirmed=True)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    later = holds_in(tmp_path)
    assert [HOLD] * 8 == [later.find(f"uuid{number}", "") for number in range(8)]


class TestRenames:
    """A hold belongs to a uuid."""

    def test_it_stays_with_the_uuid(self, tmp_path: Path) -> None:
        """Another one that takes over the name is not held once the new name was observed."""
        holds = holds_in(tmp_path)
        holds.add(UUID, "web1", HOLD, confirmed=True)

        assert HOLD == holds.find(UUID, "db1")
        holds.observed({UUID: "db1", OTHER: "web1"})
        assert (HOLD, None) == (holds.find(UUID, "db1"), holds.find(OTHER, "web1"))
        assert not holds.release(OTHER, "web1")
        assert holds.release(UUID, "db1")

    def test_it_counts_for_the_name_until_then(self, tmp_path: Path) -> None:
        """A virtual server that was deleted and defined again under its name is held."""
        holds = holds_in(tmp_path)
        holds.add(UUID, "web1", HOLD, confirmed=True)

        assert HOLD == holds.find(OTHER, "web1")
        assert holds.release(OTHER, "web1")

    def test_one_that_libvirt_does_not_have_yet(self, tmp_path: Path) -> None:
        """It may get another uuid than expected; from then on that one counts."""
        holds = holds_in(tmp_path)
        holds.add(UUID, "web1", HOLD, confirmed=False)

        holds.observed({OTHER: "web1"})

        assert HOLD == holds.find(OTHER, "renamed")
        assert holds.find(UUID, "another") is None

    def test_an_expected_uuid_that_came_true(self, tmp_path: Path) -> None:
        """Its name no longer counts for others."""
        holds = holds_in(tmp_path)
        holds.add(UUID, "web1", HOLD, confirmed=False)
        assert HOLD == holds.find(OTHER, "web1")

        holds.observed({UUID: "web1"})
        holds.observed({UUID: "db1"})

        assert (HOLD, None) == (holds.find(UUID, "x"), holds.find(OTHER, "web1"))


class TestEarlierVersion:
    """Files of reconvirt 0.1 have names alone."""

    def test_they_are_read_and_follow_the_uuid_from_then_on(self, tmp_path: Path) -> None:
        """Whoever had a uuid for its name counts as well."""
        old = {"web1": {"reason": "maintenance", "who": "anna", "since": 1000.0}}
        (tmp_path / Document.HOLDS).write_text(json.dumps(old))
        holds = holds_in(tmp_path)

        assert HOLD == holds.find(UUID, "web1")
        assert holds.find(UUID, "web2") is None
        holds.observed({UUID: "web1", OTHER: "db1"})
        assert HOLD == holds_in(tmp_path).find(UUID, "renamed")

    def test_one_of_them_is_replaced_by_a_new_hold(self, tmp_path: Path) -> None:
        """There are not two of one virtual server, so one release is enough."""
        old = {"web1": {"reason": "old", "who": "bert", "since": 1.0}}
        (tmp_path / Document.HOLDS).write_text(json.dumps(old))
        holds = holds_in(tmp_path)

        holds.add(UUID, "web1", HOLD, confirmed=True)

        assert HOLD == holds.find(UUID, "web1")
        assert holds.release(UUID, "web1")
        assert holds.empty


class TestAnnotation:
    """What a manifest's annotation holds."""

    def test_it_outlives_the_manifest(self, tmp_path: Path) -> None:
        """Until the manifest is back without it."""
        holds = holds_in(tmp_path)
        holds.note_annotations({"web1": (UUID, "being moved"), "db1": (OTHER, None)})
        holds.note_annotations({"db1": (OTHER, None)})

        found = holds_in(tmp_path).find(UUID, "web1")
        assert ("being moved", "manifest") == (found and found.reason, found and found.who)
        assert holds.find(OTHER, "db1") is None
        holds.note_annotations({"web1": (UUID, None)})
        assert holds_in(tmp_path).empty

    def test_a_person_ends_it_once_the_manifest_is_gone(self, tmp_path: Path) -> None:
        """Before, only the manifest does."""
        holds = holds_in(tmp_path)
        holds.note_annotations({"web1": (UUID, "being moved")})

        assert not holds.release(UUID, "web1")
        assert holds.find(UUID, "web1")
        assert holds.release(UUID, "web1", annotation=True)
        assert holds.find(UUID, "web1") is None

    def test_beside_the_hold_of_a_person(self, tmp_path: Path) -> None:
        """The person's says more, and the end of one is not the end of the other."""
        holds = holds_in(tmp_path)
        holds.add(UUID, "web1", HOLD, confirmed=True)
        holds.note_annotations({"web1": (UUID, "being moved")})
        assert HOLD == holds.find(UUID, "web1")

        holds.release(UUID, "web1")
        assert "being moved" in str(holds.find(UUID, "web1"))
        holds.add(UUID, "web1", HOLD, confirmed=True)
        holds.note_annotations({"web1": (UUID, None)})
        assert HOLD == holds.find(UUID, "web1")

    def test_the_uuid_turns_out_to_be_another_one(self, tmp_path: Path) -> None:
        """The manifest states none; what libvirt has counts, and the annotation still ends it."""
        holds = holds_in(tmp_path)
        holds.note_annotations({"web1": (UUID, "being moved")})
        holds.observed({OTHER: "web1"})

        assert holds.find(OTHER, "renamed")
        holds.note_annotations({"web1": (UUID, "being moved")})
        assert holds.find(UUID, "renamed") is None
        holds.note_annotations({"web1": (UUID, None)})
        assert holds.empty

    def test_nothing_is_written_where_nothing_has_changed(self, tmp_path: Path) -> None:
        """It is called at each revision of the manifests."""
        holds = holds_in(tmp_path)
        holds.note_annotations({"web1": (UUID, "being moved"), "db1": (OTHER, None)})
        before = (tmp_path / Document.HOLDS).stat().st_ino

        holds.note_annotations({"web1": (UUID, "being moved"), "db1": (OTHER, None)})
        holds.observed({OTHER: "db1"})

        assert before == (tmp_path / Document.HOLDS).stat().st_ino


@pytest.mark.parametrize(
    "text", ['{"web1": {"reason": ', '{"version": 1, "entries": {"u": {"name": "w", "reason": 1}}}']
)
def test_a_file_that_is_broken_stays_and_holds_all(tmp_path: Path, text: str) -> None:
    """It is not known what was to be left alone: that is reported, and nothing is lost."""
    file = tmp_path / "holds.json"
    file.write_text(text)
    holds = holds_in(tmp_path)

    found = holds.find(UUID, "web2")
    assert found is not None
    assert ("reconvirt", True) == (found.who, "holds.json" in found.reason)
    assert not holds.empty
    with pytest.raises(OSError, match="cannot be read"):
        holds.add(UUID, "web1", HOLD, confirmed=True)
    with pytest.raises(OSError, match="cannot be read"):
        holds.release(UUID, "web1")
    assert text == file.read_text()

    file.write_text("{}")
    assert holds.find(UUID, "web2") is None
