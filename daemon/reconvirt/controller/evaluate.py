"""What is to be said of a virtual server: the one function that decides it.

The daemon, ``plan``, ``apply``, ``get``, ``diff``, ``why``, the page and the metrics show what
comes out of here, so that they say the same of one virtual server at one time. Nothing is asked
and nothing is done here: what is to be known is handed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reconvirt.controller.outcome import Outcome, Phase, settle
from reconvirt.domain.changes import Plan
from reconvirt.domain.desired import Desired
from reconvirt.domain.observed import Observed
from reconvirt.domain.ownership import is_ours
from reconvirt.domain.placing import NO_INVENTORY, Inventory, plan_elsewhere
from reconvirt.domain.plan import Host, make_plan


def evaluate(
    desired: Desired,
    observed: Observed | None,
    host: Host,
    *,
    inventory: Inventory = NO_INVENTORY,
    hold: str | None = None,
) -> Outcome:
    """What is to be said of a virtual server before anything is done about it.

    Args:
        desired: what is wanted, with its devices looked up on the host.
        observed: what libvirt has; None where it has no such domain.
        host: what must be known of the host.
        inventory: this host and the others.
        hold: why it is on hold; None if it is not.
    """
    if hold is not None:
        return held(desired.name, make_plan(desired, observed, host=host), observed, hold)
    if (elsewhere := place(desired, observed, inventory)) is not None:
        return elsewhere
    outcome = conclude(make_plan(desired, observed, host=host), observed)
    return stranded(outcome, inventory.stranded(desired))


def held(name: str, plan: Plan, observed: Observed | None, hold: str) -> Outcome:
    """What is said of one that is on hold: what differs, and that nothing is done about it."""
    message = f"left alone: {hold}"
    return Outcome(name, Phase.HELD, message, plan, observed=observed, hold=hold)


def place(desired: Desired, observed: Observed | None, inventory: Inventory) -> Outcome | None:
    """What is said of one that is another host's, as the manifests say; None if it is not."""
    plan = Plan(desired.name)
    if refusal := inventory.refusal(desired, observed):
        return Outcome(desired.name, Phase.REFUSED, refusal, plan, observed=observed)
    moved = plan_elsewhere(desired, observed, inventory)
    if moved is None:
        return None
    if observed is None:
        message = f"it is for {inventory.place(desired)}"
        return Outcome(desired.name, Phase.ELSEWHERE, message, moved)
    if not is_ours(desired, observed):
        message = "another virtual server of this name is here, which is left alone"
        return Outcome(desired.name, Phase.ELSEWHERE, message, moved, observed=observed)
    return conclude(moved, observed)


def stranded(outcome: Outcome, why: str) -> Outcome:
    """The same, or that it should have left this host and cannot."""
    if why and outcome.phase in (Phase.CONVERGED, Phase.WAITING_FOR_RESTART):
        return replace(outcome, phase=Phase.REFUSED, message=why)
    return outcome


def conclude(plan: Plan, observed: Observed | None) -> Outcome:
    """What a plan comes to of which no step was taken yet."""
    if plan.steps and not plan.refused:
        fields = dict.fromkeys(change.field for step in plan.steps for change in step.changes)
        message = f"due: {', '.join(fields) or 'record'}"
        return Outcome(plan.name, Phase.DIFFERS, message, plan, observed=observed)
    return Outcome(plan.name, *settle(plan), plan, observed=observed)


def find_observed(desired: Desired, domains: Mapping[str, Observed]) -> Observed | None:
    """The domain that a manifest means or meets: of its name, or else of its uuid.

    Args:
        desired: the manifest.
        domains: all domains, by name.
    """
    by_name = domains.get(desired.name)
    if by_name is not None:
        return by_name
    uuid = desired.expected_uuid
    return next((each for each in domains.values() if each.uuid == uuid), None)
