"""What may be done about virtual servers whose manifests are gone."""

from __future__ import annotations

import pytest

from reconvirt.controller.prune import Orphan, find_orphans, judge_orphans
from reconvirt.domain.desired import ON_REMOVAL, SOURCE, Statement
from reconvirt.manifest.model import Manifest, Snapshot
from reconvirt.manifest.problem import Position, Problem

PLACE = Position("a.yaml", 1, 1)


def mark(policy: str = "undefine", source: str = "desired") -> Statement:
    return Statement({}, {}, notes={SOURCE: source, ON_REMOVAL: policy})


def orphans(count: int, policy: str = "undefine") -> dict[str, Orphan]:
    return {f"gone{n}": Orphan(f"gone{n}", f"uuid{n}", mark(policy)) for n in range(count)}


def snapshot(count: int, *problems: Problem, retained: tuple[str, ...] = ()) -> Snapshot:
    manifests = {f"vs{n}": Manifest(f"vs{n}", None, {}, {}, PLACE, "") for n in range(count)}
    return Snapshot(manifests, problems, "r", frozenset(retained))


class TestFinding:
    def test_only_what_carries_our_mark_and_our_source_s_name(self) -> None:
        """What another source has made is not ours."""
        marks = {"a": ("u1", mark()), "b": ("u2", mark(source="other")), "c": ("u3", mark())}

        assert {"a"} == set(find_orphans(marks, ["c"], [], "desired"))

    def test_one_that_is_renamed_keeps_its_virtual_server(self) -> None:
        """A manifest of another name states its uuid."""
        assert {} == find_orphans({"old": ("u1", mark())}, ["new"], ["u1"], "desired")


class TestJudging:
    @pytest.mark.parametrize(
        ("gone", "left", "pruned"),
        [(1, 0, 0), (1, 1, 1), (2, 3, 0), (2, 8, 2), (4, 16, 4), (5, 15, 0)],
    )
    def test_never_more_than_a_fifth_at_once(self, gone: int, left: int, pruned: int) -> None:
        """One may always go; none if nothing is left at all."""
        verdict = judge_orphans(orphans(gone), snapshot(left), frozenset())

        assert (pruned, gone - pruned) == (len(verdict.pruned), len(verdict.held))
        assert bool(verdict.held) == bool(verdict.reason)

    def test_nothing_while_a_manifest_cannot_be_read(self) -> None:
        """Nobody knows which one it is."""
        broken = snapshot(20, Problem(PLACE, "", "not YAML"))

        assert {} == judge_orphans(orphans(1), broken, frozenset()).pruned
        assert {} == judge_orphans(orphans(1), snapshot(20, retained=("x",)), frozenset()).pruned

    def test_approval_does_not_help_against_what_cannot_be_read(self) -> None:
        """It is said of what is gone, and that is not known now."""
        broken = snapshot(20, Problem(PLACE, "", "not YAML"))

        assert {} == judge_orphans(orphans(1), broken, frozenset({"gone0"})).pruned

    def test_the_approved_go_and_no_others(self) -> None:
        """One that came later is not among them, so all wait for another word."""
        approved = frozenset(orphans(6))

        assert 6 == len(judge_orphans(orphans(6), snapshot(10), approved).pruned)
        assert {} == judge_orphans(orphans(7), snapshot(10), approved).pruned

    def test_those_that_are_kept_do_not_count(self) -> None:
        """Nothing is done about them anyway."""
        verdict = judge_orphans({**orphans(9, "keep"), **orphans(1)}, snapshot(9), frozenset())

        assert {"gone0"} == set(verdict.pruned)
