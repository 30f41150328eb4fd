"""What must not be opened, since something else on the host uses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from reconvirt.domain.actions import (
    Action,
    Attach,
    Define,
    Destroy,
    Shutdown,
    Start,
    UpdateDevice,
)
from reconvirt.domain.changes import Change, Plan, Step
from reconvirt.domain.desired import Desired
from reconvirt.domain.effects import Effect
from reconvirt.domain.observed import Observed

InUse: TypeAlias = Callable[[str, str], tuple[str, ...]]
"""(uuid, XML of the domain or device that is to be opened) → what else uses its storage."""


def refuse_in_use(plan: Plan, desired: Desired, observed: Observed | None, in_use: InUse) -> Plan:
    """The plan without the steps that would open storage which something else uses.

    One that runs is not ended in order to be started again either.

    Args:
        plan: the plan.
        desired: what is wanted.
        observed: what libvirt has.
        in_use: tells what else uses it.
    """
    uuid = observed.uuid if observed else desired.expected_uuid
    kept: list[Step] = []
    refused: list[Change] = []
    for step in plan.steps:
        xml = _opens(step.action, plan, desired, observed)
        if xml and (conflicts := in_use(uuid, xml)):
            why = "; ".join(conflicts)
            refused += [replace(c, effect=Effect.REFUSED, reason=why) for c in step.changes[:1]]
        else:
            kept.append(step)
    if not refused:
        return plan
    gone = {change for step in plan.steps if step not in kept for change in step.changes}
    drifted = tuple(change for change in plan.drifted if change not in gone)
    all_refused = (*plan.refused, *refused)
    return replace(plan, steps=tuple(kept), refused=all_refused, drifted=drifted, recheck=True)


def _opens(action: Action, plan: Plan, desired: Desired, observed: Observed | None) -> str:
    """The XML of what a step opens, or will have opened by a later one; "" for nothing."""
    match action:
        case Attach(xml) | UpdateDevice(xml):
            return xml
        case Start(_, force_boot):
            saved = observed.saved if observed and not force_boot else None
            return saved or _next_start(plan, observed)
        case Shutdown() | Destroy() if desired.state in ("running", "paused"):
            return _next_start(plan, observed)
        case _:
            return ""


def _next_start(plan: Plan, observed: Observed | None) -> str:
    defined = (each.action.xml for each in plan.steps if isinstance(each.action, Define))
    return next(defined, observed.config if observed else "")
