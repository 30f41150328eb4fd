"""``reconvirt config``."""

from __future__ import annotations

from pathlib import Path

import click

from reconvirt.cli import options, output
from reconvirt.cli.exit_codes import exit_codes
from reconvirt.cli.failure import Failure
from reconvirt.controller.config import ConfigError, load
from reconvirt.controller.config.describe import config_reference, config_schema, config_toml


@click.group()
def config() -> None:
    """Check, show and describe the configuration of this host."""


@config.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@options.config_option
@exit_codes({0: "all is good", 1: "problems, each with file, key and what is allowed"})
def check(file: Path | None, config_file: Path | None) -> None:
    """Check the configuration file and its drop-ins.

    Drop-ins are the files conf.d/*.toml beside it.
    """
    try:
        loaded = load(file or config_file)
    except ConfigError as error:
        raise Failure(str(error)) from error
    read = ", ".join(map(str, loaded.files)) or "no file; the defaults hold"
    click.echo(f"good: {read}")


@config.command()
@options.config_option
@exit_codes({0: "printed", 1: "problems, each with file, key and what is allowed"})
def show(config_file: Path | None) -> None:
    """Print all settings as they are in force, with the file that states each."""
    try:
        loaded = load(config_file)
    except ConfigError as error:
        raise Failure(str(error)) from error
    click.echo(config_toml(loaded.config, loaded.origins), nl=False)


@config.command()
@options.output_option("json", "markdown")
@exit_codes({0: "printed"})
def schema(form: str) -> None:
    """Print what the file may say: as JSON Schema for editors, or as text for people."""
    if form == "json":
        output.print_json(config_schema())
    else:
        click.echo(config_reference(), nl=False)
