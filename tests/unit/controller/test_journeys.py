"""Where virtual servers were sent, and which are to stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconvirt.controller.hosts.journeys import Journeys
from reconvirt.controller.state_store import Document, StateStore
from reconvirt.domain.desired import NOTHING, Desired

WEB1 = Desired("web1", None, "running", NOTHING, host="b", hosts=("c",))


def test_where_it_was_sent_is_known_to_a_new_daemon(tmp_path: Path) -> None:
    """Until it has turned out to be here."""
    earlier, later = Journeys(StateStore(tmp_path)), Journeys(StateStore(tmp_path))
    earlier.send("web1", "b")

    assert later.underway("web1") == later.host("web1") == "b"
    earlier.arrive("web1", "b")
    assert (later.underway("web1"), later.host("web1")) == ("", "b")
    earlier.stay("web1")
    assert later.host("web1") == ""


def test_what_a_person_has_ended_stays_until_its_manifest_changes(tmp_path: Path) -> None:
    """A new daemon knows it as well."""
    Journeys(StateStore(tmp_path)).stay("web1", "ended by hand", WEB1)

    assert Journeys(StateStore(tmp_path)).ended(WEB1) == "ended by hand"
    assert Journeys(StateStore(tmp_path)).ended(replace(WEB1, host="c")) == ""


def test_what_a_person_has_ended_is_released_by_a_person(tmp_path: Path) -> None:
    """Where it was sent is not forgotten by that."""
    journeys = Journeys(StateStore(tmp_path))
    journeys.stay("web1", "ended by hand", WEB1)
    journeys.send("web2", "b")

    journeys.release("web1")
    journeys.release("web2")

    assert (journeys.ended(WEB1), journeys.host("web2")) == ("", "b")


def test_the_command_tells_the_daemon_of_a_persons_wish(tmp_path: Path) -> None:
    """Once, and of that virtual server alone."""
    daemon, command = Journeys(StateStore(tmp_path)), Journeys(StateStore(tmp_path))
    for name in ("web1", "web2", "web3"):
        command.wish(name, end=True)
    command.wish("web3", end=False)

    assert [daemon.take_wish(each) for each in ("web1", "web1", "web2", "web3")] == [
        *(True, False, True, False),
    ]


@pytest.mark.parametrize("document", [Document.MIGRATIONS, Document.ABORT_REQUESTS])
def test_what_cannot_be_read_is_not_taken_for_empty(tmp_path: Path, document: Document) -> None:
    """Nothing is begun, the file stays as it is, and counts again once it can be read."""
    journeys = Journeys(StateStore(tmp_path))
    journeys.send("web1", "b")
    journeys.wish("web1", end=True)
    whole = (tmp_path / document).read_text(encoding="utf-8")
    (tmp_path / document).write_text("{", encoding="utf-8")

    assert str(tmp_path / document) in journeys.unreadable
    with pytest.raises(OSError, match=document):
        journeys.send("web2", "b") if document is Document.MIGRATIONS else journeys.wished("web2")
    journeys.stay("web1")
    assert not journeys.take_wish("web2")

    assert (tmp_path / document).read_text(encoding="utf-8") == "{"
    (tmp_path / document).write_text(whole, encoding="utf-8")
    assert journeys.unreadable == ""
    assert journeys.wished("web1")
    assert journeys.host("web1") == ("b" if document is Document.MIGRATIONS else "")


def test_what_cannot_be_kept_is_not_taken_for_kept() -> None:
    """It is refused each time; what need not outlive the daemon holds in it."""
    journeys = Journeys(StateStore(Path("/proc/no-such-place")))

    for _ in range(2):
        with pytest.raises(OSError, match="no-such-place"):
            journeys.send("web1", "b")
    journeys.arrive("web2", "c")

    assert ("", "c") == (journeys.host("web1"), journeys.host("web2"))
