"""Errors as the interface tells them: what was not done, why not, and what can be done about it."""

from __future__ import annotations

from reconvirt.api.answers import ErrorAnswer
from reconvirt.controller.desk import Unknown
from reconvirt.controller.state_store import Unreadable
from reconvirt.hypervisor.errors import HypervisorError


class Refusal(Exception):
    """A request is not served.

    Args:
        status: HTTP's number for it.
        answer: what is told.
    """

    def __init__(self, status: int, answer: ErrorAnswer) -> None:
        super().__init__(f"{answer.what}: {answer.why}; {answer.do}")
        self.status = status
        self.answer = answer


def refusal_of(what: str, error: Exception) -> Refusal | None:
    """How an error of the daemon is told; None if it is not an expected one.

    Args:
        what: what was not done.
        error: why not.
    """
    if isinstance(error, Refusal):
        return error
    if isinstance(error, Unknown):
        advice = "'reconvirt get' lists those that there are"
        return Refusal(404, ErrorAnswer(what, str(error), advice))
    if isinstance(error, HypervisorError):
        advice = "see whether libvirt runs; reconvirt connects again by itself"
        return Refusal(503, ErrorAnswer(what, f"libvirt: {error}", advice))
    if isinstance(error, Unreadable):
        return Refusal(500, ErrorAnswer(what, str(error), "no restart is needed after that"))
    if isinstance(error, OSError):
        advice = "see whether the daemon's state_directory can be written to"
        return Refusal(500, ErrorAnswer(what, str(error), advice))
    return None


def refuse_body(what: str, why: str) -> Refusal:
    """The request's body is not as it must be."""
    advice = "see /v1/openapi.json for what is expected"
    return Refusal(400, ErrorAnswer(what, why, advice))
