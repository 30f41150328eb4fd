"""``reconvirt metrics``."""

from __future__ import annotations

from pathlib import Path

import click

from reconvirt.cli import options
from reconvirt.cli.exit_codes import exit_codes
from reconvirt.cli.failure import Failure
from reconvirt.cli.wanted import connected
from reconvirt.metrics.exposition import write_textfile
from reconvirt.metrics.fleet import FleetStatus
from reconvirt.metrics.reference import metrics_reference
from reconvirt.metrics.service import MetricsService
from reconvirt.metrics.users import make_line


@click.command()
@options.connect_option
@options.config_option
@click.option(
    "--textfile",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write them to this file, for node_exporter, instead of printing them.",
)
@click.option(
    "--user",
    metavar="NAME",
    help="Ask for a password and print the line for 'metrics.users_file'; nothing else.",
)
@click.option("--reference", is_flag=True, help="Print the list of all metrics, in Markdown.")
@exit_codes({0: "printed or written", 1: "error"})
def metrics(
    connect: str | None,
    config_file: Path | None,
    textfile: Path | None,
    user: str | None,
    reference: bool,
) -> None:
    """Collect the metrics of the virtual servers once, and print them.

    The daemon serves these and its own; this needs no daemon.
    """
    if user is not None:
        if not user or ":" in user:
            raise Failure("a name must not be empty and has no colon")
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        click.echo(make_line(user, password))
        return
    if reference:
        click.echo(metrics_reference(), nl=False)
        return
    config = options.read_config(config_file, connect=connect)
    with connected(config.connect):  # says best why there is none
        status = FleetStatus(connected=True)
        service = MetricsService(
            config.metrics.settings, config.connect, lambda: status, workers=config.workers
        )
        if not service.collector.collect():
            raise Failure(f"libvirt at {config.connect} gives no statistics")
    if textfile is None:
        click.echo(service.exposition.text(), nl=False)
        return
    try:
        write_textfile(service.exposition.text(), textfile)
    except OSError as error:
        raise Failure(f"{textfile}: {error.strerror}") from error
