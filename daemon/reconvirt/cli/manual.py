"""``reconvirt manual``: the manual pages, printed from the program itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import resources

import click

from reconvirt import __version__
from reconvirt.cli.roff import manual_page
from reconvirt.controller.config.describe import config_reference
from reconvirt.domain.reference import manifest_reference

PAGES = {
    "reconvirt.1": "keep KVM virtual servers the way their manifests say",
    "reconvirtd.8": "the daemon that keeps KVM virtual servers as their manifests say",
    "reconvirt.toml.5": "the configuration of reconvirt on a host",
    "reconvirt-manifest.5": "what a virtual server shall be",
}

_SEE_ALSO = """
## See also

**reconvirt**(1), **reconvirtd**(8), **reconvirt.toml**(5), **reconvirt-manifest**(5), **virsh**(1)
"""

_FILES = """## Files

`/etc/reconvirt/reconvirt.toml`, `/etc/reconvirt/conf.d/*.toml`: the configuration."""

_FILE = """
## Description

`/etc/reconvirt/reconvirt.toml` says how the daemon and the commands run, in TOML. Drop-ins, the
files `/etc/reconvirt/conf.d/*.toml`, are read after it in the order of their names; what a later
file states goes before what an earlier one does. `reconvirt config check` checks them, and
`reconvirt config show` tells what is in force and which file states it. Without any file the
defaults hold.

## Settings outside any section

"""


@click.command(hidden=True)
@click.argument("page", type=click.Choice(list(PAGES)))
@click.pass_context
def manual(context: click.Context, page: str) -> None:
    """Print a manual page, for packages: reconvirt manual reconvirt.1 > reconvirt.1."""
    name, _, section = page.rpartition(".")
    texts: dict[str, Callable[[], str]] = {
        "reconvirt.1": lambda: commands_text(context.find_root().command),
        "reconvirtd.8": daemon_text,
        "reconvirt.toml.5": lambda: f"{_FILE}{config_reference()}",
        "reconvirt-manifest.5": lambda: manifest_reference().replace(
            "# Manifests", "# Description"
        ),
    }
    text = f"{texts[page]()}\n{_SEE_ALSO}"
    click.echo(manual_page(name, int(section), PAGES[page], text, __version__), nl=False)


def daemon_text() -> str:
    """The text of reconvirtd(8), which is written by hand."""
    file = resources.files("reconvirt.cli") / "reconvirtd.md"
    return file.read_text(encoding="utf-8")


def commands_text(program: click.Command) -> str:
    """All commands with their options, in Markdown."""
    return "\n".join(
        (
            "## Synopsis\n\n`reconvirt` COMMAND [OPTION]... [ARGUMENT]...\n",
            f"## Description\n\n{_help(program)}\n",
            "## Commands",
            *(
                _command(name, each)
                for name, each in _commands(program, "reconvirt")
                if not each.hidden
            ),
            _FILES,
        )
    )


def _commands(group: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(group, click.Group):
        yield name, group
        return
    for each in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), each)
        if command is not None:
            yield from _commands(command, f"{name} {each}")


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name)
    usage = " ".join(command.collect_usage_pieces(context))
    rows = [each.get_help_record(context) for each in command.params]
    options = [f"| `{_cell(row[0])}` | {_cell(row[1])} |" for row in rows if row and row[1]]
    table = ["", "| option | meaning |", "|---|---|", *options] if options else []
    return "\n".join((f"### `{name}` {usage}", "", _help(command), *table, ""))


def _help(command: click.Command) -> str:
    return "\n".join(line.strip() for line in (command.help or "").split("\f")[0].splitlines())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
