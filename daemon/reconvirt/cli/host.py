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
from reconvirt.cli.wanted import Wanted, read_source, refuse_other_state
from reconvirt.controller.config import Config
from reconvirt.controller.hosts.fences import Fence, Fences
from reconvirt.controller.hosts.known_hosts import KnownHost, KnownHosts
from reconvirt.controller.hosts.resync import remains
from reconvirt.controller.state_store import Unreadable
from reconvirt.hypervisor.errors import HypervisorError
from reconvirt.hypervisor.moving import Host


@click.group()
def host() -> None:
    """The hosts between which virtual servers are moved."""


@host.command(name="list")
@options.settings
@options.output_option("table", "json")
@exit_codes({0: "listed", 1: "it is not known which hosts there are"})
def list_hosts(
    desired: Path | None, connect: str | None, config_file: Path | None, form: str
) -> None:
    """Show every other host that was ever known here, and when it last answered.

    A host that no manifest describes any more is 'retired': it is asked until it has answered that
    it has none of our virtual servers, and may have one until then.
    """
    config = options.read_config(config_file, desired=desired, connect=connect)
    known, fences = _read(config, read_source(config))
    if form == "json":
        output.print_json([_value(each, fences) for each in known])
        return
    rows = output.table("NAME", "STATE", "LAST ANSWER", "URI", "HOST UUID")
    for each in known:
        answered = _time(each.last_answer)
        cells = (each.name, _state(each, fences), answered, each.uri, each.identity.uuid or None)
        rows.add_row(*map(output.cell, cells))
    output.console().print(rows)


@host.command()
@click.argument("name")
@click.option("--reason", default="made sure of by a person", help="How it was made sure of.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.settings
@exit_codes({0: "noted", 1: "it is not known, it is this host, or it cannot be noted"})
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
    refuse_other_state(config)
    if name == config.own_host:
        raise Failure(f"{name} is this host")
    known, _ = _read(config, read_source(config))
    found = _find(known, name)
    if not yes:
        click.confirm(f"Is {name} off, or cut from network and storage, for sure?", abort=True)
    try:
        fence = Fence(reason, getpass.getuser(), time.time())
        Fences(store_of(config)).add(found, fence)
    except OSError as error:
        raise Failure(f"it cannot be stored: {error}") from error
    output.console().print(f"{name} counts as off until it answers again")


@host.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.settings
@exit_codes({0: "removed", 1: "it is not known, still described, or may have a virtual server"})
def remove(
    name: str,
    desired: Path | None,
    connect: str | None,
    config_file: Path | None,
    *,
    yes: bool,
) -> None:
    """Forget a host that never comes back: it is not asked any more.

    Its Host manifest must be gone, and it must be fenced, or answer that it has none of our virtual
    servers. If it runs one all the same, a second copy may be started here.
    """
    config = options.read_config(config_file, desired=desired, connect=connect)
    wanted = read_source(config)
    refuse_other_state(config)
    known, fences = _read(config, wanted)
    found = _find(known, name)
    if found.described:
        raise Failure(f"{name} is described by a Host manifest: remove that first")
    if not fences.covers(found) and (why := _may_have(found, wanted)):
        raise Failure(f"{why}\nIf it is off for sure, say so first: 'reconvirt host fenced {name}'")
    if not yes:
        click.confirm(f"Forget {name}? It must never run one of our servers again.", abort=True)
    store = store_of(config)
    try:
        KnownHosts(store, config.own_host).forget(found.uri)
        Fences(store).release(name)
    except OSError as error:
        raise Failure(f"it cannot be kept: {error}") from error
    output.console().print(f"{name} is not asked any more")


def _read(config: Config, wanted: Wanted) -> tuple[tuple[KnownHost, ...], Fences]:
    """All known hosts, those of the manifests included, and the fences."""
    store = store_of(config)
    known = KnownHosts(store, config.own_host)
    known.describe(wanted.inventory.hosts)
    known.own_is_not_asked()
    try:
        return known.others(), Fences(store)
    except Unreadable as error:
        raise Failure(str(error)) from error


def _find(known: tuple[KnownHost, ...], name: str) -> KnownHost:
    for each in known:
        if name in (each.name, each.uri):
            return each
    names = ", ".join(each.name for each in known) or "none"
    raise Failure(f"there is no other host {name}; known are: {names}")


def _may_have(host: KnownHost, wanted: Wanted) -> str:
    """Why a host may still have one of our virtual servers; "" if it says that it has none."""
    try:
        connection = Host(host.uri)
        try:
            answer = connection.census(marks=True)
        finally:
            connection.close()
    except HypervisorError as error:
        return f"{host.name} cannot be asked whether it has one of our virtual servers: {error}"
    found = remains(answer, wanted.desired)
    return f"{host.name} still has {', '.join(found)}" if found else ""


def _state(host: KnownHost, fences: Fences) -> str:
    state = "described" if host.described else "retired"
    return f"{state}, fenced" if fences.covers(host) else state


def _time(seconds: float) -> str | None:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else None


def _value(host: KnownHost, fences: Fences) -> dict[str, object]:
    return {
        "name": host.name,
        "uri": host.uri,
        "described": host.described,
        "fenced": fences.covers(host),
        "hostUuid": host.identity.uuid or None,
        "hostname": host.identity.hostname or None,
        "firstSeen": host.first_seen or None,
        "lastSeen": host.last_seen or None,
        "lastAnswer": host.last_answer or None,
    }
