"""Reading manifests and observing what is there, for the commands that look once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from reconvirt.cli.failure import Failure
from reconvirt.controller.config import Config
from reconvirt.controller.evaluate import evaluate, find_observed
from reconvirt.controller.holds import Holds
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.controller.prune import Includes
from reconvirt.controller.shares import overdrawn
from reconvirt.controller.source.choice import make_source
from reconvirt.controller.source.tree import newest_change, read_paths
from reconvirt.controller.surroundings import counts_here, find_hold
from reconvirt.domain.changes import Change, Plan
from reconvirt.domain.desired import Desired, desire
from reconvirt.domain.effects import Effect
from reconvirt.domain.observed import Observed
from reconvirt.domain.placing import NO_INVENTORY, Inventory
from reconvirt.hypervisor.bounded_calls import CALL_SECONDS
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.errors import HypervisorError
from reconvirt.hypervisor.sweep import Seen, observe_each
from reconvirt.manifest.load import assemble, load_file, revision_of
from reconvirt.manifest.model import Snapshot

Overdrawn: TypeAlias = Mapping[str, tuple[Change, ...]]
"""What virtual servers ask for beyond what the host gives to all together, by name."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the manifests say now.

    Attributes:
        snapshot: the manifests and what is wrong with them.
        desired: what each good one wants, by name.
        inventory: this host and the others.
        includes: whether the manifests are of a revision or a later one; None if not known.
    """

    snapshot: Snapshot
    desired: Mapping[str, Desired]
    inventory: Inventory = NO_INVENTORY
    includes: Includes = lambda _revision: None

    def select(self, names: Iterable[str]) -> Mapping[str, Desired]:
        """The named ones; all if none is named.

        Raises:
            Failure: there is no manifest for one of the names.
        """
        chosen = list(dict.fromkeys(names))
        if missing := [name for name in chosen if name not in self.desired]:
            raise Failure(
                f"no manifest in force for {', '.join(missing)}; "
                f"there are: {', '.join(self.desired) or 'none'}"
            )
        return {name: self.desired[name] for name in chosen} if chosen else self.desired


def read_source(config: Config) -> Wanted:
    """The manifests of the source that the configuration states.

    Raises:
        Failure: there is no such file or directory.
    """
    if config.source.git is None:
        return read_wanted(config.desired, config=config)
    source = make_source(config)
    return replace(_wanted(source.read(), config), includes=source.includes)


def read_wanted(*paths: Path, config: Config | None = None) -> Wanted:
    """The manifests of files and directories.

    Args:
        paths: the files and directories.
        config: whose policies hold for what manifests do not state, and which says whether files
            are refused that others than their owner can write to; the safest policies if None.

    Raises:
        Failure: there is no such file or directory.
    """
    for path in paths:
        if not path.exists():
            raise Failure(f"{path}: there is no such file or directory")
    strict = config is not None and not config.source.trust_writable
    files = read_paths(paths, strict=strict)
    results, changed = [load_file(each) for each in files], newest_change(*paths)
    snapshot = assemble(results, revision_of(files), time=changed)
    return _wanted(snapshot, config or Config())


def _wanted(snapshot: Snapshot, config: Config) -> Wanted:
    policy = config.policy.policy
    origin = replace(config.origin, revision=snapshot.revision, time=snapshot.time)
    desired = {name: desire(each, policy, origin) for name, each in snapshot.manifests.items()}
    return Wanted(snapshot, desired, Inventory(config.own_host, snapshot.hosts))


@contextmanager
def connected(uri: str, bound: float | None = CALL_SECONDS) -> Iterator[Hypervisor]:
    """A connection to libvirt for one command.

    Args:
        uri: where libvirt is.
        bound: seconds that a call may take; None where the command has a time limit of its own.

    Raises:
        Failure: it cannot be made, or libvirt fails inside the block.
    """
    try:
        hypervisor = Hypervisor(uri, bound=bound)
    except HypervisorError as error:
        raise Failure(
            f"cannot connect to libvirt at {uri}: {error}\n"
            "Is libvirtd (or virtqemud) running, and may you use it? 'virsh -c "
            f"{uri} version' tells."
        ) from error
    try:
        yield hypervisor
    except HypervisorError as error:
        raise Failure(f"libvirt at {uri}: {error}") from error
    finally:
        hypervisor.close()


@dataclass(frozen=True, slots=True)
class Survey:
    """What one look at libvirt has shown.

    Attributes:
        outcomes: what is to be said of each chosen virtual server, by name.
        observed: what libvirt has, by libvirt's names.
    """

    outcomes: Mapping[str, Outcome]
    observed: Mapping[str, Observed]


def survey(config: Config, wanted: Wanted, chosen: Mapping[str, Desired], *, all_: bool) -> Survey:
    """What is to be said of virtual servers now, by the function that the daemon decides by.

    Args:
        config: the host's configuration.
        wanted: what all manifests say.
        chosen: those that are of interest.
        all_: whether all domains are observed, those without a manifest included.

    Raises:
        Failure: libvirt cannot be read.
    """
    holds = read_holds(config)
    with connected(config.connect) as hypervisor:
        asked = (
            hypervisor.list_all()
            if all_
            else {name: each.expected_uuid for name, each in chosen.items()}
        )
        seen = observe_each(hypervisor, asked)
        unseen = {asked[name]: why for name, why in seen.unseen.items()}
        too_much = find_overdrawn(wanted, config, hypervisor)
        outcomes: dict[str, Outcome] = {}
        for name, desired in chosen.items():
            why = seen.unseen.get(name) or unseen.get(desired.expected_uuid)
            if why:
                outcomes[name] = _unseen(name, why)
                continue
            resolved, host = hypervisor.look_around(desired, config.rules)
            hold = find_hold(holds, desired)
            outcomes[name] = evaluate(
                resolved,
                find_observed(desired, seen.observed),
                replace(host, overdrawn=too_much.get(name, ())),
                inventory=wanted.inventory,
                hold=None if hold is None else str(hold),
            )
    return Survey(outcomes, seen.observed)


def _unseen(name: str, why: str) -> Outcome:
    """What is to be said of one that could not be observed: nothing can be done, and why."""
    plan = Plan(name, refused=(Change("state", "unknown", None, Effect.REFUSED, why),))
    return Outcome(name, Phase.FAILED, why, plan)


def find_overdrawn(wanted: Wanted, config: Config, hypervisor: Hypervisor | None) -> Overdrawn:
    """Who asks for more than the host gives to all together.

    Args:
        wanted: what all manifests say.
        config: the host's configuration.
        hypervisor: tells what runs; None to take it that nothing does.
    """
    counts = counts_here(read_holds(config), wanted.inventory.is_for_us)
    sizes = hypervisor.sizes if hypervisor else dict
    return overdrawn(wanted.desired, config.rules.totals, sizes, counts)


def read_holds(config: Config) -> Holds:
    """Which virtual servers are left alone, as far as we may read it."""
    file = config.state_directory / "holds.json"
    return Holds(file if os.access(file, os.R_OK) else None)


def observe(hypervisor: Hypervisor, names: Iterable[str] | None) -> Seen:
    """The named virtual servers that are there; all if ``names`` is None.

    Each has a time limit: one that hangs is named, and delays no other.
    """
    there = hypervisor.list_all()
    chosen = there if names is None else {each: there[each] for each in names if each in there}
    return observe_each(hypervisor, chosen)
