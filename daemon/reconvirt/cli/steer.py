"""The commands that have the daemon do something: reconcile, hold, release, approve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from reconvirt.cli import options, output
from reconvirt.cli.client import Client, one
from reconvirt.cli.exit_codes import exit_codes

_FORMS = ("text", "json", "yaml")


@click.command()
@click.argument("name", required=False, shell_complete=options.complete_names)
@click.option("--source", is_flag=True, help="Read the manifests now, instead of one look.")
@options.daemon_settings
@options.output_option(*_FORMS)
@exit_codes({0: "the daemon has begun", 1: "error, or there is no such virtual server"})
def reconcile(
    name: str | None, config_file: Path | None, socket: Path | None, form: str, *, source: bool
) -> None:
    """Have the daemon look at a virtual server now.

    It does so as if nothing about it had ever failed. With --source it reads the manifests now,
    and looks at what has changed in them.
    """
    if source == (name is not None):
        raise click.UsageError("either NAME or --source must be given")
    config = options.read_config(config_file, socket__path=socket)
    path = one(name, "reconcile") if name is not None else "source/reconcile"
    _tell(Client(config.socket.path).send("POST", path), form)


@click.command()
@options.name_argument
@click.option("--reason", required=True, metavar="TEXT", help="Why; for those who find it so.")
@options.daemon_settings
@options.output_option(*_FORMS)
@exit_codes({0: "it is held", 1: "error, or there is no such virtual server"})
def hold(name: str, reason: str, config_file: Path | None, socket: Path | None, form: str) -> None:
    """Have a virtual server left alone until it is released.

    It is still looked at, and what differs is shown. A hold outlives the daemon.
    """
    config = options.read_config(config_file, socket__path=socket)
    held = Client(config.socket.path).send("PUT", one(name, "hold"), {"reason": reason})
    message = f"{name} is held by {held['who']}: {held['reason']}"
    _tell({**held, "message": message} if form == "text" else held, form)


@click.command()
@options.name_argument
@options.daemon_settings
@options.output_option(*_FORMS)
@exit_codes({0: "it is released", 1: "error, or it was not held"})
def release(name: str, config_file: Path | None, socket: Path | None, form: str) -> None:
    """End a hold.

    The virtual server is brought to what its manifest wants again.
    """
    config = options.read_config(config_file, socket__path=socket)
    _tell(Client(config.socket.path).send("DELETE", one(name, "hold")), form)


@click.group()
def approve() -> None:
    """Approve what is held until a person says so."""


@approve.command()
@options.daemon_settings
@options.output_option(*_FORMS)
@exit_codes({0: "approved, or nothing is held", 1: "error"})
def prune(config_file: Path | None, socket: Path | None, form: str) -> None:
    """Let those go whose manifests are gone.

    They are held since they are many at a time. What is done about them is what their own policy
    says (on_removal).
    """
    config = options.read_config(config_file, socket__path=socket)
    names = Client(config.socket.path).send("POST", "prune/approve")["names"]
    message = f"approved: {', '.join(names)}" if names else "nothing is held"
    _tell({"names": names, **({"message": message} if form == "text" else {})}, form)


def _tell(answer: Any, form: str) -> None:
    if form == "text":
        output.console().print(output.cell(answer["message"]), soft_wrap=True)
    else:
        output.print_value(answer, form)
