"""What other hosts say, and what follows."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconvirt.controller.holds import Hold
from reconvirt.controller.hosts.census import Answer, Round
from reconvirt.controller.hosts.claims import ASKING, FREE, FencedHosts, InventoryClaims
from reconvirt.controller.hosts.copies import Copies
from reconvirt.controller.state_store import Document, StateStore
from reconvirt.domain.observed import State

UUID = "8f1c6a0e-5d0b-4c36-9d0e-6b0f6c1f2a11"


class Answers:
    """A census that has been held."""

    def __init__(self, answers: dict[str, Answer] | None) -> None:
        self.found = None if answers is None else Round(0.0, answers)

    def answers(self, _name: str, _purpose: str) -> Round | None:
        return self.found


def look(answers: dict[str, Answer] | None, *fenced: str) -> tuple[str, str]:
    """Reason and host."""
    claims = InventoryClaims(Answers(answers), lambda: frozenset(fenced), lambda _name: None)
    claim = claims.look("web1", UUID, "start")
    return claim.reason, claim.host


def test_nobody_has_answered_yet() -> None:
    """It is not known, and no host is named."""
    assert (ASKING, "") == look(None)


def test_free_where_all_say_so() -> None:
    """Others' virtual servers do not matter."""
    assert ("", "") == look({"b": {}, "c": {"x": ("web2", State.RUNNING, "booted")}})
    assert FREE.reason == ""


def test_by_uuid_and_by_name() -> None:
    """Either is enough, in whatever state."""
    assert "b" == look({"b": {UUID: ("other", State.PAUSED, "user")}})[1]
    reason, host = look({"b": {"x": ("web1", State.SHUTOFF, "")}})
    assert ("b", True) == (host, "has its definition" in reason)


def test_unreachable_may_have_it_unless_fenced() -> None:
    """A fenced host that answers is believed, not the fence."""
    reason, host = look({"b": "no route"})

    assert "b" == host
    assert "reconvirt host fenced b" in reason
    assert ("", "") == look({"b": "no route"}, "b")
    assert "b" == look({"b": {UUID: ("web1", State.RUNNING, "")}}, "b")[1]


def test_who_has_it_is_told_before_who_may() -> None:
    """And it is sure, unless it is another one of the same name."""
    has: dict[str, tuple[str, State, str]] = {UUID: ("web1", State.RUNNING, "booted")}
    answers: dict[str, Answer] = {"b": "no route", "c": has}
    named: dict[str, Answer] = {"b": "no route", "c": {"x": ("web1", State.RUNNING, "booted")}}

    assert ("c", True) == sure(answers)
    assert ("c", False) == sure(named)
    assert ("b", False) == sure({"b": "no route", "c": {}})


def sure(answers: dict[str, Answer]) -> tuple[str, bool]:
    """The host, and whether that is sure."""
    claims = InventoryClaims(Answers(answers), frozenset, lambda _name: None)
    claim = claims.look("web1", UUID, "start")
    return claim.host, claim.sure


def test_fenced_hosts_are_kept(tmp_path: Path) -> None:
    """Until they answer."""
    FencedHosts(StateStore(tmp_path)).add("b", Hold("power is off", "me", 1.0))

    assert {"b"} == FencedHosts(StateStore(tmp_path)).names()
    FencedHosts(StateStore(tmp_path)).release("b")
    assert not FencedHosts(StateStore(tmp_path)).names()


def test_no_host_counts_as_fenced_where_that_cannot_be_read(tmp_path: Path) -> None:
    """And none is fenced over it."""
    fenced = FencedHosts(StateStore(tmp_path))
    fenced.add("b", Hold("power is off", "me", 1.0))
    (tmp_path / Document.FENCES).write_text("{", encoding="utf-8")

    assert not fenced.names()
    fenced.release("b")
    with pytest.raises(OSError, match="cannot be read"):
        fenced.add("c", Hold("power is off", "me", 1.0))
    assert "{" == (tmp_path / Document.FENCES).read_text(encoding="utf-8")


def test_a_fence_of_one_process_and_the_end_of_one_of_another(tmp_path: Path) -> None:
    """Neither undoes the other."""
    daemon, command = FencedHosts(StateStore(tmp_path)), FencedHosts(StateStore(tmp_path))
    daemon.add("b", Hold("power is off", "me", 1.0))
    assert {"b"} == command.names()

    daemon.release("b")
    command.add("c", Hold("power is off", "me", 1.0))

    assert {"c"} == daemon.names() == FencedHosts(StateStore(tmp_path)).names()


def test_made_images_are_kept(tmp_path: Path) -> None:
    """By virtual server and host, until they are nobody's to remove."""
    Copies(StateStore(tmp_path)).note(UUID, "b", ("/srv/a",))

    again = Copies(StateStore(tmp_path))
    assert (("/srv/a",), ()) == (again.made(UUID, "b"), again.made(UUID, "c"))
    again.arrived(UUID)
    assert () == Copies(StateStore(tmp_path)).made(UUID, "b")
