"""The ``reconvirt`` program."""

from __future__ import annotations

import traceback

import click

from reconvirt import __version__
from reconvirt.cli.apply import apply
from reconvirt.cli.completion import completion
from reconvirt.cli.config import config
from reconvirt.cli.describe import describe
from reconvirt.cli.diff import diff
from reconvirt.cli.ending import end
from reconvirt.cli.events import events
from reconvirt.cli.exits import exits
from reconvirt.cli.failure import Failure
from reconvirt.cli.get import get
from reconvirt.cli.host import host
from reconvirt.cli.import_ import import_command
from reconvirt.cli.manual import manual
from reconvirt.cli.metrics import metrics
from reconvirt.cli.migrate import migrate
from reconvirt.cli.plan import plan
from reconvirt.cli.render import render
from reconvirt.cli.run import run
from reconvirt.cli.schema import schema
from reconvirt.cli.steer import approve, hold, reconcile, release
from reconvirt.cli.sync import sync
from reconvirt.cli.validate import validate
from reconvirt.cli.why import why


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", prog_name="reconvirt")
def reconvirt() -> None:
    """Keep KVM virtual servers the way their manifests say.

    Manifests are YAML files, one virtual server a document, in a directory that is usually a git
    work tree. 'plan' shows what is different, 'apply' puts it right once, 'run' keeps it right:
    the daemon. 'get', 'describe', 'diff', 'why' and 'events' tell what it knows; 'reconcile',
    'hold', 'release' and 'approve' steer it.
    """


_COMMANDS = (
    *(run, apply, plan, validate, render, get, describe, diff, why, events),
    *(reconcile, hold, release, approve, import_command, migrate, host, exits, metrics),
    *(schema, config, sync, completion, manual),
)
for command in _COMMANDS:
    reconvirt.add_command(command)


def main() -> None:
    """Run the program; the exit codes are told in each command's help."""
    end(_run())


def _run() -> int:
    """The exit code of the command."""
    try:
        code = reconvirt.main(prog_name="reconvirt", standalone_mode=False)
    except click.Abort:
        return 130
    except click.UsageError as error:
        error.show()
        # Not 2: that means "changes" to those who run 'plan'.
        return 1
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Failure as error:
        click.echo(f"reconvirt: {error}", err=True)
        return 1
    except SystemExit as leaving:
        code = leaving.code
    except Exception:  # noqa: BLE001 - whatever it is, the end is in good order
        traceback.print_exc()
        return 1
    return code if isinstance(code, int) else 0
