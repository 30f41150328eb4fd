"""The manual pages, which packages carry."""

from __future__ import annotations

import subprocess

import pytest
from click.testing import CliRunner

from reconvirt.cli.main import reconvirt
from reconvirt.cli.manual import PAGES
from reconvirt.cli.roff import manual_page
from reconvirt.controller.config import Config
from reconvirt.controller.config.settings import walk


def page(name: str) -> str:
    done = CliRunner().invoke(reconvirt, ["manual", name], prog_name="reconvirt")
    assert 0 == done.exit_code, done.output
    return done.output


@pytest.mark.parametrize("name", PAGES)
def test_every_page_can_be_typeset(name: str) -> None:
    """Without a complaint."""
    command = ["groff", "-man", "-Tutf8", "-Kutf8", "-ww", "-z"]
    done = subprocess.run(command, input=page(name), text=True, capture_output=True, check=True)

    assert "" == done.stderr


def test_the_page_of_the_program_tells_every_command() -> None:
    """With its options; hidden commands are not for people."""
    text = page("reconvirt.1")

    for name, command in reconvirt.commands.items():
        assert (f".SS \\fBreconvirt {name}" in text) is not command.hidden, name
    assert "config check" in text
    assert "\\fB\\-c, \\-\\-connect, \\-\\-against URI\\fR" in text


def test_the_page_of_the_configuration_tells_every_setting() -> None:
    """Its sections are headings."""
    text = page("reconvirt.toml.5").replace("\\-", "-")

    for path, each in walk(Config):
        wanted = f".SS \\fB[{path}]\\fR" if each.is_section else f".TP\n\\fB{each.name}\\fR"
        assert wanted in text, path


def test_what_roff_would_take_for_its_own() -> None:
    """Dots, quotes and backslashes at the beginning of a line."""
    made = manual_page("x", 1, "y", ".dot\n'quote\n\\back\n```\n.code - x\n```\n[a](b.md)", "0")

    body = "\\&.dot\n\\&'quote\n\\eback\n.PP\n.RS 4\n.nf\n\\&.code \\- x\n.fi\n.RE\na\n"
    assert made.endswith(body)
