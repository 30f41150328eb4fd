"""``reconvirt import``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from reconvirt.cli import options
from reconvirt.cli.exit_codes import exit_codes
from reconvirt.cli.failure import Failure
from reconvirt.cli.wanted import connected, observe
from reconvirt.domain.import_check import CannotImport, Imported, import_domain
from reconvirt.domain.observed import Observed

DONE, PROBLEMS = 0, 1


@click.command("import")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="All virtual servers of the host.")
@click.option(
    "-o",
    "--output-dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write DIR/NAME.yaml; a file that is there is left as it is. Else all is printed.",
)
@click.option(
    "--addresses",
    is_flag=True,
    help="State also the addresses that libvirt has chosen by itself (PCI and others).",
)
@options.connect_option
@options.config_option
@click.pass_context
@exit_codes({DONE: "all are written", PROBLEMS: "something could not be"})
def import_command(
    context: click.Context,
    names: tuple[str, ...],
    folder: Path | None,
    connect: str | None,
    config_file: Path | None,
    *,
    everything: bool,
    addresses: bool,
) -> None:
    """Write manifests for virtual servers that are there already.

    What libvirt fills in by itself is left out; what manifests have no key for stands in
    spec.xml; passwords are never written. Each manifest states the uuid, and so takes its
    virtual server over. It has been put to the test: applying it changes nothing.
    """
    if bool(names) == everything:
        raise click.UsageError("name virtual servers, or say --all")
    config = options.read_config(config_file, connect=connect)
    with connected(config.connect) as hypervisor:
        seen = observe(hypervisor, None if everything else names)
    known = {*seen.observed, *seen.unseen}
    if missing := [name for name in names if name not in known]:
        raise Failure(f"libvirt at {config.connect} has no virtual server {', '.join(missing)}")
    if folder is not None:
        _make(folder)
    for name, why in sorted(seen.unseen.items()):
        click.echo(f"reconvirt: {name}: not imported: {why}", err=True)
    written, problems = _import_all(seen.observed, folder, addresses=addresses)
    if folder is not None:
        click.echo(f"{written} manifests written to {folder}", err=True)
    context.exit(PROBLEMS if problems or seen.unseen else DONE)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"{folder}: cannot be made: {error.strerror}") from error


def _import_all(
    observed: Mapping[str, Observed], folder: Path | None, *, addresses: bool
) -> tuple[int, int]:
    """How many were written, and how many could not be."""
    written = problems = 0
    for name, each in sorted(observed.items()):
        try:
            imported = import_domain(each, addresses=addresses)
            _write(imported, folder, first=not written)
        except (CannotImport, OSError) as error:
            words = error.strerror if isinstance(error, OSError) else error
            click.echo(f"reconvirt: {name}: not imported: {words}", err=True)
            problems += 1
            continue
        written += 1
        for change in imported.waiting:
            click.echo(
                f"reconvirt: {name}: {change.field} differs in what runs; the manifest says what "
                "its configuration says",
                err=True,
            )
    return written, problems


def _write(imported: Imported, folder: Path | None, *, first: bool) -> None:
    """Print a manifest, or write it to a file that is not there yet.

    Raises:
        OSError: the file is there, or cannot be written.
    """
    if folder is None:
        click.echo(imported.text if first else f"---\n{imported.text}", nl=False)
        return
    path = folder / f"{imported.name}.yaml"
    with path.open("x", encoding="utf-8") as file:
        file.write(imported.text)
