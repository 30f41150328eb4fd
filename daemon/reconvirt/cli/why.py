"""``reconvirt why``."""

from __future__ import annotations

from pathlib import Path

import click

from reconvirt.cli import options, output
from reconvirt.cli.asking import ask
from reconvirt.cli.client import one
from reconvirt.cli.exit_codes import exit_codes
from reconvirt.controller.explain import explain


@click.command()
@options.name_argument
@options.settings
@options.socket_option
@options.output_option("text", "json", "yaml")
@exit_codes({0: "told", 1: "error, or there is no such virtual server"})
def why(
    name: str,
    desired: Path | None,
    connect: str | None,
    config_file: Path | None,
    socket: Path | None,
    form: str,
) -> None:
    """Tell what a virtual server is waiting for.

    And what you can do about it. Where no daemon runs, libvirt is read instead.
    """
    config = options.read_config(config_file, desired=desired, connect=connect, socket__path=socket)
    found = ask(
        config,
        name,
        lambda client: client.get(one(name, "explanation")),
        lambda look: {"name": name, "explanation": explain(look.status(name), look.fleet)},
    )
    if form == "text":
        printer = output.console()
        # Folded between words where a person reads, whole where a program does.
        printer.print(output.cell(found["explanation"]), soft_wrap=not printer.is_terminal)
    else:
        output.print_value(found, form)
