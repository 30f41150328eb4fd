"""The commands that have the daemon do something: reconcile, hold, release, approve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from reconvirt.api.answering import answer_hold
from reconvirt.api.answers import DoneAnswer
from reconvirt.api.wire import as_json
from reconvirt.cli import options, output
from reconvirt.cli.asking import is_named
from reconvirt.cli.client import Client, NoDaemon, one
from reconvirt.cli.exit_codes import exit_codes
from reconvirt.cli.holding import hold_directly, release_directly
from reconvirt.controller.config import Config

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
@options.settings
@options.socket_option
@options.output_option(*_FORMS)
@exit_codes({0: "it is held", 1: "error, or there is no such virtual server"})
def hold(
    name: str,
    reason: str,
    desired: Path | None,
    connect: str | None,
    config_file: Path | None,
    socket: Path | None,
    form: str,
) -> None:
    """Have a virtual server left alone until it is released.

    It is still looked at, and what differs is shown. A hold outlives the daemon, follows its
    virtual server when that is renamed, and counts also when its manifest is gone. Where no daemon
    runs it is stored all the same.
    """
    config = options.read_config(config_file, desired=desired, connect=connect, socket__path=socket)
    held = _ask(config, "PUT", name, {"reason": reason})
    if held is None:
        held = as_json(answer_hold(hold_directly(config, name, reason)))
    message = f"{name} is held by {held['who']}: {held['reason']}"
    _tell({**held, "message": message} if form == "text" else held, form)


@click.command()
@options.name_argument
@options.settings
@options.socket_option
@options.output_option(*_FORMS)
@exit_codes({0: "it is released", 1: "error, or it was not held"})
def release(
    name: str,
    desired: Path | None,
    connect: str | None,
    config_file: Path | None,
    socket: Path | None,
    form: str,
) -> None:
    """End a hold.

    The virtual server is brought to what its manifest wants again. What an annotation holds whose
    manifest is gone is released as well.
    """
    config = options.read_config(config_file, desired=desired, connect=connect, socket__path=socket)
    answer = _ask(config, "DELETE", name)
    if answer is None:
        release_directly(config, name)
        answer = as_json(DoneAnswer(f"{name} is released"))
    _tell(answer, form)


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


def _ask(config: Config, method: str, name: str, body: object = None) -> Any:
    """The daemon's answer; None if none listens, or another libvirt was named."""
    if is_named("desired", "connect"):
        return None
    try:
        return Client(config.socket.path).send(method, one(name, "hold"), body)
    except NoDaemon:
        output.print_note(
            f"no daemon listens at {config.socket.path}; holds are stored in "
            f"{config.state_directory}, where it finds them"
        )
        return None


def _tell(answer: Any, form: str) -> None:
    if form == "text":
        output.console().print(output.cell(answer["message"]), soft_wrap=True)
    else:
        output.print_value(answer, form)
