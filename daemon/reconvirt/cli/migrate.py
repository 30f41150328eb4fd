"""``reconvirt migrate``: looking before, and ending what runs; moving is done by manifests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from reconvirt.cli import options, output
from reconvirt.cli.failure import Failure
from reconvirt.cli.wanted import Wanted, read_source
from reconvirt.domain.changes import Change, Plan
from reconvirt.domain.effects import Effect
from reconvirt.domain.migration import Finding, ask_about, image_sizes, make_order
from reconvirt.domain.preflight import preflight
from reconvirt.hypervisor.errors import HypervisorError
from reconvirt.hypervisor.moving import Host

REFUSED = 1


@click.command()
@click.argument("name", shell_complete=options.complete_names)
@click.argument("host", required=False)
@click.option("--check", is_flag=True, help="Tell what stands against moving it to this host.")
@click.option("--abort", is_flag=True, help="End the migration that runs; it goes on here.")
@options.settings
@options.output_option("table", "json")
@click.pass_context
def migrate(
    context: click.Context,
    name: str,
    host: str | None,
    desired: Path | None,
    connect: str | None,
    config_file: Path | None,
    form: str,
    *,
    check: bool,
    abort: bool,
) -> None:
    """Look whether a virtual server can be moved, or end a migration.

    It is moved by its manifest: state another spec.host. What was ended is tried again as long
    as the manifest says so.

    Exit codes: 0 nothing stands against it, or it was ended; 1 something does, or an error.
    """
    if check == abort:
        raise click.UsageError("state --check NAME HOST, or --abort NAME")
    config = options.read_config(config_file, desired=desired, connect=connect)
    if abort:
        with _opened(config.connect) as here:
            here.abort_migration(name)
        output.console().print(f"{name}: its migration is being ended")
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


def tell_findings(plan: Plan, wanted: Wanted, uri: str) -> Plan:
    """The plan, with what stands against moving its virtual server, if it is to be moved."""
    moves = [each for each in plan.waiting if each.field == "host"]
    if not moves:
        return plan
    host = str(moves[0].new)
    try:
        reasons = [str(each) for each in check_move(wanted, plan.name, host, uri)]
    except Failure as failure:
        reasons = [str(failure)]
    told = (Change("host", moves[0].old, host, Effect.REFUSED, each) for each in reasons)
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
        findings = preflight(observed, order, pair, there.inspect(ask_about(observed)))
        for path, _ in image_sizes(observed, order).values():
            if there.image_is_there(path):
                remedy = "it is never overwritten: move it away, if nobody needs it"
                findings += (Finding(f"{host} has something at {path}", remedy),)
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
