"""What a host has and allows, for reconciling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from reconvirt.controller.config import Config
from reconvirt.controller.dumps import NO_DUMPS, DumpDirectory
from reconvirt.controller.history import History
from reconvirt.controller.holds import BY_MANIFEST, Hold, HoldStore
from reconvirt.controller.hosts.dependencies import Afar
from reconvirt.controller.hosts.placement import Placement
from reconvirt.controller.shares import Shares
from reconvirt.controller.starts import StartGate
from reconvirt.controller.state_store import StateStore
from reconvirt.domain.desired import Desired
from reconvirt.domain.observed import Observed
from reconvirt.domain.rules import NO_RULES, HostRules


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a host has and allows.

    Attributes:
        rules: what it allows in manifests.
        dumps: where crashed guests are dumped to.
        not_yet: why a virtual server must wait with its start; "" if it need not.
        holds: which virtual servers are left alone.
        gate: lets only so many start at a time.
        on_step: is told which step is being taken, and "" when it has ended.
        history: is told what happens.
        shares: decides who may have how much of it.
        placement: knows what is another host's; None where there are no others.
        afar: knows what runs on other hosts; None where there are no others.
    """

    rules: HostRules = NO_RULES
    dumps: DumpDirectory = NO_DUMPS
    not_yet: Callable[[Desired], str] = lambda _desired: ""
    holds: HoldStore = field(default_factory=lambda: HoldStore(StateStore()))
    gate: StartGate = field(default_factory=lambda: StartGate(1_000_000))
    on_step: Callable[[str, str], None] = lambda _name, _verb: None
    history: History = field(default_factory=History)
    shares: Shares = field(default_factory=Shares)
    placement: Placement | None = None
    afar: Afar | None = None


def surroundings_of(
    config: Config,
    holds: HoldStore,
    history: History,
    placement: Placement,
    wanted: Callable[[], Mapping[str, Desired]],
) -> Surroundings:
    """What the configuration of a host says of it.

    Args:
        config: the configuration.
        holds: which virtual servers are left alone.
        history: is told what happens.
        placement: knows what is another host's.
        wanted: gives what all manifests want, by name.
    """
    return Surroundings(
        rules=config.rules,
        dumps=DumpDirectory(config.dump_directory, config.most_dumps),
        holds=holds,
        history=history,
        shares=Shares(wanted, counts_here(holds, placement.is_for_us)),
        placement=placement,
    )


def counts_here(
    holds: HoldStore, is_for_us: Callable[[Desired], bool]
) -> Callable[[Desired], bool]:
    """Whether a virtual server may be started or changed here: it is for us, and not held."""
    return lambda desired: is_for_us(desired) and find_hold(holds, desired) is None


def find_hold(holds: HoldStore, desired: Desired, observed: Observed | None = None) -> Hold | None:
    """Why a virtual server is left alone: a person has said so, or its manifest does.

    Args:
        holds: the holds of this host.
        desired: what its manifest wants.
        observed: what libvirt has of it; None if nothing, or if that was not asked for.
    """
    uuid = observed.uuid if observed else desired.expected_uuid
    found = holds.find(uuid, desired.name)
    if found is None and observed is not None and observed.name != desired.name:
        found = holds.find(uuid, observed.name)
    if found is None and desired.hold is not None:
        found = Hold(desired.hold, BY_MANIFEST, 0.0)
    return found
