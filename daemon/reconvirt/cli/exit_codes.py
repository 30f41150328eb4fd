"""The exit codes of all commands, stated once: help, manual page and documentation print them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
Codes = Mapping[int, str]

_NAME = "exit_codes"
_REFERENCE = """\
# Exit codes

Scripts and jobs of a CI can tell by them what has come out. Besides those in the table, each
command ends with 1 when it is called in a wrong way or its configuration cannot be used, and with
130 when it is interrupted (Ctrl-C) or a question is answered by no. What went wrong is told on
standard error.

2 always means that there are differences, and 3 that something waits; neither is an error.

| command | exit code | meaning |
|---|---|---|
"""


def exit_codes(codes: Codes) -> Callable[[Command], Command]:
    """State what a command's exit codes mean; they end its help.

    Args:
        codes: the meaning of each, in the order in which they are told.
    """

    def state(command: Command) -> Command:
        setattr(command, _NAME, codes)
        told = "; ".join(f"{code} {meaning}" for code, meaning in codes.items())
        sentence = textwrap.fill(f"Exit codes: {told}.", 100)
        command.__doc__ = f"{textwrap.dedent(_docstring(command))}\n\n{sentence}"
        return command

    return state


def codes_of(command: click.Command) -> Codes:
    """What a command's exit codes mean; {} if it does not say."""
    return getattr(command.callback, _NAME, {})


def exit_codes_reference(commands: Iterator[tuple[str, click.Command]]) -> str:
    """The table for people, in Markdown.

    Args:
        commands: all commands by what is typed, those of groups as well.
    """
    return _REFERENCE + "".join(_rows(commands))


def _rows(commands: Iterator[tuple[str, click.Command]]) -> Iterator[str]:
    for name, command in commands:
        if command.hidden:
            continue
        shown = f"`{name}`"
        for code, meaning in codes_of(command).items():
            yield f"| {shown} | {code} | {meaning} |\n"
            shown = ""


def _docstring(command: Callable[..., Any]) -> str:
    first, _, rest = (command.__doc__ or "").partition("\n")
    return f"{first}\n{textwrap.dedent(rest)}".rstrip()
