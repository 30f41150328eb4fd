"""``reconvirt completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from reconvirt.cli.exit_codes import exit_codes
from reconvirt.cli.failure import Failure


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
@exit_codes({0: "printed", 1: "there is none for this shell"})
def completion(context: click.Context, shell: str) -> None:
    """Print a shell's completion script.

    For bash: reconvirt completion bash > /etc/bash_completion.d/reconvirt
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise Failure(f"no completion for {shell}")
    program = context.find_root().command
    click.echo(kind(program, {}, "reconvirt", "_RECONVIRT_COMPLETE").source())
