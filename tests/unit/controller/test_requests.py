"""What a guest is asked for, how often, and what is said of its silence."""

from __future__ import annotations

import pytest

from reconvirt.controller.requests import ASK_AGAIN_SECONDS, MOST_REQUESTS, Requests
from reconvirt.domain.actions import Action, Detach, SetMemory, Shutdown
from reconvirt.domain.changes import Change, Step
from reconvirt.domain.effects import Effect
from reconvirt.domain.policy import ShutdownPolicy

DETACH, MEMORY = Detach("virtio-disk1"), SetMemory(1024)


def step(action: Action, field: str) -> Step:
    """A step that changes one field."""
    return Step(action, (Change(field, 1, 2, Effect.GUEST, "why"),))


def asked(action: Action, times: int) -> tuple[Requests, float]:
    """Requests that were made as soon as they might be, and when the last one was."""
    requests, now = Requests(), 1000.0
    for number in range(times):
        now = 1000.0 + number * ASK_AGAIN_SECONDS
        assert requests.may_ask(action, now)
        requests.ask(action, now)
    return requests, now


def test_a_guest_is_asked_again_after_a_while() -> None:
    """It has 20 seconds to answer each time."""
    requests, now = asked(DETACH, 1)

    assert (20.0, 8) == (ASK_AGAIN_SECONDS, MOST_REQUESTS)
    assert not requests.may_ask(DETACH, now + 19.9)
    assert requests.may_ask(DETACH, now + 20.0)


def test_another_request_need_not_wait() -> None:
    """Each is counted for itself."""
    requests, now = asked(DETACH, 1)

    assert requests.may_ask(Detach("virtio-disk2"), now)
    assert requests.may_ask(MEMORY, now)


@pytest.mark.parametrize("action", [DETACH, MEMORY])
def test_after_eight_requests_it_is_left_alone(action: Action) -> None:
    """Whatever it was asked for."""
    requests, now = asked(action, MOST_REQUESTS)

    assert not requests.may_ask(action, now + 1e9)
    assert not requests.is_silent(action, now + ASK_AGAIN_SECONDS - 1)
    assert requests.is_silent(action, now + ASK_AGAIN_SECONDS)


def test_how_often_it_is_asked_to_shut_down_says_its_policy() -> None:
    """Again after each retry, until the time is over."""
    requests = Requests(ShutdownPolicy(retry=5, timeout=60))
    shutdown = Shutdown()
    requests.ask(shutdown, 0.0)

    assert not requests.may_ask(shutdown, 4.0)
    assert requests.may_ask(shutdown, 5.0)
    requests.ask(shutdown, 50.0)
    assert "" == requests.complaint([step(shutdown, "state")], 59.0)
    assert not requests.may_ask(shutdown, 60.0)
    assert requests.is_silent(shutdown, 60.0)
    assert 60.0 == requests.shutdown_asked(60.0)


class TestRefusal:
    def test_a_guest_that_refuses_is_not_asked_again(self) -> None:
        """libvirt tells by an event."""
        requests, now = asked(DETACH, 1)

        requests.refuse(DETACH.alias)

        assert requests.is_refused(DETACH)
        assert not requests.may_ask(DETACH, now + 1e9)

    def test_the_event_may_come_before_the_call_returns(self) -> None:
        """The request is noted before the call, so the answer finds it."""
        requests = Requests()
        requests.ask(DETACH, 0.0)

        requests.refuse(DETACH.alias)

        assert not requests.may_ask(DETACH, 100.0)

    def test_an_event_of_somebody_elses_request_is_no_answer_to_ours(self) -> None:
        """It came before we asked."""
        requests = Requests()
        requests.refuse(DETACH.alias)

        assert requests.may_ask(DETACH, 0.0)
        requests.ask(DETACH, 0.0)
        assert not requests.is_refused(DETACH)

    def test_only_devices_are_refused(self) -> None:
        """There is no such event for anything else."""
        requests, now = asked(MEMORY, 1)

        requests.refuse("virtio-disk1")

        assert not requests.is_refused(MEMORY)
        assert requests.may_ask(MEMORY, now + ASK_AGAIN_SECONDS)


class TestFailedCalls:
    def test_a_call_that_failed_was_no_request(self) -> None:
        """The guest knows nothing of it."""
        requests, now = asked(DETACH, 1)

        requests.take_back(DETACH)

        assert requests.may_ask(DETACH, now)

    def test_those_before_it_are_still_counted(self) -> None:
        """Seven requests and a failed one are seven."""
        requests, now = asked(DETACH, MOST_REQUESTS)

        requests.take_back(DETACH)

        assert not requests.is_silent(DETACH, now + ASK_AGAIN_SECONDS)
        assert requests.may_ask(DETACH, now + ASK_AGAIN_SECONDS)


class TestComplaint:
    def test_there_is_none_while_there_is_hope(self) -> None:
        """Not before the last request has had its time either."""
        requests, now = asked(DETACH, MOST_REQUESTS)

        assert "" == requests.complaint([], now)
        assert "" == requests.complaint([step(DETACH, "d")], now + ASK_AGAIN_SECONDS - 1)
        assert "" == Requests().complaint([step(DETACH, "d")], now)

    def test_silence_is_told_with_what_was_asked(self) -> None:
        """And with what would make it ask again."""
        requests, now = asked(DETACH, MOST_REQUESTS)

        said = requests.complaint([step(DETACH, "devices.disks[vdb]")], now + ASK_AGAIN_SECONDS)

        assert (
            "the guest has not answered 8 requests in 160 s for devices.disks[vdb]; "
            "it is asked again when its manifest changes or it is restarted"
        ) == said

    def test_a_refusal_is_told_at_once(self) -> None:
        """Beside what it has not answered."""
        requests, now = asked(MEMORY, MOST_REQUESTS)
        requests.ask(DETACH, now)
        requests.refuse(DETACH.alias)

        said = requests.complaint(
            [step(DETACH, "devices.disks[vdb]"), step(MEMORY, "currentMemory")],
            now + ASK_AGAIN_SECONDS,
        )

        assert said.startswith(
            "the guest refuses to release devices.disks[vdb]; the guest has not answered 8 requests"
        )

    def test_one_that_may_still_answer_is_hope(self) -> None:
        """Others that will not are told with it later."""
        requests, now = asked(DETACH, MOST_REQUESTS)
        requests.ask(MEMORY, now)

        steps = [step(DETACH, "d"), step(MEMORY, "m")]

        assert "" == requests.complaint(steps, now + ASK_AGAIN_SECONDS)
