"""Which evidence each action needs before it may be carried out, and who may order it.

The table is the one place that says what must be shown directly before a writing call;
:mod:`reconvirt.controller.guard` collects the evidence. An action without a row is never carried
out, and a test fails for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from reconvirt.domain import actions
from reconvirt.domain.actions import Action, Destroy, Dump, InjectNmi, Save, Shutdown
from reconvirt.domain.desired import Desired
from reconvirt.domain.observed import Observed, State


class Evidence(Enum):
    """What must be shown, in the order in which it is collected: what ages fastest comes last."""

    AUTHORITY = "the manifest in force, or its removal policy, says so"
    PLACEMENT = "no other host has it, or may have it"
    STORAGE = "no other virtual server or process writes to its storage"
    RESTARTABLE = "what is ended in order to be started again can be started"
    BUDGET = "the bound on writing calls is not reached"
    IDENTITY = "it is the domain that the plan was made from, as it was then"
    NOT_HELD = "it is not on hold"


_ALWAYS = frozenset({Evidence.AUTHORITY, Evidence.BUDGET, Evidence.NOT_HELD})
_CHANGES = _ALWAYS | {Evidence.IDENTITY}
_RUNS = _CHANGES | {Evidence.PLACEMENT, Evidence.STORAGE}
_OPENS_STORAGE = _CHANGES | {Evidence.STORAGE}
_ENDS = _CHANGES | {Evidence.RESTARTABLE}

EVIDENCE: Mapping[type[Action], frozenset[Evidence]] = {
    actions.Define: _CHANGES | {Evidence.PLACEMENT},
    actions.Record: _CHANGES,
    actions.Rename: _CHANGES,
    actions.SetAutostart: _CHANGES,
    actions.Start: _RUNS,
    actions.Resume: _CHANGES | {Evidence.PLACEMENT},
    actions.Wake: _CHANGES | {Evidence.PLACEMENT},
    actions.Suspend: _CHANGES,
    actions.Save: _CHANGES,
    actions.Shutdown: _ENDS,
    actions.Destroy: _ENDS,
    actions.InjectNmi: _CHANGES,
    actions.Dump: _CHANGES,
    actions.Undefine: _CHANGES,
    actions.SetVcpus: _CHANGES,
    actions.SetMemory: _CHANGES,
    actions.SetParameter: _CHANGES,
    actions.SetText: _CHANGES,
    actions.AddIothread: _CHANGES,
    actions.DeleteIothread: _CHANGES,
    actions.SetLifecycleAction: _ENDS,
    actions.Attach: _OPENS_STORAGE,
    actions.Detach: _CHANGES,
    actions.UpdateDevice: _OPENS_STORAGE,
    actions.Throttle: _CHANGES,
    actions.LimitInterface: _CHANGES,
    actions.GrowDisk: _CHANGES,
    # An image belongs to no domain yet; it is made only where nothing is, and grown under its lock.
    actions.CreateImage: _ALWAYS,
    actions.GrowImage: _ALWAYS,
}
"""The evidence that each action needs."""


def evidence_reference() -> str:
    """The table for people, in Markdown: actions that need the same share a row."""
    rows: dict[frozenset[Evidence], list[str]] = {}
    for action, needed in EVIDENCE.items():
        rows.setdefault(needed, []).append(action.verb)
    lines = ["| calls | evidence, in the order in which it is collected |", "|---|---|"]
    for needed, verbs in rows.items():
        shown = "; ".join(each.value for each in Evidence if each in needed)
        lines.append(f"| {', '.join(f'`{verb}`' for verb in verbs)} | {shown} |")
    return "\n".join(lines) + "\n"


def authority(
    action: Action, desired: Desired | None, on_removal: str, observed: Observed | None
) -> str:
    """What says that an action may be carried out, such as ``spec.state: shutoff``; "" if nothing.

    Args:
        action: what is to be done.
        desired: the manifest in force; None if it is gone.
        on_removal: the removal policy of one whose manifest is gone; "" if it has a manifest.
        observed: the domain; None if libvirt has none.
    """
    if desired is None:
        return _by_removal(action, on_removal)
    policy, says = desired.policy, "its manifest"
    match action:
        case Shutdown():
            says = _stops(desired)
        case Destroy():
            says = _ends_at_once(desired, observed)
        case Save():
            says = "spec.state: saved" if desired.state == "saved" else ""
        case actions.Suspend():
            says = "spec.state: paused" if desired.state == "paused" else ""
        case InjectNmi():
            says = "spec.policy.watchdog: nmi" if policy.watchdog == "nmi" else ""
        case Dump():
            dumps = policy.crash in ("dump", "dump-and-restart")
            says = f"spec.policy.crash: {policy.crash}" if dumps else ""
        case actions.Undefine():
            says = ""
    return says


def _by_removal(action: Action, on_removal: str) -> str:
    ordered = f"spec.policy.on_removal: {on_removal}"
    match action:
        case actions.Undefine():
            return ordered if on_removal == "undefine" else ""
        case Shutdown() | actions.Resume() | actions.Wake():
            return ordered if on_removal in ("shutdown", "undefine") else ""
        case _:
            return ""


def _stops(desired: Desired) -> str:
    if desired.state == "shutoff":
        return "spec.state: shutoff"
    restarts = desired.state == "running" and desired.policy.restart == "automatic"
    return "spec.policy.restart: automatic" if restarts else ""


def _ends_at_once(desired: Desired, observed: Observed | None) -> str:
    policy = desired.policy
    if observed is None:
        return ""
    if observed.state is State.CRASHED:
        restarts = policy.crash in ("restart", "dump-and-restart")
        return f"spec.policy.crash: {policy.crash}" if restarts else ""
    if observed.state is State.PAUSED and observed.reason == "watchdog":
        return "spec.policy.watchdog: restart" if policy.watchdog == "restart" else ""
    return "spec.policy.shutdown.force: true" if policy.shutdown.force and _stops(desired) else ""
