"""Reading manifests and observing what is there, for the commands that look once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from reconvirt.cli.failure import Failure
from reconvirt.cli.state import daemon_of, read_holds, store_of
from reconvirt.controller.config import Config
from reconvirt.controller.evaluate import evaluate, find_observed
from reconvirt.controller.hosts.known_hosts import KnownHosts
from reconvirt.controller.image_record import ImageRecord
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.controller.prune import Includes
from reconvirt.controller.shares import overdrawn
from reconvirt.controller.source.choice import make_source
from reconvirt.controller.source.tree import newest_change, read_paths
from reconvirt.controller.state_store import Document, Unreadable
from reconvirt.controller.surroundings import counts_here, find_hold
from reconvirt.domain.changes import Change, Plan
from reconvirt.domain.desired import Desired, desire
from reconvirt.domain.effects import Effect
from reconvirt.domain.image_plan import Images, KnownImages
from reconvirt.domain.observed import Observed
from reconvirt.domain.placing import NO_INVENTORY, Inventory
from reconvirt.hypervisor.bounded_calls import CALL_SECONDS
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.errors import HypervisorError
from reconvirt.hypervisor.sweep import Seen, observe_each
from reconvirt.manifest.host import HostManifest
from reconvirt.manifest.load import assemble, load_file, revision_of
from reconvirt.manifest.model import FileResult, Snapshot

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


def read_source(config: Config, configured: Config | None = None) -> Wanted:
    """The manifests of the source that the configuration states.

    Args:
        config: the configuration, with what the command line says.
        configured: the one of the files alone: where the command line names a single file, the
            hosts of the configured source are known, too.

    Raises:
        Failure: there is no such file or directory.
    """
    store = store_of(config)
    if config.source.git is not None:
        source = make_source(config, store)
        return replace(_wanted(source.read(), config), includes=source.includes)
    single = configured is not None and config.desired.is_file()
    hosts = make_source(configured, store).read().hosts if configured and single else {}
    return read_wanted(config.desired, config=config, hosts=hosts)


def read_wanted(
    *paths: Path,
    config: Config | None = None,
    hosts: Mapping[str, HostManifest] | None = None,
) -> Wanted:
    """The manifests of files and directories.

    Args:
        paths: the files and directories.
        config: whose policies hold for what manifests do not state, and which says whether files
            are refused that others than their owner can write to; the safest policies if None.
        hosts: hosts that are known besides those of the files.

    Raises:
        Failure: there is no such file or directory.
    """
    for path in paths:
        if not path.exists():
            raise Failure(f"{path}: there is no such file or directory")
    strict = config is not None and not config.source.trust_writable
    files = read_paths(paths, strict=strict)
    results = [load_file(each) for each in files]
    stated = [each for result in results for each in result.hosts]
    names, uris = {each.name for each in stated}, {each.uri for each in stated}
    others = (hosts or {}).values()
    beside = tuple(each for each in others if each.name not in names and each.uri not in uris)
    changed = newest_change(*paths)
    results.append(FileResult("", (), (), beside))
    snapshot = assemble(results, revision_of(files), time=changed)
    return _wanted(snapshot, config or Config())


def _wanted(snapshot: Snapshot, config: Config) -> Wanted:
    policy = config.policy.policy
    origin = replace(config.origin, revision=snapshot.revision, time=snapshot.time)
    desired = {name: desire(each, policy, origin) for name, each in snapshot.manifests.items()}
    shared = config.shares_source(snapshot.hosts, known=_knows_others(config))
    return Wanted(snapshot, desired, Inventory(config.own_host, snapshot.hosts, shared))


def _knows_others(config: Config) -> bool:
    """Whether another host was ever known here, as far as we may read it."""
    try:
        return bool(KnownHosts(store_of(config), config.own_host).others())
    except Unreadable:
        return True


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


def refuse_other_state(config: Config) -> None:
    """See that the daemon of this libvirt, if one runs, has our state directory.

    Raises:
        Failure: it has another one, and would not know of what is stored in ours.
    """
    daemon = daemon_of(config)
    if daemon is None:
        # Without libvirt no daemon can work; what is stored counts when it is back.
        with suppress(Failure), connected(config.connect) as hypervisor:
            daemon = daemon_of(config, hypervisor)
    ours = str(config.state_directory.absolute())
    if daemon is not None and daemon.state_directory not in ("", ours):
        raise Failure(
            f"{daemon} keeps the virtual servers of this libvirt, and its state is in "
            f"{daemon.state_directory}, not in {ours}: it would not know of this\n"
            "Call this with the daemon's configuration (--config)."
        )


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
            observed_now = find_observed(desired, seen.observed)
            hold = find_hold(holds, desired, observed_now)
            outcomes[name] = evaluate(
                resolved,
                observed_now,
                replace(
                    host,
                    overdrawn=too_much.get(name, ()),
                    known_images=read_known_images(config, host.images),
                ),
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


def read_known_images(config: Config, images: Images) -> KnownImages:
    """Which images were there once, as far as any of these is missing."""
    file = config.state_directory / Document.IMAGES
    if file.exists() and not os.access(file, os.R_OK):
        return KnownImages(problem=f"you may not read {file}")
    return ImageRecord(store_of(config)).known(images)


def observe(hypervisor: Hypervisor, names: Iterable[str] | None) -> Seen:
    """The named virtual servers that are there; all if ``names`` is None.

    Each has a time limit: one that hangs is named, and delays no other.
    """
    there = hypervisor.list_all()
    chosen = there if names is None else {each: there[each] for each in names if each in there}
    return observe_each(hypervisor, chosen)
