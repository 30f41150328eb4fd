"""Where virtual servers were sent, and which are to stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconvirt.controller.hosts.journeys import Journeys
from reconvirt.domain.desired import NOTHING, Desired

WEB1 = Desired("web1", None, "running", NOTHING, host="b", hosts=("c",))


def test_where_it_was_sent_is_known_to_a_new_daemon(tmp_path: Path) -> None:
    """Until it has turned out to be here."""
    Journeys(tmp_path).send("web1", "b")

    assert Journeys(tmp_path).underway("web1") == Journeys(tmp_path).host("web1") == "b"
    Journeys(tmp_path).arrive("web1", "b")
    assert (Journeys(tmp_path).underway("web1"), Journeys(tmp_path).host("web1")) == ("", "b")
    Journeys(tmp_path).stay("web1")
    assert Journeys(tmp_path).host("web1") == ""


def test_what_a_person_has_ended_stays_until_its_manifest_changes(tmp_path: Path) -> None:
    """A new daemon knows it as well."""
    Journeys(tmp_path).stay("web1", "ended by hand", WEB1)

    assert Journeys(tmp_path).ended(WEB1) == "ended by hand"
    assert Journeys(tmp_path).ended(replace(WEB1, host="c")) == ""


def test_what_a_person_has_ended_is_released_by_a_person(tmp_path: Path) -> None:
    """Where it was sent is not forgotten by that."""
    journeys = Journeys(tmp_path)
    journeys.stay("web1", "ended by hand", WEB1)
    journeys.send("web2", "b")

    journeys.release("web1")
    journeys.release("web2")

    assert (journeys.ended(WEB1), journeys.host("web2")) == ("", "b")


def test_the_command_tells_the_daemon_of_a_persons_wish(tmp_path: Path) -> None:
    """Once, and of that virtual server alone."""
    daemon, command = Journeys(tmp_path), Journeys(tmp_path)
    for name in ("web1", "web2", "web3"):
        command.wish(name, end=True)
    command.wish("web3", end=False)

    assert [daemon.take_wish(each) for each in ("web1", "web1", "web2", "web3")] == [
        *(True, False, True, False),
    ]


def test_a_file_that_cannot_be_read_is_as_none(tmp_path: Path) -> None:
    """It is written anew."""
    (tmp_path / "journeys.json").write_text("{", encoding="utf-8")
    journeys = Journeys(tmp_path)

    assert journeys.host("web1") == ""
    journeys.send("web1", "b")
    assert Journeys(tmp_path).host("web1") == "b"


def test_what_cannot_be_kept_is_not_taken_for_kept(tmp_path: Path) -> None:
    """It is refused each time; what need not outlive the daemon holds in it."""
    (tmp_path / "full").write_text("no directory", encoding="utf-8")
    journeys = Journeys(tmp_path / "full")

    for _ in range(2):
        with pytest.raises(OSError, match="full"):
            journeys.send("web1", "b")
    journeys.arrive("web2", "c")

    assert ("", "c") == (journeys.host("web1"), journeys.host("web2"))
