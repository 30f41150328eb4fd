"""``reconvirt run``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from reconvirt.cli import options
from reconvirt.cli.exit_codes import exit_codes
from reconvirt.cli.failure import Failure
from reconvirt.controller.config import Config, load_config
from reconvirt.controller.daemon import Daemon
from reconvirt.controller.logs import configure
from reconvirt.controller.process_lock import LockFailed, holder_of, state_lock


@click.command()
@options.settings
@options.override_socket_option
@click.option(
    "--page-port",
    "page__port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    envvar="RECONVIRT_PAGE_PORT",
    show_envvar=True,
    help="The port of the status page; 0 for none.",
)
@click.option(
    "--log-format",
    type=click.Choice(["auto", "console", "json"]),
    help="auto: readable, or entries with fields under systemd's journal.",
)
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]))
@exit_codes(
    {
        0: "ended by a signal, in good order",
        1: "the configuration cannot be used, or another process has the libvirt or the state "
        "directory in use; the message says why",
    }
)
def run(config_file: Path | None, **overrides: object) -> None:
    """Run the daemon: keep the virtual servers as the manifests say.

    SIGTERM ends it after the step in hand; virtual servers run on. SIGHUP reads manifests and
    configuration again. Only one daemon runs for each libvirt and each state directory: another
    one ends at once, and says which process is the first. Beside that it serves the commands get,
    describe and so on at its socket, and a status page for browsers on this host.
    """
    from reconvirt.api.server import Server  # noqa: PLC0415 - slow to load, only for the daemon

    config = options.read_config(config_file, **overrides)

    def read_again() -> Config:
        fresh = load_config(config_file, **overrides)
        configure(fresh.log_format, sys.stderr, fresh.log_level)
        return fresh

    configure(config.log_format, sys.stderr, config.log_level)
    lock = state_lock(config)
    try:
        lock.take(holder_of(config, "run"))
        daemon = Daemon(config, read_again)
        with Server(daemon.desk, config):
            daemon.run()
    except LockFailed as failed:
        raise Failure(str(failed)) from failed
    finally:
        lock.release()
