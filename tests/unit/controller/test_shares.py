"""What virtual servers may have of a host, while several are worked on at a time."""

from __future__ import annotations

import threading
from dataclasses import replace

from reconvirt.controller.engine import Engine
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.controller.shares import Shares, overdrawn
from reconvirt.controller.surroundings import Surroundings
from reconvirt.domain.changes import Plan
from reconvirt.domain.desired import Desired
from reconvirt.domain.totals import Size, Totals
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


def test_one_that_was_refused_is_looked_at_when_another_has_failed() -> None:
    """What that one has kept for itself meanwhile is free again, though nothing has changed."""
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
    shares.done("b")

    engine._publish(Outcome("b", Phase.FAILED, "it cannot be started", Plan("b"), retry=True))

    assert "a" == engine.queue.get(timeout=0)
