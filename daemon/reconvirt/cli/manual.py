"""``reconvirt manual``: the manual pages, printed from the program itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import resources

import click

from reconvirt import __version__
from reconvirt.cli.exit_codes import codes_of, exit_codes_reference
from reconvirt.cli.roff import manual_page
from reconvirt.cli.run import run
from reconvirt.controller.config.describe import config_reference
from reconvirt.controller.guide import conditions_reference
from reconvirt.domain.reference import manifest_reference

PAGES = {
    "reconvirt.1": "keep KVM virtual servers the way their manifests say",
    "reconvirtd.8": "the daemon that keeps KVM virtual servers as their manifests say",
    "reconvirt.toml.5": "the configuration of reconvirt on a host",
    "reconvirt-manifest.5": "what a virtual server shall be",
    "reconvirt-conditions.7": "what may be the matter with a virtual server, and what to do",
}
DOCUMENTS = ("conditions.md", "exit-codes.md")

_SEE_ALSO = """
## See also

**reconvirt**(1), **reconvirtd**(8), **reconvirt.toml**(5), **reconvirt-manifest**(5),
**reconvirt-conditions**(7), **virsh**(1)
"""

_EXIT_STATUS = """## Exit status

Each command tells its own above. All end with 1 when they are called in a wrong way or the
configuration cannot be used, and with 130 when they are interrupted.
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
@click.argument("page", type=click.Choice([*PAGES, *DOCUMENTS]))
@click.pass_context
def manual(context: click.Context, page: str) -> None:
    """Print a manual page, for packages, or a page of the documentation.

    Such as: reconvirt manual reconvirt.1 > reconvirt.1
    """
    program = context.find_root().command
    texts: dict[str, Callable[[], str]] = {
        "reconvirt.1": lambda: commands_text(program),
        "reconvirtd.8": daemon_text,
        "reconvirt.toml.5": lambda: f"{_FILE}{config_reference()}",
        "reconvirt-manifest.5": lambda: manifest_reference().replace(
            "# Manifests", "# Description"
        ),
        "reconvirt-conditions.7": lambda: conditions_reference().replace(
            "# Conditions", "# Description", 1
        ),
        "conditions.md": conditions_reference,
        "exit-codes.md": lambda: exit_codes_reference(all_commands(program)),
    }
    text = texts[page]()
    if page in PAGES:
        name, _, section = page.rpartition(".")
        whole = f"{text}\n{_SEE_ALSO}"
        text = manual_page(name, int(section), PAGES[page], whole, __version__)
    click.echo(text, nl=False)


def all_commands(program: click.Command) -> Iterator[tuple[str, click.Command]]:
    """All commands by what is typed, those of groups as well."""
    return _commands(program, "reconvirt")


def daemon_text() -> str:
    """The text of reconvirtd(8), which is written by hand but for the exit codes."""
    file = resources.files("reconvirt.cli") / "reconvirtd.md"
    rows = "\n".join(f"| `{code}` | {meaning} |" for code, meaning in codes_of(run).items())
    return file.read_text(encoding="utf-8").replace("EXIT_CODES", rows)


def commands_text(program: click.Command) -> str:
    """All commands with their options, in Markdown."""
    return "\n".join(
        (
            "## Synopsis\n\n`reconvirt` COMMAND [OPTION]... [ARGUMENT]...\n",
            f"## Description\n\n{_help(program)}\n",
            "## Commands",
            *(_command(name, each) for name, each in all_commands(program) if not each.hidden),
            _EXIT_STATUS,
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
