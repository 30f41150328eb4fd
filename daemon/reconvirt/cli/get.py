"""``reconvirt get``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from lxml.etree import _Element

from reconvirt.cli import options, output
from reconvirt.cli.failure import Failure
from reconvirt.cli.wanted import Wanted, connected, observe, plan_one, read_wanted
from reconvirt.controller.outcome import Phase, settle
from reconvirt.domain.changes import Plan
from reconvirt.domain.fields import FIELD_BY_NAME
from reconvirt.domain.mark import read_mark
from reconvirt.domain.observed import Observed
from reconvirt.domain.show import Shown, show_value
from reconvirt.domain.xmltree import parse_xml


@dataclass(frozen=True, slots=True)
class Row:
    """One virtual server as the table shows it; what is not there is None."""

    name: str
    state: str | None
    reason: str | None
    phase: Phase
    vcpus: Shown
    vcpus_maximum: Shown
    memory: Shown
    shares: Shown
    uuid: str | None
    domain_id: int | None
    manifest: str | None
    message: str


@click.command()
@click.argument("name", required=False, shell_complete=options.complete_names)
@options.settings
@options.output_option("table", "wide", "json", "yaml")
def get(
    name: str | None,
    desired: Path | None,
    connect: str | None,
    config_file: Path | None,
    form: str,
) -> None:
    """Show virtual servers: their state, and whether they are as their manifests want.

    Those that reconvirt has made and whose manifest is gone are shown as not managed.
    """
    config = options.read_config(config_file, desired=desired, connect=connect)
    wanted = read_wanted(config.desired, config=config)
    with connected(config.connect) as hypervisor:
        observed = observe(hypervisor, [name] if name else None)
        plans = {
            each: plan_one(hypervisor, desired, observed.get(each), config.rules, wanted.inventory)
            for each, desired in wanted.desired.items()
            if name in (None, each)
        }
    rows = _rows(wanted, observed, plans)
    if name and not rows:
        raise Failure(f"{name}: no manifest states it, and libvirt has none that reconvirt made")
    _print(rows, form, wanted)


def _rows(wanted: Wanted, observed: Mapping[str, Observed], plans: Mapping[str, Plan]) -> list[Row]:
    rows = [_managed(plan, wanted, observed.get(name)) for name, plan in plans.items()]
    for name, each in observed.items():
        config = parse_xml(each.config)
        if name not in wanted.desired and read_mark(config) is not None:
            message = "its manifest is gone or refused; it is left as it is"
            rows.append(_row(name, each, Phase.UNMANAGED, None, message))
    return sorted(rows, key=lambda row: row.name)


def _managed(plan: Plan, wanted: Wanted, observed: Observed | None) -> Row:
    other = wanted.inventory.destination(wanted.desired[plan.name])
    if other is not None and not plan.waiting:
        phase, message = Phase.ELSEWHERE, f"it is for {other.name}"
    elif plan.steps and not plan.refused:
        fields = dict.fromkeys(change.field for step in plan.steps for change in step.changes)
        phase, message = Phase.DIFFERS, f"due: {', '.join(fields) or 'record'}"
    else:
        phase, message = settle(plan)
    place = str(wanted.snapshot.manifests[plan.name].position)
    return _row(plan.name, observed, phase, place, message)


def _row(
    name: str, observed: Observed | None, phase: Phase, manifest: str | None, message: str
) -> Row:
    if observed is None:
        nothing = (None,) * 4
        return Row(name, None, None, phase, *nothing, None, None, manifest, message)
    root = parse_xml(observed.live or observed.config)
    return Row(
        name,
        str(observed.state),
        observed.reason or None,
        phase,
        _value(root, "vcpu.current"),
        _value(root, "vcpu.maximum"),
        _value(root, "memory.size"),
        _value(root, "cputune.shares"),
        observed.uuid,
        observed.domain_id,
        manifest,
        message,
    )


def _value(root: _Element, name: str) -> Shown:
    row = FIELD_BY_NAME[name]
    return show_value(row, row.read(root))


def _print(rows: list[Row], form: str, wanted: Wanted) -> None:
    if form in ("json", "yaml"):
        value = {
            "revision": wanted.snapshot.revision,
            "virtualServers": [{**asdict(row), "phase": str(row.phase)} for row in rows],
            "problems": output.problems_value(wanted.snapshot.problems),
        }
        (output.print_json if form == "json" else output.print_yaml)(value)
        return
    output.print_problems(wanted.snapshot.problems)
    wide = ("REASON", "SHARES", "ID", "UUID", "MANIFEST") if form == "wide" else ()
    columns = output.table("NAME", "STATE", "STATUS", "VCPUS", "MEMORY", *wide, "MESSAGE")
    for row in rows:
        vcpus = None if row.vcpus is None else f"{row.vcpus}/{row.vcpus_maximum}"
        extra = (row.reason, row.shares, row.domain_id, row.uuid, row.manifest) if wide else ()
        columns.add_row(
            output.cell(row.name),
            output.cell(row.state),
            output.styled(row.phase),
            output.cell(vcpus),
            output.cell(row.memory),
            *(output.cell(each) for each in extra),
            output.cell(row.message),
        )
    output.console().print(columns)
