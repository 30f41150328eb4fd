"""``reconvirt sync``."""

from __future__ import annotations

from pathlib import Path

import click

from reconvirt.cli import options
from reconvirt.cli.exit_codes import exit_codes
from reconvirt.cli.failure import Failure
from reconvirt.controller.source.git import GitFailed
from reconvirt.controller.source.git_sync import sync as fetch


@click.command()
@options.config_option
@exit_codes({0: "fetched, or nothing new", 1: "the fetch has failed"})
def sync(config_file: Path | None) -> None:
    """Fetch the git repository of the manifests, as source.git in the configuration says.

    What was fetched before stays in force if this fails. The daemon sees by itself that there is
    something new.
    """
    settings = options.read_config(config_file).source.git
    if settings is None:
        raise Failure("the configuration has no section source.git; there is nothing to fetch")
    try:
        synced = fetch(settings)
    except (GitFailed, OSError) as error:
        raise Failure(f"{settings.remote or settings.repository}: {error}") from error
    if synced.before == synced.after:
        click.echo(f"nothing new: {synced.after}")
    else:
        click.echo(f"{synced.before or 'nothing'} → {synced.after}")
