"""For whom a virtual server waits, here and on other hosts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from peer_hosts import Rounds, Said
from reconvirt.controller.hosts.dependencies import ASK_AGAIN_SECONDS, Afar, Dependencies
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.domain.changes import Plan
from reconvirt.domain.desired import Desired
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.placing import Inventory
from reconvirt.manifest.host import HostManifest
from strategies import wanted
from virtual_servers import defined, spec

HOSTS = {name: HostManifest(name, f"test:///{name}") for name in ("a", "b", "c")}
WEB = replace(wanted(spec()), name="web", host="a", depends_on=frozenset({"db"}))
DB = replace(WEB, name="db", host="b", hosts=("c",), depends_on=frozenset())


def afar(*rounds: Said | None) -> Afar:
    """What host a knows of the others."""
    known = Afar(lambda: Inventory("a", HOSTS), lambda _name: None)
    known._census = Rounds(*rounds)
    return known


class Here:
    """A libvirt that has one virtual server, or none."""

    def __init__(self, state: State | None) -> None:
        self.state = state

    def observe(self, _name: str) -> Observed | None:
        return None if self.state is None else replace(SEEN, state=self.state)


SEEN = defined(wanted(spec()))


def outcome_of(state: State | None) -> Outcome:
    """What the last look came to."""
    observed = None if state is None else replace(SEEN, state=state)
    return Outcome("db", Phase.CONVERGED, "", Plan("db"), observed=observed)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (State.RUNNING, ""),
        (State.SHUTOFF, "it waits for db (shut off) to run"),
        (None, "it waits for db (not there) to run"),
    ],
)
def test_here(state: State | None, sentence: str) -> None:
    """By the last look where it has a manifest, and else as libvirt says now."""
    managed = Dependencies(lambda: Here(None), None)
    unmanaged = Dependencies(lambda: Here(state), None)

    looked = managed.why_not_yet(WEB, {"web": WEB, "db": DB}, {"db": outcome_of(state)})

    assert (sentence, None) == looked == unmanaged.why_not_yet(WEB, {"web": WEB}, {})


@pytest.mark.parametrize(
    ("answers", "missing"),
    [
        ({"b": {"x": ("db", State.RUNNING, "booted")}, "c": {}}, ""),
        ({"b": {}, "c": {DB.expected_uuid: ("old", State.RUNNING, "")}}, ""),
        ({"b": {"x": ("db", State.SHUTOFF, "")}, "c": {}}, "db (shut off on b)"),
        ({"b": {}, "c": {}}, "db (not there)"),
        ({"b": "no route", "c": {}}, "db (b cannot be asked: no route)"),
        ({"b": {}}, "db (c cannot be asked: it has not been asked yet)"),
    ],
)
def test_afar(answers: Said, missing: str) -> None:
    """On whichever host its manifest names."""
    known = Dependencies(lambda: Here(None), afar(answers))

    sentence, again = known.why_not_yet(WEB, {"web": WEB, "db": DB}, {})

    assert (f"it waits for {missing} to run" if missing else "") == sentence
    assert (ASK_AGAIN_SECONDS if missing else None) == again


def test_what_was_told_last_stays_while_hosts_are_asked() -> None:
    """Or it would be told anew each time."""
    answer: Said = {"b": {"x": ("db", State.SHUTOFF, "")}, "c": {}}
    known = afar(None, answer, None)

    told = [known.missing("web", [DB]) for _ in range(3)]

    assert [["db (other hosts are being asked)"], *[["db (shut off on b)"]] * 2] == told


def test_only_the_hosts_in_question_are_asked() -> None:
    """And none any more when nobody waits."""
    known = afar(None, None)
    on_c = replace(DB, host="c", hosts=())

    known.missing("web", [on_c])
    assert [HOSTS["c"]] == list(known._others())
    known.missing("web", [])
    assert [] == list(known._others())


def test_one_that_shall_be_here_is_not_looked_for_elsewhere() -> None:
    """Its own host knows best."""
    here: Desired = replace(DB, host="a", hosts=())
    known = Dependencies(lambda: Here(None), afar())

    assert ("it waits for db (not there) to run", None) == known.why_not_yet(
        WEB, {"web": WEB, "db": here}, {}
    )
