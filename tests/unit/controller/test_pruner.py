"""When orphans are decided about, with a libvirt that is made up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from reconvirt.controller.history import History
from reconvirt.controller.prune import Standing, Verdict
from reconvirt.controller.pruner import Pruner
from reconvirt.controller.state_store import Document, StateStore
from reconvirt.domain.desired import (
    IDENTITY_NAME,
    IDENTITY_UUID,
    ON_REMOVAL,
    REVISION,
    SOURCE,
    Origin,
    Statement,
)
from reconvirt.domain.ownership import Marked
from reconvirt.hypervisor.errors import HypervisorDown
from reconvirt.manifest.identity import derive_uuid
from reconvirt.manifest.model import Manifest, Snapshot
from reconvirt.manifest.problem import Position, Problem
from strategies import wanted
from virtual_servers import spec

PLACE = Position("a.yaml", 1, 1)


def marked(name: str, policy: str = "undefine") -> Marked:
    uuid = derive_uuid(name)
    notes = {SOURCE: "desired", ON_REMOVAL: policy, REVISION: "r"}
    return Marked(
        uuid, Statement({}, {}, notes={**notes, IDENTITY_UUID: uuid, IDENTITY_NAME: name})
    )


class Bed:
    """A pruner with what is around it."""

    def __init__(self, directory: Path | None = None) -> None:
        self.now = 0.0
        self.domains = {name: marked(name) for name in ("a", "b", "c", "d", "e", "f", "g", "h")}
        self.down = False
        self.standings: Mapping[str, Standing] = {}
        self.history = History()
        self.pruner = Pruner(
            lambda: self,  # type: ignore[arg-type,return-value]  # it is asked for marks only
            Origin("desired"),
            self.history,
            self.take,
            grace=60,
            store=StateStore(directory),
            clock=lambda: self.now,
        )

    def marks(self) -> Mapping[str, Marked]:
        if self.down:
            raise HypervisorDown("no connection")
        return self.domains

    def take(self, standings: Mapping[str, Standing], _verdict: Verdict) -> None:
        self.standings = standings

    def want(self, *gone: str, problems: tuple[Problem, ...] = ()) -> None:
        """The manifests of all but these are in force."""
        names = [name for name in self.domains if name not in gone]
        manifests = {name: Manifest(name, None, {}, {}, PLACE, "") for name in names}
        desired = {name: wanted(spec(), name) for name in names}
        self.pruner.want(Snapshot(manifests, problems, "r"), desired)

    def pass_(self, seconds: float) -> set[str]:
        """What may be removed after some time."""
        self.now += seconds
        self.pruner.look()
        return set(self.pruner.decision)

    def told(self) -> list[str]:
        return [each.reason for each in self.history.since()]


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


def test_after_the_grace_period(bed: Bed) -> None:
    """Not before, and it is told once."""
    bed.want("a")

    assert [set(), set(), {"a"}] == [bed.pass_(seconds) for seconds in (0, 59, 1)]
    assert ["PrunePending"] == bed.told()
    assert "in 60 s unless its manifest returns" in bed.history.since()[0].message


def test_a_manifest_that_returns_cancels_at_once(bed: Bed) -> None:
    """Whoever asks right before the call hears it, though libvirt was not asked again."""
    bed.want("a")
    bed.pass_(0)
    assert {"a"} == bed.pass_(60)
    bed.down = True

    bed.want()

    assert {} == bed.pruner.decision
    bed.down = False
    bed.want("a")
    assert set() == bed.pass_(0)


def test_a_return_within_the_grace_period_begins_it_again(bed: Bed) -> None:
    """It is gone for so long without a break."""
    bed.want("a")
    bed.pass_(0)
    bed.want()
    bed.pass_(50)
    bed.want("a")

    assert [set(), set(), {"a"}] == [bed.pass_(seconds) for seconds in (0, 50, 10)]
    assert ["PrunePending", "PruneCancelled", "PrunePending"] == bed.told()


def test_what_cannot_be_read_stops_it_at_once(bed: Bed) -> None:
    """Also what had been decided."""
    bed.want("a")
    bed.pass_(0)
    assert {"a"} == bed.pass_(60)

    bed.want("a", problems=(Problem(PLACE, "", "not YAML"),))

    assert {} == bed.pruner.decision
    assert set() == bed.pass_(0)
    assert "not managed" == bed.standings["a"].phase  # it was gone when all could be read


def test_one_after_the_other_counts_over_a_restart(bed: Bed, tmp_path: Path) -> None:
    """A fifth of eight is one."""
    bed.want("a")
    bed.pass_(0)
    assert {"a"} == bed.pass_(60)
    again = Bed(tmp_path)
    del again.domains["a"]
    again.want("b")
    again.pass_(0)

    assert set() == again.pass_(60)
    assert "1 manifests are gone after 1 within the last hour" in again.pruner.verdict.reason
    assert ("b",) == again.pruner.approve()
    assert {"b"} == set(again.pruner.decision)


def test_the_approved_do_not_count(bed: Bed) -> None:
    """They went on purpose."""
    bed.want("a", "b", "c")
    bed.pass_(0)
    bed.pruner.approve()
    assert {"a", "b", "c"} == set(bed.pruner.decision)
    for name in ("a", "b", "c"):
        del bed.domains[name]
    bed.want("d")
    bed.pass_(0)

    assert {"d"} == bed.pass_(60)


def test_nothing_goes_where_it_cannot_be_kept_how_many_went(bed: Bed, tmp_path: Path) -> None:
    """The reason names the file."""
    (tmp_path / Document.PRUNES).write_text("{broken")
    bed.want("a")
    bed.pass_(0)

    assert set() == bed.pass_(60)
    assert "prunes.json" in bed.pruner.verdict.reason


def test_one_that_was_pruned_long_ago_does_not_count(bed: Bed, tmp_path: Path) -> None:
    """An hour is long enough."""
    entries = {"u1": {"name": "x", "time": 0.0}, "u2": {"name": "y", "time": 1.0}}
    (tmp_path / Document.PRUNES).write_text(json.dumps({"version": 1, "entries": entries}))
    bed.want("a")
    bed.pass_(0)

    assert {"a"} == bed.pass_(60)
    left = StateStore(tmp_path).read(Document.PRUNES)
    assert {derive_uuid("a")} == set(left)


def test_before_any_manifests_were_read_nothing_is_said(bed: Bed) -> None:
    """Nobody knows what they say."""
    assert set() == bed.pass_(100)
    assert ({}, []) == (bed.standings, bed.told())
