"""``reconvirt exits``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import click

from reconvirt.cli import options, output
from reconvirt.cli.exit_codes import exit_codes
from reconvirt.cli.failure import Failure
from reconvirt.hypervisor.errors import HypervisorError
from reconvirt.hypervisor.stats import Reading, StatisticsConnection
from reconvirt.metrics.emulators import find_emulators
from reconvirt.metrics.perf_record import record_window
from reconvirt.metrics.perf_report import Exit, Report, ReportError
from reconvirt.metrics.settings import PerfSettings


@click.command()
@click.argument("name", shell_complete=options.complete_names)
@click.option("--live", is_flag=True, help="Again and again, until Ctrl-C.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1, max=3600),
    default=2.0,
    show_default=True,
    help="How long exits are recorded.",
)
@options.connect_option
@options.config_option
@options.output_option("table", "json")
@exit_codes({0: "shown", 1: "error, it does not run, or nobody tells of its KVM exits"})
def exits(
    name: str,
    live: bool,
    seconds: float,
    connect: str | None,
    config_file: Path | None,
    form: str,
) -> None:
    """Show why a running virtual server has left the guest: its KVM exits, by reason.

    They are recorded with 'perf kvm stat' for a short while, on this host, as root. Where perf is
    not to be had, or sees nothing, KVM's own counters are shown, as far as libvirt knows them.
    """
    config = options.read_config(config_file, connect=connect)
    settings = replace(config.metrics.settings.perf, window_seconds=seconds)
    try:
        with StatisticsConnection(config.connect) as connection:
            while True:
                _show(_look(connection, name, settings), form, clear=live and form == "table")
                if not live:
                    return
    except HypervisorError as error:
        raise Failure(f"libvirt at {config.connect}: {error}") from error
    except KeyboardInterrupt:
        return


def _look(connection: StatisticsConnection, name: str, settings: PerfSettings) -> Report:
    before = _read(connection, name)
    process = find_emulators().get(before.uuid)
    if process is None:
        raise Failure(f"{name}: its QEMU does not run on this host")
    try:
        window = record_window(settings, {name: process})
    except ReportError as error:
        click.echo(f"reconvirt: perf: {error.trouble}: {error}", err=True)
        time.sleep(settings.window_seconds)
        return _counted(before, _read(connection, name))
    report = replace(window.reports[name], lost=window.lost)
    if report.count:
        return report
    try:
        counted = _counted(before, _read(connection, name))
    except Failure:
        return report
    if counted.count:
        # There are kernels whose KVM counts its exits, and does not trace them.
        click.echo("reconvirt: perf has seen none; these are KVM's own counters", err=True)
        return counted
    return report


def _read(connection: StatisticsConnection, name: str) -> Reading:
    for reading in connection.read_all():
        if reading.name == name:
            if reading.domain_id is None:
                raise Failure(f"{name}: it does not run")
            return reading
    raise Failure(f"{name}: there is no such virtual server")


def _counted(before: Reading, after: Reading) -> Report:
    """KVM's own counters, and by how much they have grown."""
    grown: dict[str, int] = {}
    for key, value in after.values.items():
        group, _, rest = key.partition(".")
        if group == "vcpu" and rest.endswith("exits.sum"):
            event = rest.split(".")[1]
            grown[event] = grown.get(event, 0) + value - before.values.get(key, 0)
    if not grown:
        raise Failure(f"{after.name}: neither perf nor libvirt tells of its KVM exits")
    rows = tuple(Exit(event, count, 0.0, None, None, 0.0) for event, count in grown.items())
    return Report("vmexit", rows, grown.get("exits", sum(grown.values())), 0.0)


def _show(report: Report, form: str, *, clear: bool) -> None:
    if form == "json":
        output.print_json(asdict(report))
        return
    console = output.console()
    if clear:
        console.clear()
    columns = output.table("EXIT", "COUNT", "COUNT %", "TIME", "TIME %", "LEAST", "MOST", "MEAN")
    for each in report.exits:
        cells: Mapping[str, float | None] = {
            "least": each.least,
            "most": each.most,
            "mean": each.mean if each.seconds else None,
        }
        columns.add_row(
            output.cell(each.reason),
            str(each.count),
            _share(each.count, report.count),
            _duration(each.seconds or None),
            _share(each.seconds, report.seconds),
            *(_duration(value) for value in cells.values()),
        )
    console.print(columns)
    lost = f", {report.lost} pieces of the recording lost" if report.lost else ""
    console.print(f"{report.count} exits, {_duration(report.seconds)} in all{lost}")


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.2f} {unit}"
    return f"{seconds / 1e-9:.0f} ns"
