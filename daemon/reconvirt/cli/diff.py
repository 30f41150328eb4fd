"""``reconvirt diff``."""

from __future__ import annotations

from pathlib import Path

import click

from reconvirt.api.answers import LinesAnswer
from reconvirt.api.wire import as_json
from reconvirt.cli import options, output
from reconvirt.cli.asking import ask
from reconvirt.cli.client import one
from reconvirt.cli.exit_codes import exit_codes
from reconvirt.cli.statuses import line_table

SAME, DIFFERENT = 0, 2


@click.command()
@options.name_argument
@options.settings
@options.socket_option
@options.output_option("table", "json", "yaml")
@click.option("-a", "--all", "all_lines", is_flag=True, help="Show also what is as wanted.")
@click.pass_context
@exit_codes(
    {
        SAME: "all is as wanted",
        DIFFERENT: "something differs",
        1: "error, or there is no such virtual server",
    }
)
def diff(
    context: click.Context,
    name: str,
    desired: Path | None,
    connect: str | None,
    config_file: Path | None,
    socket: Path | None,
    form: str,
    *,
    all_lines: bool,
) -> None:
    """Show wanted, configured and running values.

    They stand beside each other; what is as wanted is left out without --all. Where no daemon
    runs, libvirt is read instead.
    """
    config = options.read_config(config_file, desired=desired, connect=connect, socket__path=socket)
    found = ask(
        config,
        name,
        lambda client: client.get(one(name, "lines")),
        lambda look: as_json(LinesAnswer(name, look.lines(name))),
    )
    differing = [each for each in found["lines"] if each["differs"]]
    shown = found["lines"] if all_lines else differing
    if form != "table":
        output.print_value({**found, "lines": shown}, form)
    else:
        printer = output.console()
        if shown:
            printer.print(line_table(shown))
        same = len(found["lines"]) - len(differing)
        verb = "differs" if len(differing) == 1 else "differ"
        printer.print(f"{len(differing)} {verb}, {same} as wanted")
    context.exit(DIFFERENT if differing else SAME)
