"""What is known of migrations that were begun, and which virtual servers are to stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconvirt.controller.hosts.migration_journal import NOTHING, Entry, MigrationJournal
from reconvirt.controller.state_store import Document, StateStore, Unreadable
from reconvirt.domain.desired import NOTHING as NO_STATEMENT
from reconvirt.domain.desired import Desired

UUID = "8f1c6a0e-5d0b-4c36-9d0e-6b0f6c1f2a11"
WEB1 = Desired("web1", UUID, "running", NO_STATEMENT, host="b", hosts=("c",))
TO_B = Entry("web1", "b", source="a", uri="test:///b", before=NOTHING)


def journal(directory: Path) -> MigrationJournal:
    """The journal as a process finds it that was just started."""
    return MigrationJournal(StateStore(directory))


def test_where_it_was_sent_is_known_to_a_new_daemon(tmp_path: Path) -> None:
    """Until it has turned out to be here."""
    journal(tmp_path).begin(UUID, TO_B)

    assert journal(tmp_path).underway("web1") == journal(tmp_path).host("web1") == "b"
    journal(tmp_path).arrive("web1")
    assert (journal(tmp_path).underway("web1"), journal(tmp_path).host("web1")) == ("", "b")
    journal(tmp_path).stay("web1")
    assert journal(tmp_path).host("web1") == ""


def test_only_what_was_begun_can_have_been_left_behind(tmp_path: Path) -> None:
    """At that host, by that uuid, where nothing was before, and as long as it has not ended."""
    book = journal(tmp_path)
    assert not book.left_behind(UUID, "b")
    book.begin(UUID, TO_B)

    assert book.left_behind(UUID, "b")
    assert not book.left_behind(UUID, "c")
    assert not book.left_behind(UUID.replace("8", "9"), "b")
    book.begin(UUID, replace(TO_B, before=""))
    assert not book.left_behind(UUID, "b")
    book.begin(UUID, TO_B)
    book.arrive("web1")
    assert not book.left_behind(UUID, "b")


def test_what_goes_to_a_libvirt_is_known(tmp_path: Path) -> None:
    """Such a host is not forgotten, although it has none of ours yet."""
    book = journal(tmp_path)
    book.begin(UUID, TO_B)

    assert (True, False) == (book.goes_to("test:///b"), book.goes_to("test:///c"))
    book.arrive("web1")
    assert not book.goes_to("test:///b")


def test_what_a_person_has_ended_stays_until_its_manifest_changes(tmp_path: Path) -> None:
    """A new daemon knows it as well."""
    journal(tmp_path).end_by_hand(UUID, "ended by hand", WEB1)

    assert journal(tmp_path).ended(WEB1) == "ended by hand"
    assert journal(tmp_path).ended(replace(WEB1, host="c")) == ""


def test_what_a_person_has_ended_is_released_by_a_person(tmp_path: Path) -> None:
    """Where it was sent is not forgotten by that."""
    book = journal(tmp_path)
    book.end_by_hand(UUID, "ended by hand", WEB1)
    book.begin("other", replace(TO_B, name="web2"))

    book.release("web1")
    book.release("web2")

    assert (book.ended(WEB1), book.host("web2")) == ("", "b")


def test_the_command_requests_an_abort(tmp_path: Path) -> None:
    """Once, and of that virtual server alone."""
    daemon, command = journal(tmp_path), journal(tmp_path)
    for name in ("web1", "web2", "web3"):
        command.request_abort(name, end=True)
    command.request_abort("web3", end=False)

    assert [daemon.take_abort_request(each) for each in ("web1", "web1", "web2", "web3")] == [
        *(True, False, True, False),
    ]


def test_a_file_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    """It is by name, and does not say what was at the destination: nothing is cleaned up by it."""
    text = '{"web1": {"host": "b"}, "web2": {"host": "c", "arrived": true}}'
    (tmp_path / Document.MIGRATIONS).write_text(text, encoding="utf-8")
    book = journal(tmp_path)

    assert ("b", "") == (book.underway("web1"), book.underway("web2"))
    assert not book.left_behind("web1", "b")
    book.begin(UUID, replace(TO_B, host="c"))
    assert "c" == journal(tmp_path).underway("web1")


def test_a_file_that_cannot_be_read_lets_nothing_begin(tmp_path: Path) -> None:
    """And says of nothing that it was left behind; it stays as it is."""
    (tmp_path / Document.MIGRATIONS).write_text("{", encoding="utf-8")
    book = journal(tmp_path)

    assert book.host("web1") == ""
    with pytest.raises(Unreadable):
        book.begin(UUID, TO_B)
    assert (tmp_path / Document.MIGRATIONS).read_text(encoding="utf-8") == "{"
