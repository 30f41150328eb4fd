"""``reconvirt validate``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from reconvirt.cli import options, output
from reconvirt.cli.exit_codes import exit_codes
from reconvirt.cli.wanted import Wanted, find_overdrawn, read_wanted
from reconvirt.controller.config import Config
from reconvirt.domain.advice import advise
from reconvirt.domain.rules import object_to
from reconvirt.manifest.problem import Position, Problem


@click.command()
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH..."
)
@options.config_option
@click.pass_context
@exit_codes({0: "all are good", 1: "something is wrong with one of them"})
def validate(context: click.Context, paths: tuple[Path, ...], config_file: Path | None) -> None:
    """Check manifests, files or directories of them, without libvirt.

    With --config also against what that host lets manifests ask for. The book's advice on what
    is allowed and will do harm some day is told besides.
    """
    wanted = read_wanted(*paths)
    snapshot = wanted.snapshot
    problems = snapshot.problems
    if config_file is not None:
        problems += _objections(wanted, options.read_config(config_file))
    output.print_problems(problems)
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
    if problems:
        errors = len(problems)
        output.console().print(f"{text}, {errors} problem{'' if errors == 1 else 's'}")
        context.exit(1)
    output.console().print(text)


def _objections(wanted: Wanted, config: Config) -> tuple[Problem, ...]:
    """What the host would refuse."""
    here = replace(wanted, inventory=replace(wanted.inventory, own=config.own_host))
    too_much = find_overdrawn(here, config, None)
    return tuple(
        Problem(_place(wanted, name, each.field), each.field, f"{each.new}: {each.reason}")
        for name, desired in wanted.desired.items()
        for each in (*object_to(desired, config.rules), *too_much.get(name, ()))
    )


def _place(wanted: Wanted, name: str, field: str) -> Position:
    """Where a field, or the nearest that holds it, stands in its manifest."""
    manifest = wanted.snapshot.manifests[name]
    while field and field not in manifest.positions:
        field = field.rpartition(".")[0]
    return manifest.positions.get(field, manifest.position)
