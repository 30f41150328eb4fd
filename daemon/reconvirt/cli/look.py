"""What the daemon would tell, found without it: for commands where none runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconvirt.api.answering import answer_description
from reconvirt.api.answers import DescriptionAnswer
from reconvirt.cli.state import read_holds
from reconvirt.cli.wanted import Wanted, read_source, survey
from reconvirt.controller.config import Config
from reconvirt.controller.desk import Description, Unknown
from reconvirt.controller.evaluate import find_observed
from reconvirt.controller.outcome import Outcome
from reconvirt.controller.prune import (
    Facts,
    Standing,
    Verdict,
    find_orphans,
    judge_orphans,
    stand,
)
from reconvirt.controller.status import Fleet, Status, StatusBook
from reconvirt.controller.surroundings import find_hold
from reconvirt.domain.changes import Plan
from reconvirt.domain.mark import read_mark
from reconvirt.domain.observed import Observed
from reconvirt.domain.ownership import Marked
from reconvirt.domain.show import figures_of
from reconvirt.domain.side_by_side import Line, lay_side_by_side
from reconvirt.domain.xmltree import parse_xml


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
        status = self.status(name)
        desired = self.wanted.desired.get(name)
        if desired is None:
            return ()
        return lay_side_by_side(desired, find_observed(desired, self.observed), status.overlays)

    def describe(self, name: str) -> DescriptionAnswer:
        """All about one virtual server; nothing is known of what has happened to it."""
        manifest = self.wanted.snapshot.manifests.get(name)
        spec = manifest.spec if manifest else None
        return answer_description(Description(self.status(name), spec, self.lines(name), ()))


_WITHOUT_DAEMON = "{seconds:.0f} s after the daemon has noticed it"


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
    # One without a manifest is found only among all.
    found = survey(config, wanted, chosen, all_=name is None or not chosen)
    holds, observed = read_holds(config), found.observed
    book = StatusBook()
    book.describe(
        revision=wanted.snapshot.revision, problems=wanted.snapshot.problems, connected=True
    )
    for key, outcome in found.outcomes.items():
        manifest = wanted.snapshot.manifests[key]
        book.update(
            outcome,
            figures=figures_of(outcome.observed),
            hold=find_hold(holds, chosen[key]),
            manifest=str(manifest.position),
            labels=manifest.labels,
        )
    verdict, standings = _judge(config, wanted, observed)
    book.describe(prune_held=verdict.reason)
    for key, standing in standings.items():
        if name in (None, key):
            seen, hold = observed[key], holds.find(observed[key].uuid, key)
            outcome = Outcome(
                *(key, standing.phase, standing.message, Plan(key)),
                observed=seen,
                hold=None if hold is None else str(hold),
            )
            book.update(outcome, figures=figures_of(seen), hold=hold)
    return Look(book.fleet(), wanted, observed)


def _judge(
    config: Config, wanted: Wanted, observed: Mapping[str, Observed]
) -> tuple[Verdict, Mapping[str, Standing]]:
    """What the daemon would decide about those that no manifest wants."""
    marks = {
        key: Marked(each.uuid, mark, each.active)
        for key, each in observed.items()
        if (mark := read_mark(parse_xml(each.config))) is not None
    }
    orphans = find_orphans(marks, wanted.desired, config.origin)
    facts = Facts(left=lambda _orphan: config.prune_grace_seconds, includes=wanted.includes)
    verdict = judge_orphans(orphans, wanted.snapshot, facts)
    return verdict, stand(orphans, verdict, wanted.snapshot, when=_WITHOUT_DAEMON)
