"""The endpoints of version 1: one table, which the server serves and OpenAPI is printed from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reconvirt.api.answering import (
    answer_description,
    answer_event,
    answer_fleet,
    answer_hold,
    answer_status,
)
from reconvirt.api.answers import (
    DescriptionAnswer,
    DoneAnswer,
    ErrorAnswer,
    EventAnswer,
    EventsAnswer,
    ExplanationAnswer,
    FleetAnswer,
    HoldAnswer,
    HoldRequest,
    LinesAnswer,
    NamesAnswer,
    StatusAnswer,
)
from reconvirt.api.errors import Refusal, refuse_body
from reconvirt.controller.desk import Desk

STEP_SECONDS = 0.5
"""How long a stream waits at a time, and so how long the end of the daemon waits for it."""

_LEAST_SECONDS = 0.2
_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Call:
    """A request.

    Attributes:
        what: what it is for, in words.
        user: who makes it.
        name: the virtual server that it is about; "" if none.
        query: the parameters of its address.
        body: its body; None if it has none.
    """

    what: str
    user: str
    name: str = ""
    query: Mapping[str, str] | None = None
    body: Any = None

    def number(self, parameter: str) -> int:
        """A parameter that counts; 0 if it is not there.

        Raises:
            Refusal: it is no number.
        """
        text = (self.query or {}).get(parameter, "0")
        if not (text.isascii() and text.isdecimal()):
            raise refuse_body(self.what, f"{parameter}: {text!r} is not a whole number")
        return int(text)


@dataclass(frozen=True, slots=True)
class Sent:
    """One piece of a stream of server-sent events.

    Attributes:
        kind: its name.
        number: from which a new request can go on.
        data: the answer in it.
    """

    kind: str
    number: int
    data: object


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an address."""

    name: str
    schema: Mapping[str, Any]
    description: str


Handle = Callable[[Desk, Call], object]
Stream = Callable[[Desk, Call, Callable[[], bool]], Iterator[list[Sent]]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One thing that can be asked for.

    Attributes:
        method: HTTP's.
        path: below the server; ``{name}`` stands for a virtual server.
        summary: what it does, in a few words.
        answer: the type of what it answers.
        handle: makes the answer; None where it only streams.
        stream: makes the pieces of a stream, and empty lists while there is nothing to tell,
            until its last argument says stop; None where it does not.
        body: the type of what it is sent; None for nothing.
        writes: whether something is done, and not only read.
        parameters: what its address may say.
    """

    method: str
    path: str
    summary: str
    answer: type
    handle: Handle | None
    stream: Stream | None = None
    body: type | None = None
    writes: bool = False
    parameters: tuple[Parameter, ...] = ()

    @property
    def streams_only(self) -> bool:
        """Whether it cannot be answered at once."""
        return self.handle is None


def watch_fleet(desk: Desk, call: Call, stop: Callable[[], bool]) -> Iterator[list[Sent]]:
    """All statuses whenever one has changed."""
    version = call.number("since")
    if version > desk.fleet().version:
        version = 0  # it was counted by an earlier daemon
    while not stop():
        fleet = desk.wait(version, STEP_SECONDS)
        if fleet.version <= version:
            yield []
            continue
        version = fleet.version
        yield [Sent("fleet", version, answer_fleet(fleet))]
        # What happens in quick succession is told at once.
        time.sleep(_LEAST_SECONDS)


def follow_events(desk: Desk, call: Call, stop: Callable[[], bool]) -> Iterator[list[Sent]]:
    """Events as they come."""
    name = (call.query or {}).get("name") or None
    for events in desk.follow(call.number("since"), stop, STEP_SECONDS):
        told = [each for each in events if name in (None, each.virtual_server)]
        yield [Sent("event", each.number, answer_event(each)) for each in told]


def _events(desk: Desk, call: Call) -> EventsAnswer:
    name = (call.query or {}).get("name") or None
    events = desk.events(call.number("since"), name)
    return EventsAnswer(tuple(answer_event(each) for each in events))


def _reconcile(desk: Desk, call: Call) -> DoneAnswer:
    desk.reconcile(call.name)
    return DoneAnswer(f"{call.name} is looked at now")


def _reconcile_source(desk: Desk, _call: Call) -> DoneAnswer:
    desk.reconcile_source()
    return DoneAnswer("the manifests are read now")


def _hold(desk: Desk, call: Call) -> HoldAnswer:
    reason = call.body.get("reason") if isinstance(call.body, dict) else None
    if not isinstance(reason, str) or not reason.strip():
        raise refuse_body(call.what, "reason: a text must say why")
    if len(reason) > _LONGEST_REASON or not reason.isprintable():
        why = f"reason: at most {_LONGEST_REASON} characters in one line are kept"
        raise refuse_body(call.what, why)
    return answer_hold(desk.hold(call.name, reason.strip(), call.user))


def _release(desk: Desk, call: Call) -> DoneAnswer:
    # A hold outlives what it is on, so a name that is nobody's any more can be released.
    if desk.release(call.name, call.user):
        return DoneAnswer(f"{call.name} is released")
    hold = desk.status(call.name).hold
    if hold is not None and hold.who == "manifest":
        advice = "take the annotation reconvirt/hold out of the manifest"
        raise Refusal(409, ErrorAnswer(call.what, "its manifest holds it", advice))
    raise Refusal(409, ErrorAnswer(call.what, "it is not held", "nothing need be done"))


def _abort_migration(desk: Desk, call: Call) -> DoneAnswer:
    desk.abort_migration(call.name, call.user)
    return DoneAnswer(f"{call.name}: its migration is being ended")


_SINCE_EVENT = Parameter(
    "since", {"type": "integer", "minimum": 0, "default": 0}, "The number of the last known event."
)
_SINCE_VERSION = Parameter(
    "since", {"type": "integer", "minimum": 0, "default": 0}, "The last known version."
)
_NAME = Parameter("name", {"type": "string"}, "Only events of this virtual server.")
_FOLLOW = Parameter(
    "follow",
    {"type": "string", "enum": ["0", "1"], "default": "0"},
    "1: go on as server-sent events; each is named event, its id is its number.",
)
_ONE = "/v1/virtual-servers/{name}"

ENDPOINTS = (
    Endpoint(
        *("GET", "/v1/virtual-servers", "All virtual servers", FleetAnswer),
        lambda desk, _call: answer_fleet(desk.fleet()),
    ),
    Endpoint(
        *("GET", "/v1/watch", "All virtual servers, again whenever one has changed", FleetAnswer),
        None,
        watch_fleet,
        parameters=(_SINCE_VERSION,),
    ),
    Endpoint(
        *("GET", "/v1/events", "What has happened lately", EventsAnswer),
        _events,
        follow_events,
        parameters=(_SINCE_EVENT, _NAME, _FOLLOW),
    ),
    Endpoint(
        *("GET", _ONE, "One virtual server", StatusAnswer),
        lambda desk, call: answer_status(desk.status(call.name)),
    ),
    Endpoint(
        *("GET", f"{_ONE}/description", "All about one virtual server", DescriptionAnswer),
        lambda desk, call: answer_description(desk.describe(call.name)),
    ),
    Endpoint(
        *("GET", f"{_ONE}/lines", "Desired, configured and running values", LinesAnswer),
        lambda desk, call: LinesAnswer(desk.status(call.name).name, desk.lines(call.name)),
    ),
    Endpoint(
        *("GET", f"{_ONE}/explanation", "What it waits for", ExplanationAnswer),
        lambda desk, call: ExplanationAnswer(call.name, desk.explain(call.name)),
    ),
    Endpoint(
        *("POST", f"{_ONE}/reconcile", "Look at one virtual server now", DoneAnswer),
        _reconcile,
        writes=True,
    ),
    Endpoint(
        *("POST", "/v1/source/reconcile", "Read the manifests now", DoneAnswer),
        _reconcile_source,
        writes=True,
    ),
    Endpoint(
        *("PUT", f"{_ONE}/hold", "Leave one virtual server alone", HoldAnswer),
        _hold,
        body=HoldRequest,
        writes=True,
    ),
    Endpoint(
        *("DELETE", f"{_ONE}/hold", "End a hold", DoneAnswer),
        _release,
        writes=True,
    ),
    Endpoint(
        *("DELETE", f"{_ONE}/migration", "End its migration; it goes on here", DoneAnswer),
        _abort_migration,
        writes=True,
    ),
    Endpoint(
        *("POST", "/v1/prune/approve", "Let those go whose manifests are gone", NamesAnswer),
        lambda desk, call: NamesAnswer(desk.approve_prune(call.user)),
        writes=True,
    ),
)

EVENT_TYPES: Mapping[str, type] = {"fleet": FleetAnswer, "event": EventAnswer}
"""What stands in the pieces of streams, by the pieces' names."""
