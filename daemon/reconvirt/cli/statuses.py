"""Statuses as tables: rows of what the interface answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from reconvirt.api.moving import MigrationAnswer, tell_progress
from reconvirt.cli import output
from reconvirt.controller.conditions import Kind
from reconvirt.controller.outcome import Phase
from reconvirt.domain.effects import Effect

_LEVELS = {"info": "", "warning": "yellow", "error": "red"}
_CONDITIONS = {
    Kind.STALLED: "red",
    Kind.RESTART_REQUIRED: "yellow",
    Kind.DRIFTED: "yellow",
    Kind.DIVERGED: "red",
    Kind.OVERLAY: "dim",
    Kind.HELD: "magenta",
    Kind.RECONCILING: "cyan",
    Kind.MIGRATING: "cyan",
    Kind.HELD_BY_OTHER_HOST: "magenta",
}
_EFFECTS = {
    Effect.LIVE: "green",
    Effect.GUEST: "cyan",
    Effect.NEXT_START: "yellow",
    Effect.REFUSED: "red",
}


def status_table(statuses: Iterable[Mapping[str, Any]], *, wide: bool) -> Table:
    """Virtual servers, a row each."""
    extra = ("REASON", "SHARES", "ID", "UUID", "MANIFEST", "REVISION") if wide else ()
    rows = output.table("NAME", "STATE", "STATUS", "VCPUS", "MEMORY", "CONDITIONS", *extra)
    rows.add_column("MESSAGE", overflow="fold")
    for each in statuses:
        vcpus = None if each["vcpus"] is None else f"{each['vcpus']}/{each['vcpus_maximum']}"
        told = ("reason", "shares", "domain_id", "uuid", "manifest") if wide else ()
        revision = (output.cell(each["applied_revision"][:12] or None),) if wide else ()
        rows.add_row(
            output.cell(each["name"]),
            output.cell(each["state"]),
            output.styled(Phase(each["phase"])),
            output.cell(vcpus),
            output.cell(each["memory"]),
            _abnormal(each["conditions"]) or "-",
            *(output.cell(each[field]) for field in told),
            *revision,
            output.cell(_sentence(each)),
        )
    return rows


def _sentence(status: Mapping[str, Any]) -> str:
    """The sentence, and how far it is on its way to another host."""
    message: str = status["message"]
    if (migration := status.get("migration")) is None:
        return message
    return f"{message} ({tell_progress(MigrationAnswer(**migration))})"


def _abnormal(conditions: Iterable[Mapping[str, Any]]) -> str:
    kinds = [Kind(each["type"]) for each in conditions if each["type"] != Kind.READY]
    return ",".join(_colored(str(kind), _CONDITIONS.get(kind, "")) for kind in kinds)


def condition_table(conditions: Iterable[Mapping[str, Any]]) -> Table:
    """Conditions, a row each."""
    rows = output.table("CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE")
    for each in conditions:
        kind = Kind(each["type"])
        style = _CONDITIONS.get(kind, "")
        if kind is Kind.READY:
            style = "green" if each["status"] else "red"
        rows.add_row(
            _colored(str(kind), style),
            str(each["status"]),
            output.cell(each["reason"]),
            clock(each["since"]),
            output.cell(each["message"]),
        )
    return rows


def change_table(changes: Iterable[Mapping[str, Any]]) -> Table:
    """Changes, a row each."""
    rows = output.table("FIELD", "OLD", "NEW", "TAKES EFFECT", "REASON")
    for each in changes:
        rows.add_row(
            *(output.cell(each[field]) for field in ("field", "old", "new")),
            _colored(each["effect"], _EFFECTS[Effect(each["effect"])]),
            output.cell(each["reason"]),
        )
    return rows


def line_table(lines: Iterable[Mapping[str, Any]]) -> Table:
    """Desired, configured and running values, a row a field; what differs in colour."""
    rows = output.table("", "FIELD", "MANIFEST", "NEXT START", "RUNNING")
    for each in lines:
        texts = (output.cell(each[column]) for column in ("field", "desired", "config", "live"))
        differs = each["differs"]
        rows.add_row("≠" if differs else "", *texts, style="yellow" if differs else None)
    return rows


def event_table(events: Iterable[Mapping[str, Any]], *, named: bool = True) -> Table:
    """Events, a row each."""
    rows = output.table("TIME", *(("NAME",) if named else ()), "REASON", "MESSAGE")
    for each in events:
        name = (output.cell(each["virtual_server"] or None),) if named else ()
        rows.add_row(
            clock(each["time"]),
            *name,
            _colored(each["reason"], _LEVELS.get(each["level"], "")),
            event_text(each),
        )
    return rows


def event_line(event: Mapping[str, Any]) -> str:
    """One event as a line, in columns that later ones keep to."""
    reason = _colored(f"{event['reason']:<18}", _LEVELS.get(event["level"], ""))
    name = output.cell(event["virtual_server"] or "-")
    return f"{clock(event['time'])}   {name:<16}   {reason}   {event_text(event)}"


def event_text(event: Mapping[str, Any]) -> str:
    """What has happened, with field and values if it is about one, and how often."""
    text = output.cell(event["message"])
    if event["field"]:
        values = f" {event['old'] or 'none'} → {event['new'] or 'none'}"
        told = values if event["old"] or event["new"] else ""
        text = f"{text}: {output.cell(event['field'] + told)}"
    # A daemon of an earlier version has no counts.
    count = event.get("count", 1)
    return text if count == 1 else f"{text} ({count} times since {clock(event['first_time'])})"


def clock(moment: str) -> str:
    """A moment in local time: the time of day, and the day if it is another."""
    local = datetime.fromisoformat(moment).astimezone()
    today = datetime.now(UTC).astimezone().date() == local.date()
    return local.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")


def _colored(text: str, style: str) -> str:
    return f"[{style}]{output.cell(text)}[/]" if style else output.cell(text)
