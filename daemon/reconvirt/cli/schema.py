"""``reconvirt schema``."""

from __future__ import annotations

import click

from reconvirt.cli import output
from reconvirt.domain.schema import manifest_schema


@click.command()
def schema() -> None:
    """Print the JSON Schema of manifests, for editors."""
    output.print_json(manifest_schema())
