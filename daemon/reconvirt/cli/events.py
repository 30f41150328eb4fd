"""``reconvirt events``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from reconvirt.cli import options, output
from reconvirt.cli.client import Client
from reconvirt.cli.exit_codes import exit_codes
from reconvirt.cli.statuses import event_line, event_table


@click.command()
@click.argument("name", required=False, shell_complete=options.complete_names)
@options.daemon_settings
@options.output_option("table", "json", "yaml")
@click.option("-f", "--follow", is_flag=True, help="Go on, and show what happens.")
@click.option(
    "--last", type=click.IntRange(min=0), metavar="N", help="Only the last N of what was."
)
@exit_codes({0: "shown", 1: "error"})
def events(
    name: str | None,
    config_file: Path | None,
    socket: Path | None,
    form: str,
    last: int | None,
    *,
    follow: bool,
) -> None:
    """Show what has happened lately.

    To all virtual servers or to one, the oldest first. The daemon keeps the latest 2000; the
    journal has more. With --follow and -o json, each event is one line.
    """
    config = options.read_config(config_file, socket__path=socket)
    client = Client(config.socket.path)
    found = client.get("events", name=name)["events"]
    number = found[-1]["number"] if found else 0
    shown = found if last is None else found[len(found) - min(last, len(found)) :]
    if not follow:
        if form == "table":
            output.console().print(event_table(shown))
        else:
            output.print_value({"events": shown}, form)
        return
    for each in shown:
        _print_one(each, form)
    for each in client.stream("events", name=name, since=number, follow=1):
        _print_one(each, form)


def _print_one(event: dict[str, object], form: str) -> None:
    if form == "json":
        click.echo(json.dumps(event, ensure_ascii=False))
    elif form == "yaml":
        click.echo("---")
        output.print_yaml(event)
    else:
        output.console().print(event_line(event), soft_wrap=True)
