"""What the daemon would tell, found without it: for commands where none runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconvirt.api.answering import answer_description
from reconvirt.api.answers import DescriptionAnswer
from reconvirt.cli.wanted import (
    Wanted,
    connected,
    find_overdrawn,
    observe,
    plan_one,
    read_holds,
    read_source,
)
from reconvirt.controller.config import Config
from reconvirt.controller.desk import Description, Unknown
from reconvirt.controller.holds import Hold
from reconvirt.controller.outcome import Outcome, Phase, settle
from reconvirt.controller.status import Fleet, Status, StatusBook
from reconvirt.controller.surroundings import find_hold
from reconvirt.domain.changes import Plan
from reconvirt.domain.mark import read_mark
from reconvirt.domain.observed import Observed
from reconvirt.domain.show import figures_of
from reconvirt.domain.side_by_side import Line, lay_side_by_side
from reconvirt.domain.xmltree import parse_xml
from reconvirt.manifest.host import HostManifest


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at libvirt came to.

    Attributes:
        fleet: the statuses.
        wanted: what the manifests say.
        observed: what libvirt has, by name.
    """

    fleet: Fleet
    wanted: Wanted
    observed: Mapping[str, Observed]

    def status(self, name: str) -> Status:
        """The status of one virtual server.

        Raises:
            Unknown: there is none of that name.
        """
        found = self.fleet.servers.get(name)
        if found is None:
            raise Unknown(
                f"{name}: no manifest states it, and libvirt has none that reconvirt made"
            )
        return found

    def lines(self, name: str) -> tuple[Line, ...]:
        """Desired, configured and running values of one virtual server beside each other."""
        self.status(name)
        desired = self.wanted.desired.get(name)
        return lay_side_by_side(desired, self.observed.get(name)) if desired else ()

    def describe(self, name: str) -> DescriptionAnswer:
        """All about one virtual server; nothing is known of what has happened to it."""
        manifest = self.wanted.snapshot.manifests.get(name)
        spec = manifest.spec if manifest else None
        return answer_description(Description(self.status(name), spec, self.lines(name), ()))


def look(config: Config, name: str | None = None) -> Look:
    """Read the manifests and libvirt.

    Args:
        config: where they are.
        name: the only virtual server of interest; None for all.

    Raises:
        Failure: one of them cannot be read.
    """
    wanted = read_source(config)
    chosen = {key: each for key, each in wanted.desired.items() if name in (None, key)}
    with connected(config.connect) as hypervisor:
        seen = observe(hypervisor, [name] if name else None)
        observed = seen.observed
        too_much = find_overdrawn(wanted, config, hypervisor)
        around = (config.rules, wanted.inventory, too_much)
        plans = {
            key: plan_one(hypervisor, each, observed.get(key), *around)
            for key, each in chosen.items()
            if key not in seen.unseen
        }
    holds = read_holds(config)
    book = StatusBook()
    book.describe(
        revision=wanted.snapshot.revision, problems=wanted.snapshot.problems, connected=True
    )
    for key, each in chosen.items():
        hold = find_hold(holds, each)
        if key in plans:
            other = wanted.inventory.destination(each, observed.get(key))
            outcome = _outcome(plans[key], observed.get(key), hold, other)
        else:
            outcome = Outcome(key, Phase.FAILED, seen.unseen[key], Plan(key))
        manifest = wanted.snapshot.manifests[key]
        book.update(
            outcome,
            figures=figures_of(outcome.observed),
            hold=hold,
            manifest=str(manifest.position),
            labels=manifest.labels,
        )
    for key, found in observed.items():
        if key not in wanted.desired and read_mark(parse_xml(found.config)) is not None:
            message = "its manifest is gone or refused; it is left as it is"
            outcome = Outcome(key, Phase.UNMANAGED, message, Plan(key), observed=found)
            book.update(outcome, figures=figures_of(found), hold=holds.get(key))
    return Look(book.fleet(), wanted, observed)


def _outcome(
    plan: Plan, observed: Observed | None, hold: Hold | None, other: HostManifest | None
) -> Outcome:
    if hold is not None:
        message = f"left alone: {hold}"
        return Outcome(plan.name, Phase.HELD, message, plan, observed=observed, hold=str(hold))
    if other is not None and not plan.waiting:
        return Outcome(plan.name, Phase.ELSEWHERE, f"it is for {other.name}", plan)
    if plan.steps and not plan.refused:
        fields = dict.fromkeys(change.field for step in plan.steps for change in step.changes)
        message = f"due: {', '.join(fields) or 'record'}"
        return Outcome(plan.name, Phase.DIFFERS, message, plan, observed=observed)
    return Outcome(plan.name, *settle(plan), plan, observed=observed)
