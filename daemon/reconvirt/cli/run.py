"""``reconvirt run``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from reconvirt.cli import options
from reconvirt.controller.config import Config, load_config
from reconvirt.controller.daemon import Daemon
from reconvirt.controller.logs import configure


@click.command()
@options.settings
@click.option(
    "--log-format",
    type=click.Choice(["auto", "console", "json"]),
    help="auto: readable, or entries with fields under systemd's journal.",
)
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]))
def run(config_file: Path | None, **overrides: object) -> None:
    """Run the daemon: keep the virtual servers as the manifests say.

    SIGTERM ends it after the step in hand; virtual servers run on. SIGHUP reads manifests and
    configuration again.
    """
    config = options.read_config(config_file, **overrides)

    def read_again() -> Config:
        fresh = load_config(config_file, **overrides)
        configure(fresh.log_format, sys.stderr, fresh.log_level)
        return fresh

    configure(config.log_format, sys.stderr, config.log_level)
    Daemon(config, read_again).run()
