"""Images that were there once are known, whatever happens to their virtual servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconvirt.controller.hosts.fences import Fence, Fences
from reconvirt.controller.hosts.known_hosts import KnownHost
from reconvirt.controller.image_record import ImageRecord
from reconvirt.controller.state_store import Document, StateStore
from reconvirt.domain.image_plan import ImageFacts

THERE = {"/a": ImageFacts("/a", "qcow2", 5)}
GONE = {"/a": None, "/b": None}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path)


def test_one_that_was_seen_is_known_after_a_restart(store: StateStore) -> None:
    ImageRecord(store).note("uuid-1", THERE)

    known = ImageRecord(store).known(GONE)

    assert (frozenset({"/a"}), "") == (known.paths, known.problem)
    assert {"/a": {"uuid": "uuid-1", "size": 5}} == store.read(Document.IMAGES)


def test_what_is_missing_or_to_be_made_is_not_noted(store: StateStore) -> None:
    record = ImageRecord(store)
    record.note("uuid-1", GONE)

    assert frozenset() == record.known(GONE).paths
    assert {} == store.read(Document.IMAGES)


def test_who_saw_it_first_stays_noted(store: StateStore) -> None:
    ImageRecord(store).note("uuid-1", THERE)
    ImageRecord(store).note("uuid-2", THERE)

    assert "uuid-1" == store.read(Document.IMAGES)["/a"]["uuid"]


def test_many_are_written_together(store: StateStore) -> None:
    """The first at once, the others a second later or at the end; all are known meanwhile."""
    clock = Clock()
    record = ImageRecord(store, clock)
    for number in range(10):
        path = f"/{number}"
        record.note("u", {path: ImageFacts(path, "raw", 1)})

    assert {"/0"} == set(store.read(Document.IMAGES))
    assert "/9" in record.known(GONE).paths
    clock.now = 1.0
    record.note("u", {"/0": ImageFacts("/0", "raw", 1)})
    assert 10 == len(store.read(Document.IMAGES))


def test_the_rest_is_written_at_the_end(store: StateStore) -> None:
    record = ImageRecord(store, Clock())
    for path in ("/a", "/b"):
        record.note("u", {path: ImageFacts(path, "raw", 1)})
    record.flush()

    assert {"/a", "/b"} == set(store.read(Document.IMAGES))


def test_a_record_that_cannot_be_read_is_no_empty_one(store: StateStore, tmp_path: Path) -> None:
    """Nothing is made then; and it is not written over."""
    (tmp_path / Document.IMAGES).write_text("{", encoding="utf-8")
    record = ImageRecord(store)

    record.note("u", THERE)

    assert str(tmp_path / Document.IMAGES) in record.known(GONE).problem
    assert "{" == (tmp_path / Document.IMAGES).read_text(encoding="utf-8")
    assert "" == record.known(THERE).problem, "nothing is missing, nothing need be known"


def test_a_host_that_counts_as_off_may_have_made_one(store: StateStore) -> None:
    """What is taken over from it is not made where its file system is not mounted."""
    assert "" == ImageRecord(store).known(GONE).new_problem
    Fences(store).add(KnownHost("zhost2", "test:///zhost2"), Fence("off", "me", 1.0))

    known = ImageRecord(store).known(GONE)

    assert "zhost2 counts as off" in known.new_problem
    assert "" == known.why_not("/b")
    assert "whether it was ever there is unknown: zhost2" in known.of_new().why_not("/b")
