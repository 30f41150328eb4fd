"""Supervised threads: none is lost by an exception, and each is known to the watchdog."""

from __future__ import annotations

import threading
import time

from structlog.testing import capture_logs

from reconvirt.hypervisor.supervision import Beat, Supervisor
from testbed.waiting import wait_until

LONG = 30.0


class Body:
    """Fails so many times, and then works until it is to stop."""

    def __init__(self, failures: int, stop: threading.Event) -> None:
        self.left, self.stop, self.starts = failures, stop, 0
        self.at: list[float] = []

    def __call__(self) -> None:
        self.starts += 1
        self.at.append(time.monotonic())
        if self.left:
            self.left -= 1
            raise ValueError("not foreseen")
        self.stop.wait(LONG)


def test_a_body_that_fails_is_logged_counted_and_started_again() -> None:
    supervisor, stop = Supervisor(0.05, 1.0), threading.Event()
    body = Body(3, stop)
    with capture_logs() as logged:
        thread = supervisor.start("metrics", body, stop)
        wait_until(lambda: body.starts == 4, LONG, "it to be started again")
    assert {"metrics": 3} == supervisor.failures
    errors = [each for each in logged if each["log_level"] == "error"]
    assert 3 == len(errors)
    assert all(each["thread"] == "metrics" and each["exc_info"] for each in errors)
    assert thread.is_alive()
    stop.set()
    thread.join(LONG)
    assert not thread.is_alive()


def test_the_pause_grows() -> None:
    supervisor, stop = Supervisor(0.1, 10.0), threading.Event()
    body = Body(3, stop)
    with capture_logs():
        supervisor.start("source", body, stop)
        wait_until(lambda: body.starts == 4, LONG, "it to be started again")
    stop.set()
    pauses = [later - sooner for sooner, later in zip(body.at, body.at[1:], strict=False)]
    assert all(0.1 * 2**number <= pause for number, pause in enumerate(pauses))


def test_one_that_waits_to_be_started_again_ends_at_once_when_it_is_to() -> None:
    supervisor, stop = Supervisor(100.0, 100.0), threading.Event()
    with capture_logs():
        thread = supervisor.start("perf", Body(1, stop), stop)
        wait_until(lambda: supervisor.failures["perf"] == 1, LONG, "it to fail")
        stop.set()
        thread.join(LONG)
    assert not thread.is_alive()


def test_the_age_is_that_of_the_last_sign_of_life_beyond_what_it_may_take() -> None:
    supervisor, stop = Supervisor(), threading.Event()
    now = [100.0]
    beat = Beat(lambda: now[0])
    thread = supervisor.start("perf", lambda: stop.wait(LONG), stop, beat=beat, may_take=60.0)
    now[0] = 150.0
    assert {"perf": 0.0} == supervisor.ages()
    now[0] = 190.0
    assert {"perf": 30.0} == supervisor.ages()
    assert {"perf": 0} == supervisor.failures
    stop.set()
    thread.join(LONG)
    assert {} == supervisor.ages(), "what has ended is not missed"


def test_a_thread_that_waits_gives_signs_of_life() -> None:
    beat, event = Beat(), threading.Event()
    assert not beat.wait(event, 0.01)
    event.set()
    assert beat.wait(event, LONG)
    assert beat.age() < LONG


def test_what_fails_in_a_block_is_counted_and_the_rest_goes_on() -> None:
    supervisor = Supervisor()
    with capture_logs() as logged:
        with supervisor.guarded("main"):
            raise ValueError("not foreseen")
        with supervisor.guarded("main"):
            pass
    assert {"main": 1} == supervisor.failures
    assert 1 == len(logged)
