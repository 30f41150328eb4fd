"""``reconvirt migrate``: looking before, and ending what runs; moving is done by manifests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import click

from reconvirt.cli import options, output
from reconvirt.cli.asking import is_named
from reconvirt.cli.client import Client, NoDaemon, one
from reconvirt.cli.exit_codes import exit_codes
from reconvirt.cli.failure import Failure
from reconvirt.cli.state import daemon_of, store_of
from reconvirt.cli.wanted import Wanted, connected, read_source
from reconvirt.controller.config import Config
from reconvirt.controller.hosts.abort import abort_migration
from reconvirt.controller.hosts.migration_journal import MigrationJournal
from reconvirt.controller.hosts.report import same_host
from reconvirt.domain.changes import Change, Plan
from reconvirt.domain.effects import Effect
from reconvirt.domain.migration import Finding, already_there, copied_images, make_order
from reconvirt.domain.preflight import preflight
from reconvirt.hypervisor.errors import HypervisorError
from reconvirt.hypervisor.moving import Host, survey

REFUSED = 1


@click.command()
@click.argument("name", shell_complete=options.complete_names)
@click.argument("host", required=False)
@click.option("--check", is_flag=True, help="Tell what stands against moving it to this host.")
@click.option("--abort", is_flag=True, help="End the migration that runs; it goes on here.")
@options.settings
@options.socket_option
@options.output_option("table", "json")
@click.pass_context
@exit_codes(
    {0: "nothing stands against it, or it is being ended", REFUSED: "something does, or an error"}
)
def migrate(
    context: click.Context,
    name: str,
    host: str | None,
    desired: Path | None,
    connect: str | None,
    config_file: Path | None,
    socket: Path | None,
    form: str,
    *,
    check: bool,
    abort: bool,
) -> None:
    """Look whether a virtual server can be moved, or end a migration.

    It is moved by its manifest: state another spec.host. What was ended stays here until its
    manifest changes, or 'reconvirt reconcile NAME' has it tried again. The daemon is asked to end
    it; where none runs, libvirt is.
    """
    if check == abort:
        raise click.UsageError("state --check NAME HOST, or --abort NAME")
    config = options.read_config(config_file, desired=desired, connect=connect, socket__path=socket)
    if abort:
        _abort(name, config, form)
        return
    wanted = read_source(config)
    findings = check_move(wanted, name, host or "", config.connect)
    if form == "json":
        found = [{"reason": each.reason, "remedy": each.remedy} for each in findings]
        output.print_json({"name": name, "host": host, "findings": found})
    for each in findings if form == "table" else ():
        click.echo(f"{each.reason}\n    {each.remedy}")
    if form == "table" and not findings:
        click.echo(f"nothing stands against moving {name} to {host}")
    context.exit(REFUSED if findings else 0)


def _abort(name: str, config: Config, form: str) -> None:
    message = None
    if not is_named("connect"):
        with suppress(NoDaemon):
            message = _ask_to_abort(name, config.socket.path)
    if message is None:
        message = _abort_at_libvirt(name, config)
    if form == "json":
        output.print_json({"message": message})
    else:
        output.console().print(output.cell(message), soft_wrap=True)


def _ask_to_abort(name: str, socket: Path) -> str:
    return str(Client(socket).send("DELETE", one(name, "migration"))["message"])


def _abort_at_libvirt(name: str, config: Config) -> str:
    """Have the daemon of this libvirt end it, wherever it listens; where none runs, libvirt."""
    with connected(config.connect) as hypervisor:
        daemon = daemon_of(config, hypervisor)
        if daemon is not None:
            try:
                return _ask_to_abort(name, Path(daemon.socket))
            except NoDaemon as absent:
                raise Failure(
                    f"{daemon} must be asked, or it tries the migration again; but {absent}"
                ) from absent
        try:
            abort_migration(config.connect, name, MigrationJournal(store_of(config)))
        except OSError as error:
            raise Failure(
                f"{name}: its migration is not ended: it cannot be stored that it shall not be "
                f"tried again: {error}"
            ) from error
    return f"{name}: its migration is being ended"


def tell_findings(plan: Plan, wanted: Wanted, uri: str) -> Plan:
    """The plan, with what stands against moving its virtual server, if it is to be moved."""
    moves = [each for each in plan.waiting if each.field == "host"]
    if not moves:
        return plan
    told: list[Change] = []
    for host in wanted.inventory.destinations(wanted.desired[plan.name]):
        try:
            reasons = [str(each) for each in check_move(wanted, plan.name, host.name, uri)]
        except Failure as failure:
            reasons = [str(failure)]
        if not reasons:
            # The first one that can have it, as the daemon tries them.
            rest = tuple(each for each in plan.waiting if each not in moves)
            return replace(plan, waiting=(*rest, replace(moves[0], new=host.name)))
        told += (Change("host", moves[0].old, host.name, Effect.REFUSED, each) for each in reasons)
    return replace(plan, refused=(*plan.refused, *told))


def check_move(wanted: Wanted, name: str, host: str, uri: str) -> tuple[Finding, ...]:
    """What stands against moving a virtual server from here to another host.

    Raises:
        Failure: it is not here, or one of the hosts cannot be asked.
    """
    hosts = wanted.inventory.hosts
    if host not in hosts or host == wanted.inventory.own:
        others = ", ".join(each.name for each in wanted.inventory.others) or "none"
        raise Failure(f"{host or 'no host'} is none of the other hosts; there are: {others}")
    desired = wanted.select([name])[name]
    with _opened(uri) as here, _opened(hosts[host].uri) as there:
        observed = here.observe(name, desired.uuid)
        if observed is None:
            raise Failure(f"{name} is not on this host")
        observed = here.with_hindrances(observed)
        order = make_order(desired, observed, hosts[host])
        pair = (hosts.get(wanted.inventory.own), hosts[host])
        found = survey(here, there, observed, order)
        findings = (*same_host(here, there, host), *preflight(observed, order, pair, found))
        for image in copied_images(observed, order).values():
            if there.image_is_there(image.path):
                findings += (already_there(host, image.path),)
        return findings


@contextmanager
def _opened(uri: str) -> Iterator[Host]:
    try:
        connection = Host(uri)
        try:
            yield connection
        finally:
            connection.close()
    except HypervisorError as error:
        raise Failure(f"libvirt at {uri}: {error}") from error
