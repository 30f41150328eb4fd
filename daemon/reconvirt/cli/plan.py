"""``reconvirt plan``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.syntax import Syntax

from reconvirt.cli import options, output
from reconvirt.cli.exact import diff_definitions
from reconvirt.cli.exit_codes import exit_codes
from reconvirt.cli.migrate import tell_findings
from reconvirt.cli.wanted import read_source, survey
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.domain.changes import Change
from reconvirt.domain.effects import Effect
from reconvirt.manifest.problem import Problem

NOTHING, ERROR, CHANGES = 0, 1, 2

_NOTHING_DONE = (Phase.HELD, Phase.REFUSED)
_EFFECT_STYLES = {
    Effect.LIVE: "green",
    Effect.GUEST: "cyan",
    Effect.NEXT_START: "yellow",
    Effect.REFUSED: "red",
}


@click.command()
@options.names_argument
@options.settings
@options.output_option("table", "json")
@click.option(
    "--exact",
    is_flag=True,
    help="Show also what libvirt would store, line by line: its driver is run once more, in a "
    "scratch directory, for the definitions of the plan.",
)
@click.pass_context
@exit_codes(
    {
        NOTHING: "nothing to do",
        CHANGES: "changes, those that wait for the next start or are only reported included",
        ERROR: "error, or something is refused, or does not answer",
    }
)
def plan(
    context: click.Context,
    names: tuple[str, ...],
    desired: Path | None,
    connect: str | None,
    config_file: Path | None,
    form: str,
    *,
    exact: bool,
) -> None:
    """Show what 'apply' would do, and do nothing."""
    config = options.read_config(config_file, desired=desired, connect=connect)
    wanted = read_source(config, options.read_config(config_file))
    chosen = wanted.select(names)
    outcomes = [
        replace(each, plan=tell_findings(each.plan, wanted, config.connect))
        for each in survey(config, wanted, chosen, all_=not names).outcomes.values()
    ]
    problems = wanted.snapshot.problems
    diffs = diff_definitions(each.plan for each in outcomes) if exact else {}
    _print(outcomes, form, wanted.snapshot.revision, problems, diffs)
    if problems or any(_is_refused(each) for each in outcomes):
        context.exit(ERROR)
    context.exit(NOTHING if all(each.plan.empty for each in outcomes) else CHANGES)


def _is_refused(each: Outcome) -> bool:
    return bool(each.plan.refused) or each.phase in (Phase.REFUSED, Phase.FAILED)


def _print(
    outcomes: list[Outcome],
    form: str,
    revision: str,
    problems: Iterable[Problem],
    diffs: Mapping[str, str],
) -> None:
    if form == "json":
        output.print_json(
            {
                "revision": revision,
                "virtualServers": [_value(each, diffs) for each in outcomes],
                "problems": output.problems_value(problems),
            }
        )
        return
    output.print_problems(problems)
    printer = output.console()
    due = [each for each in outcomes if not each.plan.empty or _is_refused(each)]
    noted = [each for each in outcomes if each.plan.unlisted or each.plan.overlays]
    for each in [each for each in outcomes if each in due or each in noted]:
        _print_plan(each, printer)
        if each.name in diffs:
            printer.print(Syntax(diffs[each.name], "diff", background_color="default"))
    rest = len(outcomes) - len(due)
    printer.print(f"{len(due)} with changes, {rest} as wanted")


def _value(each: Outcome, diffs: Mapping[str, str]) -> dict[str, Any]:
    value = output.plan_value(each.plan)
    value = {**value, "phase": str(each.phase), "message": each.message}
    return {**value, "definition": diffs[each.name]} if each.name in diffs else value


def _print_plan(outcome: Outcome, printer: Console) -> None:
    each = outcome.plan
    told = f" ({output.cell(outcome.message)})" if outcome.phase in _NOTHING_DONE else ""
    printer.print(f"[bold]{output.cell(each.name)}[/]{told}")
    rows = output.table("STEP", "FIELD", "OLD", "NEW", "TAKES EFFECT", "REASON")
    for step in each.steps:
        verb = step.action.verb
        if not step.changes:
            rows.add_row(verb, "-", "-", "-", "-", "keeps what was applied in the metadata")
        for change in step.changes:
            _add(rows.add_row, verb, change)
            verb = ""
    for change in each.waiting:
        _add(rows.add_row, "wait", change)
    for change in each.refused:
        _add(rows.add_row, "refuse", change)
    for change in each.reported:
        texts = (output.cell(text) for text in (change.field, change.old, change.new))
        rows.add_row(
            "-", *texts, "[yellow]reported only[/]", "changed by hand; policy.drift: report"
        )
    for word, changes in (
        ("[red]diverged[/]", each.diverged),
        ("[magenta]unlisted[/]", each.unlisted),
        ("[dim]overlay[/]", each.overlays),
    ):
        for change in changes:
            texts = (output.cell(text) for text in (change.field, change.old, change.new))
            rows.add_row("-", *texts, word, output.cell(change.reason))
    if rows.row_count:
        printer.print(rows)
    printer.print()


def _add(add_row: Callable[..., None], verb: str, change: Change) -> None:
    effect = f"[{_EFFECT_STYLES[change.effect]}]{change.effect}[/]"
    texts = (output.cell(each) for each in (change.field, change.old, change.new))
    add_row(verb, *texts, effect, output.cell(change.reason))
