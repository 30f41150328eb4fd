"""``reconvirt render``."""

from __future__ import annotations

from pathlib import Path

import click

from reconvirt.cli import options, output
from reconvirt.cli.exit_codes import exit_codes
from reconvirt.cli.wanted import connected, read_source, read_wanted
from reconvirt.domain.plan import render as render_xml
from reconvirt.domain.xmltree import hide_passwords


@click.command()
@click.argument("target", metavar="FILE|NAME")
@options.settings
@click.pass_context
@exit_codes({0: "printed", 1: "something is wrong with the manifest, or an error"})
def render(
    context: click.Context,
    target: str,
    desired: Path | None,
    connect: str | None,
    config_file: Path | None,
) -> None:
    """Print the domain XML that a manifest leads to.

    For a FILE: of new virtual servers, without libvirt. For a NAME in the manifests: what would
    be defined now, the current configuration with the manifest's changes in it. Passwords are
    not shown.
    """
    if Path(target).is_file():
        wanted = read_wanted(Path(target))
        output.print_problems(wanted.snapshot.problems)
        for each in wanted.desired.values():
            click.echo(hide_passwords(render_xml(each)))
        context.exit(1 if wanted.snapshot.problems else 0)
    config = options.read_config(config_file, desired=desired, connect=connect)
    chosen = read_source(config).select([target])[target]
    with connected(config.connect) as hypervisor:
        resolved, _ = hypervisor.look_around(chosen, config.rules)
        click.echo(
            hide_passwords(render_xml(resolved, hypervisor.observe(target, chosen.expected_uuid)))
        )
