"""``reconvirt get``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from rich.live import Live

from reconvirt.api.answering import answer_fleet
from reconvirt.api.wire import as_json
from reconvirt.cli import options, output
from reconvirt.cli.asking import ask
from reconvirt.cli.client import Client
from reconvirt.cli.exit_codes import exit_codes
from reconvirt.cli.failure import Failure
from reconvirt.cli.statuses import status_table

Fleet = Mapping[str, Any]


@click.command()
@click.argument("name", required=False, shell_complete=options.complete_names)
@options.settings
@options.socket_option
@options.output_option("table", "wide", "json", "yaml")
@click.option("-w", "--watch", is_flag=True, help="Go on, and show what changes.")
@exit_codes({0: "shown", 1: "error, or there is no such virtual server"})
def get(
    name: str | None,
    desired: Path | None,
    connect: str | None,
    config_file: Path | None,
    socket: Path | None,
    form: str,
    *,
    watch: bool,
) -> None:
    """Show virtual servers: their state, and whether they are as their manifests want.

    The daemon is asked. Where none runs, or --connect or --desired is given, libvirt and the
    manifests are read instead. Those that reconvirt has made and whose manifest is gone are shown
    as not managed.
    """
    config = options.read_config(config_file, desired=desired, connect=connect, socket__path=socket)
    if watch:
        _watch(Client(config.socket.path), name, form)
        return
    fleet = ask(
        config,
        name,
        lambda client: client.get("virtual-servers"),
        lambda look: as_json(answer_fleet(look.fleet)),
    )
    fleet = _only(fleet, name)
    if name and not fleet["virtualServers"]:
        raise Failure(f"{name}: no manifest states it, and libvirt has none that reconvirt made")
    _print(fleet, form)


def _only(fleet: Fleet, name: str | None) -> Fleet:
    chosen = [each for each in fleet["virtualServers"] if name in (None, each["name"])]
    return {**fleet, "virtualServers": chosen}


def _print(fleet: Fleet, form: str) -> None:
    if form in ("json", "yaml"):
        output.print_value(fleet, form)
        return
    _print_notices(fleet)
    output.console().print(status_table(fleet["virtualServers"], wide=form == "wide"))


def _print_notices(fleet: Fleet) -> None:
    printer = output.console(stderr=True)
    if not fleet["revision"]:
        printer.print("the daemon has only just begun, and read no manifests yet", soft_wrap=True)
    if not fleet["connected"]:
        printer.print("[red]error[/] the daemon has no connection to libvirt", soft_wrap=True)
    for each in fleet["problems"]:
        place = f"{each['file']}:{each['line']}:{each['column']}"
        field = f"{each['field']}: " if each["field"] else ""
        allowed = f"; allowed: {each['allowed']}" if each["allowed"] else ""
        text = output.cell(f"{place}: {field}{each['message']}{allowed}")
        printer.print(f"[red]error[/] {text}", soft_wrap=True)
    for text in fleet.get("state_problems", ()):
        printer.print(f"[red]error[/] {output.cell(text)}", soft_wrap=True)
    if fleet["prune_held"]:
        text = f"pruning is held: {output.cell(fleet['prune_held'])}"
        advice = "'reconvirt approve prune' lets those go whose manifests are gone"
        printer.print(f"[yellow]held[/] {text}; {advice}", soft_wrap=True)


def _watch(client: Client, name: str | None, form: str) -> None:
    """Show changes until somebody ends it: a table that is drawn anew, or lines if piped."""
    fleets = (_only(fleet, name) for fleet in client.stream("watch"))
    printer = output.console()
    if form in ("json", "yaml"):
        for fleet in fleets:
            if form == "yaml":
                click.echo("---")
            output.print_value(fleet, form)
        return
    wide = form == "wide"
    if printer.is_terminal:
        with Live(console=printer, auto_refresh=False) as live:
            for fleet in fleets:
                live.update(status_table(fleet["virtualServers"], wide=wide), refresh=True)
        return
    for changed in _changes(fleets):
        printer.print(status_table(changed, wide=wide))


def _changes(fleets: Iterable[Fleet]) -> Iterator[list[Mapping[str, Any]]]:
    """Of each fleet those statuses that look other than before; never none."""
    shown: dict[str, object] = {}
    for fleet in fleets:
        seen = {each["name"]: _looks(each) for each in fleet["virtualServers"]}
        changed = [
            each
            for each in fleet["virtualServers"]
            if shown.get(each["name"]) != seen[each["name"]]
        ]
        shown = seen
        if changed:
            yield changed


def _looks(status: Mapping[str, Any]) -> object:
    """What a reader sees of a status; when it was looked at is no change."""
    return {key: each for key, each in status.items() if key not in ("updated", "next_look")}
