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
from reconvirt.controller.holds import Holds
from reconvirt.controller.shares import overdrawn
from reconvirt.controller.source.choice import make_source
from reconvirt.controller.source.tree import read_paths
from reconvirt.controller.surroundings import counts_here
from reconvirt.domain.changes import Change, Plan
from reconvirt.domain.desired import Desired, desire
from reconvirt.domain.effects import Effect
from reconvirt.domain.observed import Observed
from reconvirt.domain.placing import NO_INVENTORY, Inventory, plan_elsewhere
from reconvirt.domain.plan import make_plan
from reconvirt.domain.rules import HostRules
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
    """

    snapshot: Snapshot
    desired: Mapping[str, Desired]
    inventory: Inventory = NO_INVENTORY

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
    return _wanted(make_source(config).read(), config)


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
    snapshot = assemble([load_file(each) for each in files], revision_of(files))
    return _wanted(snapshot, config or Config())


def _wanted(snapshot: Snapshot, config: Config) -> Wanted:
    policy, source = config.policy.policy, config.source_name
    desired = {name: desire(each, policy, source) for name, each in snapshot.manifests.items()}
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


def plan_one(
    hypervisor: Hypervisor,
    desired: Desired,
    observed: Observed | None,
    rules: HostRules,
    inventory: Inventory = NO_INVENTORY,
    overdrawn: Overdrawn | None = None,
) -> Plan:
    """What would be done now about one virtual server.

    Args:
        hypervisor: the connection.
        desired: what is wanted of it.
        observed: what libvirt has of it, or None.
        rules: what the host allows.
        inventory: this host and the others.
        overdrawn: who asks for more than the host gives to all together.
    """
    if (elsewhere := plan_elsewhere(desired, observed, inventory)) is not None:
        return elsewhere
    resolved, host = hypervisor.look_around(desired, rules)
    too_much = (overdrawn or {}).get(desired.name, ())
    return make_plan(resolved, observed, host=replace(host, overdrawn=too_much))


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
    return observe_each(hypervisor, hypervisor.names() if names is None else names)


def unseen_plan(name: str, why: str) -> Plan:
    """The plan for a virtual server that could not be observed: nothing, and why."""
    return Plan(name, refused=(Change("state", "unknown", None, Effect.REFUSED, why),))
