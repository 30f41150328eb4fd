"""What libvirt would make of the definitions of a plan: ``reconvirt plan --exact``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from reconvirt.cli.failure import Failure
from reconvirt.domain.actions import Define
from reconvirt.domain.changes import Plan
from reconvirt.domain.xmltree import hide_passwords
from reconvirt.hypervisor.scratch import ScratchFailed, normalise


def diff_definitions(plans: Iterable[Plan]) -> Mapping[str, str]:
    """The unified diffs, by name, from libvirt's present XML to what it would store.

    Raises:
        Failure: libvirt's driver cannot be run in a scratch directory.
    """
    defines = {
        plan.name: step.action
        for plan in plans
        for step in plan.steps
        if isinstance(step.action, Define)
    }
    if not defines:
        return {}
    try:
        stored = normalise([each.xml for each in defines.values()])
    except ScratchFailed as error:
        raise Failure(f"--exact: {error}") from error
    return {
        name: each.error or _diff(name, define.base, each.xml or "")
        for (name, define), each in zip(defines.items(), stored, strict=True)
    }


def _diff(name: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{name} (now)", f"{name} (then)", lineterm=""
    )
    return hide_passwords("\n".join(lines))
