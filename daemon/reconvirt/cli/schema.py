"""``reconvirt schema``."""

from __future__ import annotations

import click

from reconvirt.cli import options, output
from reconvirt.domain.reference import manifest_reference
from reconvirt.domain.schema import manifest_schema
from reconvirt.manifest.host import host_schema


@click.command()
@click.option("--host", is_flag=True, help="What a manifest of a host may say, as JSON Schema.")
@options.output_option("json", "markdown")
def schema(form: str, host: bool) -> None:
    """Print what a manifest may say: as JSON Schema for editors, or as text for people."""
    if host:
        output.print_json(host_schema())
    elif form == "json":
        output.print_json(manifest_schema())
    else:
        click.echo(manifest_reference(), nl=False)
