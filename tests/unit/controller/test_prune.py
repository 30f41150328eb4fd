"""What may be done about virtual servers whose manifests are gone."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from reconvirt.controller.outcome import Phase
from reconvirt.controller.prune import (
    Facts,
    Includes,
    Orphan,
    Verdict,
    find_orphans,
    judge_orphans,
    stand,
    why_older,
)
from reconvirt.domain.desired import (
    IDENTITY_NAME,
    IDENTITY_UUID,
    ON_REMOVAL,
    REVISION,
    SOURCE,
    TIME,
    Desired,
    Origin,
    Statement,
)
from reconvirt.domain.ownership import Marked
from reconvirt.manifest.identity import derive_uuid
from reconvirt.manifest.model import Manifest, Snapshot
from reconvirt.manifest.problem import Position, Problem
from strategies import wanted
from virtual_servers import spec

PLACE = Position("a.yaml", 1, 1)
BROKEN = Problem(PLACE, "", "not YAML")
OTHER = "11111111-2222-4333-8444-555555555555"
DESIRED = Origin("desired")


def mark(policy: str = "undefine", source: str = "desired", **notes: str) -> Statement:
    return Statement(
        {}, {}, notes={SOURCE: source, ON_REMOVAL: policy, REVISION: "r", TIME: "1000.000", **notes}
    )


def orphans(count: int, policy: str = "undefine", **notes: str) -> dict[str, Orphan]:
    return {f"gone{n}": Orphan(f"gone{n}", f"uuid{n}", mark(policy, **notes)) for n in range(count)}


def snapshot(
    count: int, *problems: Problem, retained: tuple[str, ...] = (), time: float | None = 1000.0
) -> Snapshot:
    manifests = {f"vs{n}": Manifest(f"vs{n}", None, {}, {}, PLACE, "") for n in range(count)}
    return Snapshot(manifests, problems, "r", frozenset(retained), {}, time)


def approving(found: dict[str, Orphan]) -> Facts:
    return Facts(approved=frozenset(each.uuid for each in found.values()))


def of(name: str, uuid: str | None = None, **notes: str) -> dict[str, Marked]:
    """A domain with metadata that was written for it."""
    uuid = uuid or derive_uuid(name)
    noted = {IDENTITY_UUID: uuid, IDENTITY_NAME: name, **notes}
    return {name: Marked(uuid, mark(**noted))}


def want(name: str, uuid: str | None = None) -> dict[str, Desired]:
    return {name: wanted(spec(), name, uuid)}


class TestFinding:
    def test_what_no_manifest_wants_and_was_applied_by_this_source(self) -> None:
        """A manifest of its name, or of its uuid, wants it."""
        marks = {**of("a"), **of("c"), **of("old", OTHER)}

        assert {"a"} == set(find_orphans(marks, {**want("c"), **want("new", OTHER)}, DESIRED))

    def test_a_clone_is_no_orphan(self) -> None:
        """Its metadata was written for another uuid; so it was by earlier versions."""
        copied = of("web1")["web1"].mark
        early = mark()

        for each in (copied, early):
            assert {} == find_orphans({"web1-clone": Marked(OTHER, each)}, {}, DESIRED)

    def test_one_that_was_renamed_by_hand_is_no_orphan(self) -> None:
        """Its metadata was written for another name."""
        found = of("web1")["web1"]

        assert {} == find_orphans({"web1-old": found}, want("web1"), DESIRED)
        assert {} == find_orphans({"web1-old": found}, {}, DESIRED)

    def test_another_source_s_is_no_orphan_unless_that_is_a_former_name_of_ours(self) -> None:
        """A source can be renamed."""
        marks = of("a", **{SOURCE: "other"})

        assert {} == find_orphans(marks, {}, DESIRED)
        assert {"a"} == set(find_orphans(marks, {}, Origin("desired", ("other",))))

    def test_metadata_of_earlier_versions_owns_the_derived_uuid(self) -> None:
        """It does not say for which domain it was written."""
        assert {"a"} == set(find_orphans({"a": Marked(derive_uuid("a"), mark())}, {}, DESIRED))


class TestJudging:
    @pytest.mark.parametrize(
        ("gone", "left", "pruned"),
        [(1, 0, 0), (1, 1, 1), (2, 3, 0), (2, 8, 2), (4, 16, 4), (5, 15, 0)],
    )
    def test_never_more_than_a_fifth_at_once(self, gone: int, left: int, pruned: int) -> None:
        """One may always go; none if nothing is left at all."""
        verdict = judge_orphans(orphans(gone), snapshot(left))

        assert (pruned, gone - pruned) == (len(verdict.pruned), len(verdict.held))
        assert bool(verdict.held) == bool(verdict.reason)

    @pytest.mark.parametrize(("earlier", "pruned"), [(0, 2), (1, 0), (2, 0)])
    def test_those_that_went_within_the_hour_count(self, earlier: int, pruned: int) -> None:
        """A slow disappearance is one, too; those still under way do not count twice."""
        recent = frozenset({"uuid0", *(f"before{n}" for n in range(earlier))})

        verdict = judge_orphans(orphans(2), snapshot(8), Facts(recent=recent))

        assert pruned == len(verdict.pruned)
        assert ("within the last hour" in verdict.reason) is bool(earlier)

    def test_nothing_while_a_manifest_cannot_be_read(self) -> None:
        """It may be the one that is missing; approval does not help."""
        for unsure in (snapshot(20, BROKEN), snapshot(20, retained=("x",))):
            for facts in (Facts(), approving(orphans(1))):
                verdict = judge_orphans(orphans(1), unsure, facts)
                assert ({}, {"gone0"}) == (verdict.pruned, set(verdict.held))

    def test_nothing_where_a_place_is_not_looked_into(self) -> None:
        """Unless a person has approved it."""
        unseen = replace(snapshot(20), unseen=("desired/site: it is a link to a directory",))

        verdict = judge_orphans(orphans(1), unseen)

        assert {} == verdict.pruned
        assert "desired/site: it is a link" in verdict.reason
        assert {"gone0"} == set(judge_orphans(orphans(1), unseen, approving(orphans(1))).pruned)

    def test_nothing_while_it_is_not_known_how_many_went(self) -> None:
        """The reason is told."""
        verdict = judge_orphans(orphans(1), snapshot(20), Facts(doubt="prunes.json: unreadable"))

        assert ({}, "prunes.json: unreadable") == (verdict.pruned, verdict.reason)

    def test_the_approved_go_and_no_others(self) -> None:
        """One that came later is not among them, so all wait for another word."""
        approved = approving(orphans(6))

        assert 6 == len(judge_orphans(orphans(6), snapshot(10), approved).pruned)
        assert {} == judge_orphans(orphans(7), snapshot(10), approved).pruned

    def test_those_of_which_nothing_is_to_be_done_do_not_count(self) -> None:
        """They are kept, or are shut off already."""
        kept, off = orphans(9, "keep"), orphans(9, "shutdown")
        still = {f"off-{name}": replace(each, active=False) for name, each in off.items()}

        verdict = judge_orphans({**kept, **still, "one": Orphan("one", "u", mark())}, snapshot(9))

        assert {"one"} == set(verdict.pruned)

    def test_the_grace_period(self) -> None:
        """It is waited for, and said; approval ends it."""
        facts = Facts(left=lambda _orphan: 43.0)

        verdict = judge_orphans(orphans(1), snapshot(9), facts)
        approved = judge_orphans(
            orphans(1), snapshot(9), replace(approving(orphans(1)), left=facts.left)
        )

        assert ({}, {}, {"gone0": 43.0}) == (verdict.pruned, verdict.held, verdict.pending)
        assert {"gone0"} == set(approved.pruned)

    def test_one_that_was_applied_by_newer_manifests_is_held_and_others_go(self) -> None:
        """It may have come from a host whose manifests are newer."""
        newer = {"new": Orphan("new", "u", mark(**{REVISION: "later", TIME: "2000.000"}))}

        verdict = judge_orphans({**orphans(1), **newer}, snapshot(9))

        assert ({"gone0"}, {"new"}) == (set(verdict.pruned), set(verdict.held))
        assert "approve prune" in verdict.reason
        assert {"new"} == set(judge_orphans(newer, snapshot(9), approving(newer)).pruned)


class TestOlderManifests:
    @pytest.mark.parametrize(
        ("notes", "time", "includes", "held"),
        [
            pytest.param({}, None, None, False, id="the same revision"),
            pytest.param({REVISION: "b"}, None, True, False, id="in its history"),
            pytest.param({REVISION: "b", TIME: "1.0"}, 2.0, False, True, id="not in its history"),
            pytest.param({REVISION: "b", TIME: "1.0"}, 2.0, None, False, id="later by its time"),
            pytest.param({REVISION: "b", TIME: "2.0"}, 2.0, None, False, id="of the same time"),
            pytest.param({REVISION: "b", TIME: "3.0"}, 2.0, None, True, id="earlier by its time"),
            pytest.param({REVISION: "b", TIME: "3.0"}, None, None, True, id="of no known time"),
            pytest.param({REVISION: "b", TIME: ""}, 2.0, None, True, id="applied at no known time"),
            pytest.param({REVISION: ""}, 2.0, True, True, id="of no known revision"),
        ],
    )
    def test_only_what_is_shown_not_to_be_older_decides(
        self, notes: dict[str, str], time: float | None, includes: bool | None, held: bool
    ) -> None:
        """A commit by its history if that is known, all else by the time."""
        known: Includes = lambda _revision: includes  # noqa: E731 - a constant answer

        assert held is bool(why_older(mark(**notes), snapshot(9, time=time), known))


class TestTelling:
    def told(
        self, orphan: Orphan, verdict: Verdict, known: tuple[str, ...] = (), *problems: Problem
    ) -> tuple[Phase, str]:
        [standing] = stand(
            {orphan.name: orphan}, verdict, snapshot(9, *problems), frozenset(known)
        ).values()
        return standing.phase, standing.message

    @pytest.mark.parametrize(
        ("policy", "active", "says"),
        [
            ("keep", True, "it is left as it is"),
            ("shutdown", True, r"it will be shut down in 43 s unless its manifest returns"),
            ("undefine", True, r"it will be undefined in 43 s unless its manifest returns"),
            ("shutdown", False, "it is shut off"),
        ],
    )
    def test_what_is_done_and_when(self, policy: str, active: bool, says: str) -> None:
        """In a sentence."""
        orphan = Orphan("a", "u", mark(policy), active)
        verdict = judge_orphans({"a": orphan}, snapshot(9), Facts(left=lambda _orphan: 43.2))

        phase, message = self.told(orphan, verdict)

        assert Phase.UNMANAGED is phase
        assert re.fullmatch(f"its manifest is gone; {says}", message)

    def test_nothing_is_gone_that_may_be_in_what_cannot_be_read(self) -> None:
        """Unless it was gone when all could be read."""
        orphan = Orphan("a", "u", mark())
        verdict = judge_orphans({"a": orphan}, snapshot(9, BROKEN))

        phase, message = self.told(orphan, verdict, (), BROKEN)

        assert Phase.UNREADABLE is phase
        assert "a.yaml:1:1: not YAML" in message
        assert Phase.UNMANAGED is self.told(orphan, verdict, ("u",), BROKEN)[0]
