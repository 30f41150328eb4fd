"""Which answers count for which question."""

from __future__ import annotations

import threading
import time

import pytest

from reconvirt.controller.hosts import census as module
from reconvirt.controller.hosts.census import Asked, Census, Question
from reconvirt.controller.hosts.known_hosts import KnownHost
from reconvirt.domain.observed import State
from reconvirt.domain.peers import HostAnswer

WEB1, WEB9 = Question("u-1", "web1", "start"), Question("u-9", "web9", "start")
HOST = KnownHost("zhost2", "test:///zhost2")


class World:
    """One other host, which answers what it has now."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.servers: dict[str, tuple[str, State, str]] = {}
        self.woken = threading.Semaphore(0)
        self.heard: list[tuple[str, float]] = []
        self.answer = threading.Event()
        self.answer.set()
        monkeypatch.setattr(module, "_census_of", self._say)
        self.census = Census(lambda: (HOST,), self._wake, self._note)

    def _say(self, _host: Asked, *, marks: bool) -> HostAnswer:
        del marks
        assert self.answer.wait(30)
        return HostAnswer(dict(self.servers))

    def _wake(self, _name: str) -> None:
        self.woken.release()

    def _note(self, host: Asked, _answer: HostAnswer, asked: float) -> None:
        self.heard.append((host.name, asked))

    def ask(self, question: Question) -> None:
        """Ask, and wait until there are answers."""
        assert self.census.answers(question) is None
        assert self.woken.acquire(timeout=30)


def test_an_answer_counts_for_its_own_question_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one's round, which began later, says nothing to a question that was answered."""
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.2)
    world = World(monkeypatch)
    world.ask(WEB1)
    time.sleep(0.3)
    world.ask(WEB9)
    world.servers = {"u-1": ("web1", State.RUNNING, "booted")}

    assert world.census.answers(WEB1) is None
    assert world.woken.acquire(timeout=30)
    found = world.census.answers(WEB1)
    assert found is not None
    answer = found.answers["zhost2"]
    assert isinstance(answer, HostAnswer)
    assert "u-1" in answer.servers


def test_a_fresh_answer_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planning and the guard get the same one, and no further round begins."""
    world = World(monkeypatch)
    world.ask(WEB1)

    found = [world.census.answers(WEB1) for _ in range(5)]

    assert None not in found
    assert 1 == world.census.calls


def test_what_is_forgotten_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """For that purpose alone."""
    world = World(monkeypatch)
    world.ask(WEB1)
    world.ask(WEB9)

    world.census.forget("u-1", "start")

    assert world.census.answers(WEB9) is not None
    world.ask(WEB1)


def test_who_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its time, keeps no thread more, and is heard when it answers after all."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.1)
    world = World(monkeypatch)
    world.answer.clear()

    for _ in range(3):
        assert isinstance(world.census.survey((HOST,))["zhost2"], str)
    assert 1 == world.census.calls
    world.answer.set()
    while not world.heard:
        time.sleep(0.01)

    assert "zhost2" == world.heard[0][0]


def test_one_that_counts_as_off_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers of the others would be too old for what they were asked for."""
    monkeypatch.setattr(module, "_OFF_SECONDS", 0.1)
    world = World(monkeypatch)
    census = Census(lambda: (HOST,), world._wake, counts_as_off=lambda _name: True)
    world.answer.clear()
    began = time.monotonic()

    assert "does not answer" in str(census.survey((HOST,))["zhost2"])

    assert time.monotonic() - began < module.ANSWER_SECONDS / 2
    world.answer.set()
