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
        requests.begin(action)
        requests.accept(action, now)
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
    requests.accept(shutdown, 0.0)

    assert not requests.may_ask(shutdown, 4.0)
    assert requests.may_ask(shutdown, 5.0)
    requests.accept(shutdown, 50.0)
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
        """It is an answer to this request all the same."""
        requests = Requests()
        requests.begin(DETACH)
        requests.refuse(DETACH.alias)

        requests.accept(DETACH, 0.0)

        assert not requests.may_ask(DETACH, 100.0)

    def test_an_event_of_somebody_elses_request_is_no_answer_to_ours(self) -> None:
        """It came before we asked."""
        requests = Requests()
        requests.refuse(DETACH.alias)

        assert requests.may_ask(DETACH, 0.0)
        requests.begin(DETACH)
        requests.accept(DETACH, 0.0)
        assert not requests.is_refused(DETACH)

    def test_only_devices_are_refused(self) -> None:
        """There is no such event for anything else."""
        requests, now = asked(MEMORY, 1)

        requests.refuse("virtio-disk1")

        assert not requests.is_refused(MEMORY)
        assert requests.may_ask(MEMORY, now + ASK_AGAIN_SECONDS)


class TestFailedCalls:
    """One that libvirt did not take was no request: the guest knows nothing of it."""

    def test_it_may_be_made_again_at_once(self) -> None:
        requests = Requests()

        requests.begin(DETACH)

        assert requests.may_ask(DETACH, 0.0)

    def test_it_does_not_count(self) -> None:
        """Seven requests and a failed one are seven."""
        requests, now = asked(DETACH, MOST_REQUESTS - 1)

        requests.begin(DETACH)

        assert not requests.is_silent(DETACH, now + ASK_AGAIN_SECONDS)
        assert requests.may_ask(DETACH, now + ASK_AGAIN_SECONDS)

    def test_it_starts_no_clock_and_resets_none(self) -> None:
        """What a guest is ended for by force after a while is its silence, and nothing else."""
        requests = Requests(ShutdownPolicy(retry=5, timeout=60))
        requests.begin(Shutdown())
        assert requests.shutdown_asked(1000.0) is None

        requests.accept(Shutdown(), 1000.0)
        requests.begin(Shutdown())

        assert 10.0 == requests.shutdown_asked(1010.0)
        assert requests.may_ask(Shutdown(), 1005.0)
        assert not requests.may_ask(Shutdown(), 1004.0)


class TestPauses:
    """A paused guest hears nothing: the time for its shutdown does not go on."""

    def test_time_counts_between_looks_at_a_running_guest(self) -> None:
        requests = Requests()
        requests.see(0.0, runs=True)
        requests.accept(Shutdown(), 0.0)
        requests.see(10.0, runs=True)
        assert 10.0 == requests.shutdown_asked(10.0)

        requests.see(20.0, runs=False)
        requests.see(100.0, runs=False)
        assert 10.0 == requests.shutdown_asked(100.0)
        requests.see(200.0, runs=True)
        assert 10.0 == requests.shutdown_asked(200.0)

        requests.see(215.0, runs=True)
        assert 25.0 == requests.shutdown_asked(215.0)

    def test_it_is_not_asked_again_before_it_has_had_its_time(self) -> None:
        requests = Requests(ShutdownPolicy(retry=20))
        requests.see(0.0, runs=True)
        requests.accept(Shutdown(), 0.0)
        requests.see(5.0, runs=False)
        requests.see(500.0, runs=True)

        assert not requests.may_ask(Shutdown(), 519.0)
        assert requests.may_ask(Shutdown(), 520.0)

    def test_devices_are_asked_for_all_the_same(self) -> None:
        """Some are released without the guest's help."""
        requests, now = asked(DETACH, 1)
        requests.see(now, runs=False)
        requests.see(now + ASK_AGAIN_SECONDS, runs=False)

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
        requests.accept(DETACH, now)
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
        requests.accept(MEMORY, now)

        steps = [step(DETACH, "d"), step(MEMORY, "m")]

        assert "" == requests.complaint(steps, now + ASK_AGAIN_SECONDS)
