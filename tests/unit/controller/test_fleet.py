"""The controller's state as the metrics tell it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reconvirt.controller.fleet import FleetView
from reconvirt.controller.holds import Hold
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.controller.status import StatusBook
from reconvirt.domain.changes import Change, Plan
from reconvirt.domain.effects import Effect
from reconvirt.manifest.model import Manifest, Snapshot
from reconvirt.manifest.problem import Position, Problem
from reconvirt.metrics.observer import Observer


class Recorder(Observer):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def reconciled(
        self, name: str, result: str, *, converged: bool = False, terminal: bool = False
    ) -> None:
        self.told.append((name, result, converged, terminal))

    def wanted(self, name: str, written_at: float) -> None:
        self.told.append(("wanted", name, written_at > 0))

    def unmanaged(self, name: str) -> None:
        self.told.append(("unmanaged", name))


@pytest.fixture
def book() -> StatusBook:
    return StatusBook()


@pytest.fixture
def view(book: StatusBook) -> FleetView:
    made = FleetView(lambda: True, lambda: book.fleet().servers, lambda: 3)
    made.observer = Recorder()
    return made


def manifest(name: str, digest: str = "1", file: str = "/none") -> Manifest:
    return Manifest(name, None, {"env": "x"}, {}, Position(file, 1, 1), digest)


def snapshot(*manifests: Manifest, revision: str = "r1", **rest: Any) -> Snapshot:
    return Snapshot({each.name: each for each in manifests}, rest.pop("problems", ()), revision)


def outcome(name: str, phase: Phase, plan: Plan | None = None, **rest: Any) -> Outcome:
    return Outcome(name, phase, "", plan or Plan(name), **rest)


def test_before_anything_is_known(view: FleetView) -> None:
    status = view.status()
    assert ((), True, "") == (status.servers, status.connected, status.revision)


def test_conditions_follow_from_the_last_look(view: FleetView, book: StatusBook) -> None:
    view.accepted(snapshot(manifest("a"), manifest("b"), manifest("c"), manifest("d")))
    waiting = Change("vcpu.maximum", "1", "2", Effect.NEXT_START, "so it is")
    moved = Change("devices.disks[vda].source", "/b", "/a", Effect.REFUSED, "")
    unlisted = (Change("x", "1", None, Effect.LIVE, ""),)
    plan = Plan("b", waiting=(waiting,), unlisted=unlisted, diverged=(moved,))
    for each in (
        outcome("a", Phase.CONVERGED),
        outcome("b", Phase.WAITING_FOR_RESTART, plan),
        outcome("c", Phase.FAILED, retry=False),
    ):
        book.update(each, figures={}, hold=Hold("why", "anna", 0.0) if each.name == "a" else None)
        view.settled(each)
    a, b, c, d = view.status().servers
    assert {"Ready"} == {name for name, state in a.conditions.items() if state}
    expected = {"Ready", "RestartRequired", "Drifted", "Diverged"}
    assert expected == {k for k, state in b.conditions.items() if state}
    assert (("vcpu.maximum",), 1, 1) == (b.restart_fields, b.drift, b.diverged)
    assert ("why", "") == (a.held, b.held)
    assert 3 == view.status().prune_held
    assert {"Stalled"} == {name for name, state in c.conditions.items() if state}
    assert {} == d.conditions
    assert ("c", "error", False, True) in view.observer.told  # type: ignore[attr-defined]


def test_a_revision_is_applied_when_all_are_as_wanted(view: FleetView) -> None:
    view.accepted(snapshot(manifest("a"), manifest("b")))
    view.settled(outcome("a", Phase.CONVERGED))
    assert "" == view.status().applied_revision
    view.settled(outcome("b", Phase.CONVERGED))
    assert "r1" == view.status().applied_revision
    view.accepted(snapshot(manifest("a", "2"), manifest("b"), revision="r2"))
    view.settled(outcome("b", Phase.CONVERGED))
    assert "r1" == view.status().applied_revision, "the changed one was not looked at yet"
    view.settled(outcome("a", Phase.CONVERGED))
    status = view.status()
    assert ("r2", "r2") == (status.revision, status.applied_revision)


def test_only_what_changes_while_it_runs_is_timed(view: FleetView, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.touch()
    told = view.observer.told  # type: ignore[attr-defined]
    view.accepted(snapshot(manifest("a", "1", str(file))))
    assert [] == told
    view.accepted(snapshot(manifest("a", "2", str(file)), manifest("b")))
    assert [("wanted", "a", True)] == told, "the file of the other cannot be seen"
    view.settled(outcome("a", Phase.UNMANAGED))
    assert ("unmanaged", "a") in told


def test_manifests_are_counted(view: FleetView) -> None:
    problem = Problem(Position("x.yaml", 1, 1), "", "bad")
    view.accepted(
        Snapshot({"a": manifest("a"), "b": manifest("b")}, (problem, problem), "r", frozenset("a"))
    )
    assert {"valid": 1, "retained": 1, "invalid": 1} == view.status().manifests
