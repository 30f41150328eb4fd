"""``reconvirt schema``."""

from __future__ import annotations

import click

from reconvirt.api.openapi import openapi_document
from reconvirt.cli import options, output
from reconvirt.cli.exit_codes import exit_codes
from reconvirt.domain.reference import manifest_reference
from reconvirt.domain.schema import manifest_schema
from reconvirt.manifest.host import host_schema


@click.command()
@options.output_option("json", "markdown", "openapi")
@click.option("--host", is_flag=True, help="What a manifest of a host may say, as JSON Schema.")
@exit_codes({0: "printed"})
def schema(form: str, *, host: bool) -> None:
    """Print what a manifest may say: as JSON Schema for editors, or as text for people.

    With -o openapi: what programs may ask the daemon for, as OpenAPI.
    """
    if host:
        output.print_json(host_schema())
    elif form == "openapi":
        output.print_json(openapi_document())
    elif form == "json":
        output.print_json(manifest_schema())
    else:
        click.echo(manifest_reference(), nl=False)
