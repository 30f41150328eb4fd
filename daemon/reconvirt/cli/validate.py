"""``reconvirt validate``."""

from __future__ import annotations

from pathlib import Path

import click

from reconvirt.cli import output
from reconvirt.cli.wanted import read_wanted
from reconvirt.domain.advice import advise


@click.command()
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH..."
)
@click.pass_context
def validate(context: click.Context, paths: tuple[Path, ...]) -> None:
    """Check manifests, files or directories of them, without libvirt.

    The book's advice on what is allowed and will do harm some day is told besides.

    Exit codes: 0 all are good, 1 something is wrong with one of them.
    """
    wanted = read_wanted(*paths)
    snapshot = wanted.snapshot
    output.print_problems(snapshot.problems)
    for name, desired in wanted.desired.items():
        for advice in advise(desired):
            place = snapshot.manifests[name].position
            output.console(stderr=True).print(
                f"{output.cell(place)}: {output.cell(advice.field)}: {output.cell(advice.message)}",
                style="yellow",
                soft_wrap=True,
            )
    count = len(snapshot.manifests)
    text = f"{count} manifest{'' if count == 1 else 's'} good"
    if snapshot.problems:
        errors = len(snapshot.problems)
        output.console().print(f"{text}, {errors} problem{'' if errors == 1 else 's'}")
        context.exit(1)
    output.console().print(text)
