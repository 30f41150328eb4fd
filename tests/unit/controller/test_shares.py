"""What virtual servers may have of a host, while several are worked on at a time."""

from __future__ import annotations

import threading
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from reconvirt.controller.engine import Engine
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.controller.shares import Shares, overdrawn, shares_of
from reconvirt.controller.surroundings import Surroundings
from reconvirt.domain.changes import Plan
from reconvirt.domain.desired import Desired
from reconvirt.domain.totals import Size, Totals, share_out
from reconvirt.hypervisor.connection import Taken
from strategies import wanted

GIB = 1024**2
FOUR = Totals(vcpus=4)


def one(name: str, vcpus: int, **more: object) -> Desired:
    return wanted({"memory": "1 GiB", "vcpu": vcpus, **more}, name)


class Libvirt:
    """What libvirt says of who has how much."""

    def __init__(self, **active: int) -> None:
        self.active = active

    def sizes(self) -> dict[str, Taken]:
        return {name: Taken(Size(vcpus, GIB), active=True) for name, vcpus in self.active.items()}


def test_what_is_being_started_counts() -> None:
    """A manifest that comes meanwhile, and would be first by name, has to wait for its turn."""
    everyone = {"b": one("b", 3)}
    shares, libvirt = Shares(lambda: everyone), Libvirt()
    assert () == shares.ask(everyone["b"], FOUR, libvirt)
    everyone["a"] = one("a", 3)

    (told,) = shares.ask(everyone["a"], FOUR, libvirt)

    assert "others have 3 (b 3), so 1 can be had" in told.reason
    libvirt.active["b"] = 3
    shares.done("b")
    assert shares.ask(everyone["a"], FOUR, libvirt)
    assert {"a"} == shares.refused
    del libvirt.active["b"]
    everyone["b"] = replace(everyone["b"], state="shutoff")
    assert () == shares.ask(everyone["a"], FOUR, libvirt)
    assert set() == shares.refused


def test_what_has_failed_to_start_is_given_back() -> None:
    """And then goes by name again."""
    everyone = {"b": one("b", 3)}
    shares, libvirt = Shares(lambda: everyone), Libvirt()
    assert () == shares.ask(everyone["b"], FOUR, libvirt)
    shares.done("b")
    everyone["a"] = one("a", 3)

    assert () == shares.ask(everyone["a"], FOUR, libvirt)
    assert shares.ask(everyone["b"], FOUR, libvirt)


def test_many_at_once_get_no_more_than_there_is() -> None:
    """Whoever comes first: the same ones get something, since the order is theirs."""
    everyone = {f"s{number:02}": one(f"s{number:02}", 1) for number in range(40)}
    shares, libvirt = Shares(lambda: everyone), Libvirt()
    got: list[str] = []

    def ask(desired: Desired) -> None:
        if not shares.ask(desired, FOUR, libvirt):
            got.append(desired.name)

    threads = [threading.Thread(target=ask, args=(each,)) for each in reversed(everyone.values())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert ["s00", "s01", "s02", "s03"] == sorted(got)
    assert 36 == len(shares.refused)


def test_who_does_not_count_here_has_only_what_runs() -> None:
    """Those on hold, and those for another host."""
    everyone = {"a": one("a", 3), "b": one("b", 3)}
    shares = Shares(lambda: everyone, counts=lambda desired: desired.name != "a")

    assert () == shares.ask(everyone["b"], FOUR, Libvirt())
    assert shares.ask(everyone["b"], FOUR, Libvirt(a=3))


def test_any_state_counts_while_it_runs() -> None:
    """It may grow then like others; nobody starts it."""
    everyone = {"a": one("a", 5, state="any"), "b": one("b", 2)}

    assert {} == overdrawn(everyone, FOUR, Libvirt().sizes)
    assert ["a"] == list(overdrawn(everyone, FOUR, Libvirt(a=2).sizes))


def test_without_limits_libvirt_is_not_asked() -> None:
    """Nobody pays for what is not used."""
    assert () == Shares().ask(one("a", 400), Totals(), None)
    assert {} == overdrawn({"a": one("a", 400)}, Totals(), None)


def test_who_is_refused_can_be_asked_while_libvirt_is() -> None:
    """The source of manifests must not wait for a libvirt that hangs."""
    everyone = {"a": one("a", 5), "b": one("b", 1)}
    shares, asked, answers = Shares(lambda: everyone), threading.Event(), threading.Event()
    assert shares.ask(everyone["a"], FOUR, Libvirt())

    class Hangs(Libvirt):
        def sizes(self) -> dict[str, Taken]:
            asked.set()
            assert answers.wait(30)
            return super().sizes()

    thread = threading.Thread(target=shares.ask, args=(everyone["b"], FOUR, Hangs()))
    thread.start()
    try:
        assert asked.wait(30)
        assert {"a"} == shares.refused
    finally:
        answers.set()
        thread.join()


def test_where_nothing_is_limited_any_more_nobody_is_refused() -> None:
    """The configuration was read again."""
    everyone = {"a": one("a", 5)}
    shares = Shares(lambda: everyone)
    assert shares.ask(everyone["a"], FOUR, Libvirt())

    assert () == shares.ask(everyone["a"], Totals(), Libvirt())
    assert set() == shares.refused


def test_one_that_was_refused_is_looked_at_when_another_has_not_taken_its_part() -> None:
    """Whatever that one came to: it may wait for another host, and nothing of it has changed."""
    everyone = {"b": one("b", 3)}
    shares = Shares(lambda: everyone)
    engine = Engine(Libvirt, surroundings=Surroundings(shares=shares))
    assert () == shares.ask(everyone["b"], FOUR, Libvirt())
    everyone["a"] = one("a", 3)
    engine.want(everyone)
    for name in ("a", "b"):
        assert name == engine.queue.get(timeout=0)
        engine.queue.done(name)
    assert shares.ask(everyone["a"], FOUR, Libvirt())
    shares.done("a")

    shares.done("b")
    engine._wake_freed()

    assert "a" == engine.queue.get(timeout=0)
    engine.queue.done("a")
    engine._wake_freed()
    assert engine.queue.get(timeout=0) is None


def test_two_that_are_refused_and_fail_do_not_wake_each_other() -> None:
    """Else they would chase each other without a pause."""
    everyone = {"a": one("a", 5), "b": one("b", 5)}
    shares = Shares(lambda: everyone)
    engine = Engine(Libvirt, surroundings=Surroundings(shares=shares))
    engine.want(everyone)
    for name in ("a", "b"):
        assert name == engine.queue.get(timeout=0)
        assert shares.ask(everyone[name], FOUR, Libvirt())
        shares.done(name)
        failed = Outcome(name, Phase.FAILED, "libvirt's words", Plan(name), retry=True)
        engine._publish(failed)
        engine._wake_freed()
        engine.queue.done(name)

    assert engine.queue.get(timeout=0) is None


VCPUS = {"a": 3, "b": 2, "c": 2}
PRIORITIES = {"a": 0, "b": 3, "c": 1}
NAMES = st.sampled_from(sorted(VCPUS))


class Model(RuleBasedStateMachine):
    """Whoever could have its part is allowed to have it, or is going to be asked."""

    def __init__(self) -> None:
        super().__init__()
        self.everyone = {
            name: one(name, vcpus, priority=PRIORITIES[name], state="shutoff")
            for name, vcpus in VCPUS.items()
        }
        self.libvirt = Libvirt()
        self.shares = Shares(lambda: self.everyone)
        self.working: dict[str, bool] = {}
        self.due: set[str] = set(self.everyone)
        self.published: set[str] = set()

    @rule(name=NAMES)
    def look(self, name: str) -> None:
        """A worker takes it, or looks at it once more."""
        self.due.discard(name)
        objections = self.shares.ask(self.everyone[name], FOUR, self.libvirt)
        self.working[name] = not objections

    @rule(name=NAMES, starts=st.booleans())
    def end(self, name: str, starts: bool) -> None:
        """It was started if it might be, or something else is in the way."""
        if name not in self.working:
            return
        if self.working.pop(name) and starts:
            self.libvirt.active[name] = VCPUS[name]
        self.shares.done(name)
        self.due |= self.shares.freed()
        if name in self.changed:
            # The engine sees another state than before.
            self.published ^= {name}
            self.due |= self.shares.refused - {name}

    @rule(name=NAMES, state=st.sampled_from(["running", "shutoff"]))
    def want(self, name: str, state: str) -> None:
        """Its manifest says something else."""
        if self.everyone[name].state != state:
            self.everyone[name] = replace(self.everyone[name], state=state)
            self.due |= self.shares.refused | {name}

    @rule(name=NAMES)
    def stop(self, name: str) -> None:
        """Its guest has ended; an event says so."""
        if self.libvirt.active.pop(name, None) is not None:
            self.due.add(name)

    @property
    def changed(self) -> set[str]:
        """Those of which libvirt has another state than the engine has seen."""
        return self.libvirt.active.keys() ^ self.published

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        shares = shares_of(
            self.everyone, self.libvirt.sizes(), lambda _desired: True, self.shares._given
        )
        refused = share_out(shares.values(), FOUR)
        # Those that are freed are woken when the work in hand has ended.
        coming = self.due | self.working.keys() | self.shares._freed
        assert self.changed <= coming
        if self.changed:
            return  # when they have been looked at, all that are refused are
        for name in self.shares.refused - coming:
            assert name in refused, name

    @invariant()
    def nothing_is_kept_of_what_is_done(self) -> None:
        assert self.shares._given.keys() <= self.working.keys()
        assert self.shares._growing <= self.working.keys()
        assert self.shares._kept_from.keys() <= self.shares.refused


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
