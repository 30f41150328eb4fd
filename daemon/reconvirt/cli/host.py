"""``reconvirt host``."""

from __future__ import annotations

import getpass
import time
from pathlib import Path

import click

from reconvirt.cli import options, output
from reconvirt.cli.exit_codes import exit_codes
from reconvirt.cli.failure import Failure
from reconvirt.cli.state import store_of
from reconvirt.cli.wanted import read_source, refuse_other_state
from reconvirt.controller.holds import Hold
from reconvirt.controller.hosts.claims import FencedHosts


@click.group()
def host() -> None:
    """The hosts between which virtual servers are moved."""


@host.command()
@click.argument("name")
@click.option("--reason", default="made sure of by a person", help="How it was made sure of.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.settings
@exit_codes({0: "noted", 1: "no manifest describes it, it is this host, or it cannot be noted"})
def fenced(
    name: str,
    reason: str,
    desired: Path | None,
    connect: str | None,
    config_file: Path | None,
    *,
    yes: bool,
) -> None:
    """Say that a host is off for sure, so that its virtual servers may start on this one.

    Say it only when its power is off, or its network and storage are cut: a virtual server that
    runs on two hosts destroys its disks. It holds on this host until the other one answers again.
    """
    config = options.read_config(config_file, desired=desired, connect=connect)
    hosts = read_source(config).inventory.hosts
    refuse_other_state(config)
    if name not in hosts:
        raise Failure(f"no manifest describes a host {name}; there are: {', '.join(hosts)}")
    if name == config.own_host:
        raise Failure(f"{name} is this host")
    if not yes:
        click.confirm(f"Is {name} off, or cut from network and storage, for sure?", abort=True)
    try:
        who = getpass.getuser()
        FencedHosts(store_of(config)).add(name, Hold(reason, who, time.time()))
    except OSError as error:
        raise Failure(f"it cannot be stored: {error}") from error
    output.console().print(f"{name} counts as off until it answers again")
