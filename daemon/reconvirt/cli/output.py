"""Printing: tables and colour for people, JSON and YAML for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click
import yaml
from rich.console import Console
from rich.table import Table

from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.domain.changes import Change, Plan, Step
from reconvirt.manifest.problem import Problem

STYLES = {
    Phase.CONVERGED: "green",
    Phase.DIFFERS: "yellow",
    Phase.WAITING_FOR_RESTART: "yellow",
    Phase.WAITING_FOR_GUEST: "cyan",
    Phase.WAITING: "cyan",
    Phase.STALLED: "red",
    Phase.DRIFTED: "yellow",
    Phase.HELD: "magenta",
    Phase.NO_ANSWER: "red",
    Phase.REFUSED: "red",
    Phase.FAILED: "red",
    Phase.ELSEWHERE: "dim",
    Phase.UNMANAGED: "dim",
    Phase.UNREADABLE: "red",
}


def console(*, stderr: bool = False) -> Console:
    """Where people read; in colour only on a terminal and without NO_COLOR.

    Piped output is not folded to the width of a terminal that is not there.
    """
    made = Console(stderr=stderr, highlight=False, soft_wrap=False)
    if not made.is_terminal:
        made.width = 250
    return made


def table(*columns: str) -> Table:
    """A plain table: no frame, aligned columns."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def cell(value: object) -> str:
    """A value as text; nothing is a dash, and square brackets are no markup."""
    from rich.markup import escape  # noqa: PLC0415 - one small function

    return "-" if value is None else escape(str(value))


def styled(phase: Phase) -> str:
    """A phase in its colour."""
    return f"[{STYLES[phase]}]{phase}[/]"


def print_note(text: str) -> None:
    """Something to know besides the result."""
    console(stderr=True).print(f"reconvirt: {cell(text)}", style="dim", soft_wrap=True)


def print_value(value: Any, form: str) -> None:
    """One document, in the form ``json`` or ``yaml``."""
    (print_json if form == "json" else print_yaml)(value)


def print_json(value: Any) -> None:
    """One JSON document."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_yaml(value: Any) -> None:
    """One YAML document."""
    click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)


def print_problems(problems: Iterable[Problem]) -> None:
    """What is wrong with manifests, one line each."""
    printer = console(stderr=True)
    for problem in problems:
        printer.print(f"[red]error[/] {cell(problem)}", soft_wrap=True)


def problems_value(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Problems as JSON."""
    return [
        {
            "file": each.position.file,
            "line": each.position.line,
            "column": each.position.column,
            "field": each.field,
            "message": each.message,
            "allowed": each.allowed,
        }
        for each in problems
    ]


def change_value(change: Change) -> dict[str, Any]:
    """A change as JSON."""
    return {
        "field": change.field,
        "old": change.old,
        "new": change.new,
        "effect": str(change.effect),
        "reason": change.reason,
    }


def step_value(step: Step) -> dict[str, Any]:
    """A step as JSON."""
    return {"action": step.action.verb, "changes": [change_value(each) for each in step.changes]}


def plan_value(plan: Plan) -> dict[str, Any]:
    """A plan as JSON."""
    return {
        "name": plan.name,
        "steps": [step_value(each) for each in plan.steps],
        "waiting": [change_value(each) for each in plan.waiting],
        "refused": [change_value(each) for each in plan.refused],
        "drifted": [change_value(each) for each in plan.drifted],
        "unlisted": [change_value(each) for each in plan.unlisted],
    }


def outcome_value(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON; ``steps`` are those that were taken."""
    return {
        "name": outcome.name,
        "phase": str(outcome.phase),
        "message": outcome.message,
        "steps": [step_value(each) for each in outcome.steps],
        "waiting": [change_value(each) for each in outcome.plan.waiting],
        "refused": [change_value(each) for each in outcome.plan.refused],
        "drifted": [change_value(each) for each in outcome.plan.drifted],
        "unlisted": [change_value(each) for each in outcome.plan.unlisted],
    }
