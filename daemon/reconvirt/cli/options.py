"""The options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from reconvirt.cli.failure import Failure
from reconvirt.controller.config import Config, ConfigError, load_config

Command = TypeVar("Command", bound=Callable[..., Any])


def desired_option(command: Command) -> Command:
    """``--desired DIR``."""
    return click.option(
        "--desired",
        type=click.Path(path_type=Path),
        envvar="RECONVIRT_DESIRED",
        show_envvar=True,
        help="The directory of the manifests (or one manifest file).",
    )(command)


def connect_option(command: Command) -> Command:
    """``--connect URI``, which reads better as ``--against`` in a check of manifests."""
    return click.option(
        "-c",
        "--connect",
        "--against",
        "connect",
        metavar="URI",
        envvar="RECONVIRT_CONNECT",
        show_envvar=True,
        help="The libvirt to connect to, such as qemu:///system.",
    )(command)


def config_option(command: Command) -> Command:
    """``--config FILE``."""
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="RECONVIRT_CONFIG",
        show_envvar=True,
        help="The settings, in TOML; /etc/reconvirt/reconvirt.toml if it is there.",
    )(command)


def socket_option(command: Command) -> Command:
    """``--socket PATH``."""
    return _socket_option("socket")(command)


def override_socket_option(command: Command) -> Command:
    """``--socket PATH``, named as the setting that it overrides."""
    return _socket_option("socket__path")(command)


def _socket_option(name: str) -> Callable[[Command], Command]:
    return click.option(
        "--socket",
        name,
        type=click.Path(path_type=Path),
        envvar="RECONVIRT_SOCKET",
        show_envvar=True,
        help="The unix socket of the daemon.",
    )


def daemon_settings(command: Command) -> Command:
    """The two options that say where the daemon is."""
    return socket_option(config_option(command))


def settings(command: Command) -> Command:
    """The three options that say what is wanted, and where."""
    return desired_option(connect_option(config_option(command)))


def output_option(*formats: str) -> Callable[[Command], Command]:
    """``-o FORMAT``."""
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="How the result is printed.",
    )


def name_argument(command: Command) -> Command:
    """``NAME``, completed from the manifests."""
    return click.argument("name", shell_complete=complete_names)(command)


def names_argument(command: Command) -> Command:
    """``[NAME…]``, completed from the manifests."""
    return click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_names)(
        command
    )


def read_config(config_file: Path | None, **overrides: Any) -> Config:
    """The settings of the file and of the command line.

    Raises:
        Failure: the file cannot be used.
    """
    try:
        return load_config(config_file, **overrides)
    except ConfigError as error:
        raise Failure(str(error)) from error


def complete_names(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The names in the manifests that begin with what is typed."""
    from reconvirt.cli.wanted import read_source  # noqa: PLC0415 - slow to load, seldom needed

    try:
        config = load_config(
            context.params.get("config_file"), desired=context.params.get("desired")
        )
        names = read_source(config).desired
    except (ConfigError, Failure):
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
