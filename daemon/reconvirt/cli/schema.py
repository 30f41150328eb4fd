"""``reconvirt schema``."""

from __future__ import annotations

import click

from reconvirt.cli import options, output
from reconvirt.domain.reference import manifest_reference
from reconvirt.domain.schema import manifest_schema


@click.command()
@options.output_option("json", "markdown")
def schema(form: str) -> None:
    """Print what a manifest may say: as JSON Schema for editors, or as text for people."""
    if form == "json":
        output.print_json(manifest_schema())
    else:
        click.echo(manifest_reference(), nl=False)
