"""``reconvirt describe``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import yaml
from rich.console import RenderableType
from rich.syntax import Syntax

from reconvirt.api.moving import MigrationAnswer, tell_progress
from reconvirt.api.wire import as_json
from reconvirt.cli import options, output
from reconvirt.cli.asking import ask
from reconvirt.cli.client import one
from reconvirt.cli.exit_codes import exit_codes
from reconvirt.cli.statuses import (
    change_table,
    clock,
    condition_table,
    event_table,
    line_table,
)
from reconvirt.controller.outcome import Phase

_CHANGES = {
    "refused": "Refused",
    "diverged": "Moved to another source, and left there",
    "due": "Due now",
    "waiting": "Waits for a restart or for the guest",
    "drifted": "Changed by hand",
    "unlisted": "Attached by hand",
    "overlays": "On an overlay of the stated image",
}


@click.command()
@options.name_argument
@options.settings
@options.socket_option
@options.output_option("text", "json", "yaml")
@exit_codes({0: "shown", 1: "error, or there is no such virtual server"})
def describe(
    name: str,
    desired: Path | None,
    connect: str | None,
    config_file: Path | None,
    socket: Path | None,
    form: str,
) -> None:
    """Show all about one virtual server.

    Its state, its conditions, what waits for a restart, the values of its fields and devices, its
    manifest, and what has happened to it lately. Where no daemon runs, libvirt is read instead.
    """
    config = options.read_config(config_file, desired=desired, connect=connect, socket__path=socket)
    found = ask(
        config,
        name,
        lambda client: client.get(one(name, "description")),
        lambda look: as_json(look.describe(name)),
    )
    if form != "text":
        output.print_value(found, form)
        return
    printer = output.console()
    for part in _parts(found):
        printer.print(part)


def _parts(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    status = found["status"]
    yield _facts(status)
    yield _heading("Conditions")
    yield condition_table(status["conditions"])
    for key, heading in _CHANGES.items():
        if status[key]:
            yield _heading(heading)
            yield change_table(status[key])
    if found["lines"]:
        yield _heading("Values")
        yield line_table(found["lines"])
    if found["spec"] is not None:
        yield _heading("Manifest")
        text = yaml.safe_dump(found["spec"], sort_keys=False, allow_unicode=True)
        yield Syntax(text.rstrip(), "yaml", theme="ansi_dark", background_color="default")
    if found["events"]:
        yield _heading("Events")
        yield event_table(found["events"], named=False)


def _facts(status: Mapping[str, Any]) -> RenderableType:
    state = status["state"]
    if status["reason"]:
        state = f"{state} ({status['reason']})"
    hold = status["hold"]
    held = hold and f"{hold['reason']} ({hold['who']}{_since(hold['since'])})"
    vcpus = None if status["vcpus"] is None else f"{status['vcpus']} of {status['vcpus_maximum']}"
    labels = ", ".join(f"{name}={word}" for name, word in status["labels"].items())
    migration = status["migration"]
    phase = output.styled(Phase(status["phase"]))
    rows = output.table("", "")
    rows.show_header = False
    facts: Mapping[str, object] = {
        "Name": status["name"],
        "State": state,
        "Status": None,
        "Step": status["step"],
        "Migration": migration and tell_progress(MigrationAnswer(**migration)),
        "Held": held,
        "vCPUs": vcpus,
        "Memory": status["memory"],
        "CPU weight": status["shares"],
        "UUID": status["uuid"],
        "ID": status["domain_id"],
        "Labels": labels or None,
        "Manifest": status["manifest"],
        "Observed revision": status["observed_revision"] or None,
        "Applied revision": status["applied_revision"] or None,
        "Looked at": status["updated"] and clock(status["updated"]),
        "Next look": status["next_look"] and clock(status["next_look"]),
    }
    for title, fact in facts.items():
        if title == "Status":
            rows.add_row(f"[bold]{title}[/]", f"{phase}: {output.cell(status['message'])}")
        elif fact is not None or title == "State":
            rows.add_row(f"[bold]{title}[/]", output.cell(fact))
    return rows


def _since(moment: str | None) -> str:
    return f", since {clock(moment)}" if moment else ""


def _heading(text: str) -> str:
    return f"\n[bold underline]{text}[/]"
