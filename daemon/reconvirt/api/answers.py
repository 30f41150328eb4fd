"""What the interface answers: the documents of version 1.

A field is never taken out or given another meaning within a version; fields are added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconvirt.api.moving import MigrationAnswer
from reconvirt.api.wire import Timestamp
from reconvirt.controller.conditions import Kind
from reconvirt.controller.outcome import Phase
from reconvirt.domain.changes import Change
from reconvirt.domain.show import Shown
from reconvirt.domain.side_by_side import Line


@dataclass(frozen=True, slots=True)
class ConditionAnswer:
    """One thing that is the matter with a virtual server.

    Attributes:
        type: which; Ready is always there, the others only while they are true.
        status: whether it is true; only Ready is ever false.
        reason: why, as a word.
        message: why, as a sentence.
        since: when it became so.
    """

    type: Kind
    status: bool
    reason: str
    message: str
    since: Timestamp


@dataclass(frozen=True, slots=True)
class HoldAnswer:
    """Why a virtual server is left alone.

    Attributes:
        reason: why.
        who: who said so: a user's name, or manifest.
        since: since when; null if its manifest says so.
    """

    reason: str
    who: str
    since: Timestamp | None


@dataclass(frozen=True, slots=True)
class StatusAnswer:
    """What is known of one virtual server.

    Attributes:
        name: libvirt's name of it.
        state: its state, by virsh's words; null where libvirt has none.
        reason: the reason for the state; null where there is none.
        phase: how far it is from what its manifest wants.
        message: one sentence for people.
        vcpus: the vCPUs that are on.
        vcpus_maximum: the most that it can have without a restart.
        memory: its memory as people read it.
        shares: its CPU weight.
        uuid: its uuid; null where libvirt has none yet.
        domain_id: libvirt's number of the running one; null where it does not run.
        manifest: file, line and column of its manifest; null if it has none.
        labels: the administrator's own words.
        conditions: what is the matter with it.
        due: what would be changed now.
        waiting: what waits for a restart, or for the guest.
        refused: what will not be done.
        drifted: what was changed by hand.
        unlisted: devices that were attached by hand.
        diverged: disks that were moved to another source, and are left there.
        overlays: disks on an overlay of the image that the manifest states, which is in sync.
        hold: who has had it left alone, and why; null if nobody has.
        step: the step that is being taken now; null if none.
        migration: how far it is on its way to another host; null if it stays.
        observed_revision: of the manifests that it was last looked at for.
        applied_revision: of those that it was last found to be as wanted.
        updated: when it was last looked at; null if it was not yet.
        next_look: when it is looked at again if nothing happens; null if that is not planned.
    """

    name: str
    state: str | None
    reason: str | None
    phase: Phase
    message: str
    vcpus: Shown
    vcpus_maximum: Shown
    memory: Shown
    shares: Shown
    uuid: str | None
    domain_id: int | None
    manifest: str | None
    labels: Mapping[str, str]
    conditions: tuple[ConditionAnswer, ...]
    due: tuple[Change, ...]
    waiting: tuple[Change, ...]
    refused: tuple[Change, ...]
    drifted: tuple[Change, ...]
    unlisted: tuple[Change, ...]
    diverged: tuple[Change, ...]
    overlays: tuple[Change, ...]
    hold: HoldAnswer | None
    step: str | None
    migration: MigrationAnswer | None
    observed_revision: str
    applied_revision: str
    updated: Timestamp | None
    next_look: Timestamp | None


@dataclass(frozen=True, slots=True)
class ProblemAnswer:
    """Something wrong with a manifest.

    Attributes:
        file: its file.
        line: where in it, from 1.
        column: where in the line, from 1.
        field: the path of the field; empty for a whole file.
        message: what is wrong.
        allowed: what is allowed, or what to do; empty where the message says it.
    """

    file: str
    line: int
    column: int
    field: str
    message: str
    allowed: str


@dataclass(frozen=True, slots=True)
class FleetAnswer:
    """All virtual servers of the host at one moment.

    Attributes:
        version: counts up with each change, from 1 at each start of the daemon.
        revision: of the manifests in force.
        connected: whether there is a connection to libvirt.
        prune_held: why nothing is done about those whose manifests are gone; empty if nothing
            is held.
        virtualServers: their statuses, by name.
        problems: what is wrong with manifests.
        state_problems: which files in the daemon's state directory cannot be read, why, and what to
            do; a sentence each.
    """

    version: int
    revision: str
    connected: bool
    prune_held: str
    virtualServers: tuple[StatusAnswer, ...]  # noqa: N815 - as 'plan' and 'apply' print it
    problems: tuple[ProblemAnswer, ...]
    state_problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EventAnswer:
    """One transition, or the same one several times.

    Attributes:
        number: counts up; a later event has a higher number. One that happens again gets a new
            number, and comes again in a stream.
        time: when it happened last.
        virtual_server: its name; empty for what concerns none alone.
        reason: what has happened, as a word.
        message: what has happened, as a sentence.
        level: info, warning or error.
        step: the step that was taken; empty if none.
        field: the field that it is about; empty if none.
        old: the value before.
        new: the value afterwards.
        revision: of the manifests in force when it happened last.
        count: how often it has happened.
        first_time: when it happened first.
    """

    number: int
    time: Timestamp
    virtual_server: str
    reason: str
    message: str
    level: str
    step: str
    field: str
    old: str
    new: str
    revision: str
    count: int
    first_time: Timestamp


@dataclass(frozen=True, slots=True)
class EventsAnswer:
    """Events, the oldest first."""

    events: tuple[EventAnswer, ...]


@dataclass(frozen=True, slots=True)
class LinesAnswer:
    """Desired, configured and running values of a virtual server beside each other."""

    name: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class DescriptionAnswer:
    """All about one virtual server.

    Attributes:
        status: how it is.
        spec: what its manifest says, without passwords; null if it has none.
        lines: desired, configured and running values beside each other.
        events: what has happened to it lately, the oldest first.
    """

    status: StatusAnswer
    spec: Mapping[str, Any] | None
    lines: tuple[Line, ...]
    events: tuple[EventAnswer, ...]


@dataclass(frozen=True, slots=True)
class ExplanationAnswer:
    """What a virtual server is waiting for, and what can be done about it; a paragraph."""

    name: str
    explanation: str


@dataclass(frozen=True, slots=True)
class HoldRequest:
    """A wish to have a virtual server left alone.

    Attributes:
        reason: why; for those who find it so.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class NamesAnswer:
    """The virtual servers that something was done about."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DoneAnswer:
    """It was done, or has begun.

    Attributes:
        message: what, as a sentence.
    """

    message: str


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """Something was not done.

    Attributes:
        what: what was not done.
        why: why not.
        do: what can be done about it.
    """

    what: str
    why: str
    do: str
