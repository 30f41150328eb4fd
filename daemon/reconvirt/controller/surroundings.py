"""What a host has and allows, for reconciling."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from reconvirt.controller.config import Config
from reconvirt.controller.dumps import NO_DUMPS, DumpDirectory
from reconvirt.controller.guard import Guard
from reconvirt.controller.history import History
from reconvirt.controller.holds import BY_MANIFEST, Hold, HoldStore
from reconvirt.controller.hosts.dependencies import Afar
from reconvirt.controller.hosts.placement import Placement
from reconvirt.controller.image_record import ImageRecord
from reconvirt.controller.prune import Orphan
from reconvirt.controller.shares import Shares
from reconvirt.controller.starts import StartGate
from reconvirt.controller.state_store import StateStore
from reconvirt.controller.write_budget import WriteBudget
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
        guard: makes the writing calls.
        images: knows which images were there once.
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
    guard: Guard = field(default_factory=Guard)
    images: ImageRecord = field(default_factory=lambda: ImageRecord(StateStore()))


def surroundings_of(
    config: Config,
    holds: HoldStore,
    history: History,
    placement: Placement,
    wanted: Callable[[], Mapping[str, Desired]],
    removals: Callable[[], Mapping[str, Orphan]] = dict,
) -> Surroundings:
    """What the configuration of a host says of it.

    Args:
        config: the configuration.
        holds: which virtual servers are left alone.
        history: is told what happens.
        placement: knows what is another host's.
        wanted: gives what all manifests want, by name.
        removals: gives the orphans that may be removed now, by name.
    """
    return Surroundings(
        rules=config.rules,
        dumps=DumpDirectory(config.dump_directory, config.most_dumps),
        holds=holds,
        history=history,
        shares=Shares(wanted, counts_here(holds, placement.is_for_us)),
        placement=placement,
        guard=Guard(
            hold=partial(hold_text, holds),
            placement=placement.why_not,
            spent=placement.forget_answers,
            wanted=wanted,
            removals=removals,
            budget=WriteBudget(config.most_writes, config.write_window_seconds),
        ),
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
    if observed is None:
        return _held(holds, desired.expected_uuid, (desired.name,), desired)
    return _held(holds, observed.uuid, (desired.name, observed.name), desired)


def hold_text(holds: HoldStore, uuid: str, name: str, desired: Desired | None) -> str | None:
    """Why a virtual server is left alone, as the guard asks; None if it is not.

    Args:
        holds: the holds of this host.
        uuid: its uuid.
        name: its name.
        desired: what its manifest wants; None if that is gone.
    """
    found = _held(holds, uuid, (name,), desired)
    return None if found is None else str(found)


def _held(
    holds: HoldStore, uuid: str, names: Iterable[str], desired: Desired | None
) -> Hold | None:
    for name in dict.fromkeys(names):
        if (found := holds.find(uuid, name)) is not None:
            return found
    if desired is not None and desired.hold is not None:
        return Hold(desired.hold, BY_MANIFEST, 0.0)
    return None
