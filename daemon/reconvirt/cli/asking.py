"""Whom a command asks: the daemon, or, where none runs, libvirt itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click
from click.core import ParameterSource

from reconvirt.cli import output
from reconvirt.cli.client import Client, NoDaemon
from reconvirt.cli.failure import Failure
from reconvirt.cli.look import Look, look
from reconvirt.controller.config import Config
from reconvirt.controller.desk import Unknown

Answer = TypeVar("Answer")


def is_named(*options: str) -> bool:
    """Whether one of the options is on the command line, and not in a file or the environment."""
    context = click.get_current_context()
    sources = (context.get_parameter_source(each) for each in options)
    return ParameterSource.COMMANDLINE in sources


def ask(
    config: Config,
    name: str | None,
    from_daemon: Callable[[Client], Answer],
    from_look: Callable[[Look], Answer],
) -> Answer:
    """The daemon's answer, or one found without it.

    Whoever says on the command line where manifests or libvirt are does not mean the daemon's.

    Args:
        config: where everything is.
        name: the only virtual server of interest; None for all.
        from_daemon: asks the daemon.
        from_look: makes the answer out of a look at libvirt.

    Raises:
        Failure: nobody can answer.
    """
    if not is_named("desired", "connect"):
        try:
            return from_daemon(Client(config.socket.path))
        except NoDaemon:
            output.print_note(
                f"no daemon listens at {config.socket.path}; what follows is read from libvirt at "
                f"{config.connect} and the manifests in {config.desired}"
            )
    try:
        return from_look(look(config, name))
    except Unknown as error:
        raise Failure(str(error)) from error
