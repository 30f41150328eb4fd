"""Where a virtual server shall be: the same answer on every host that reads the manifests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from reconvirt.domain.actions import Detach
from reconvirt.domain.changes import Change, Plan, Step
from reconvirt.domain.desired import Desired
from reconvirt.domain.devices import DEVICES
from reconvirt.domain.effects import Effect
from reconvirt.domain.kinds.common import is_persistent
from reconvirt.domain.observed import Observed
from reconvirt.domain.ownership import is_ours
from reconvirt.manifest.host import HostManifest


@dataclass(frozen=True, slots=True)
class Inventory:
    """This host and all hosts.

    Attributes:
        own: the name of this host.
        hosts: the manifests of all hosts, by name.
    """

    own: str = ""
    hosts: Mapping[str, HostManifest] = field(default_factory=dict)

    @property
    def others(self) -> tuple[HostManifest, ...]:
        """All hosts but this one."""
        return tuple(each for name, each in self.hosts.items() if name != self.own)

    def destination(
        self, desired: Desired, observed: Observed | None = None
    ) -> HostManifest | None:
        """The other host that a virtual server shall be on; None where it is this one's.

        Args:
            desired: what is wanted of it.
            observed: what is here.
        """
        if observed is not None and self._may_stay(desired, observed):
            return None
        name = self.place(desired)
        return None if name in (None, self.own) else self.hosts.get(str(name))

    def destinations(self, desired: Desired) -> tuple[HostManifest, ...]:
        """The other hosts that a virtual server may go to, in the order in which they are tried."""
        names = self.places(desired)
        return tuple(self.hosts[each] for each in names if each in self.hosts and each != self.own)

    def unknown(self, desired: Desired) -> str:
        """The other host that it shall be on, where no manifest describes that; "" if one does."""
        name = self.place(desired)
        return "" if name is None or name == self.own or name in self.hosts else name

    def place(self, desired: Desired) -> str | None:
        """The host that a virtual server shall be on; None where its manifest does not say."""
        return next(iter(self.places(desired)), None)

    def places(self, desired: Desired) -> tuple[str, ...]:
        """The hosts that a virtual server may be on, the best one first.

        It is one, except where that is emptied: then the host that it leaves tries those of
        ``spec.hosts`` in turn, and where it has arrived it stays.
        """
        if desired.host is None:
            return ()
        if not self.evacuates(desired):
            return (desired.host,)
        others = ((name, self.hosts.get(name)) for name in desired.hosts)
        found = tuple(
            name
            for name, other in others
            if other is not None and other.schedulable and not other.evacuate
        )
        return found or (desired.host,)

    def evacuates(self, desired: Desired) -> bool:
        """Whether the host that a manifest states is to be emptied."""
        stated = self.hosts.get(desired.host) if desired.host is not None else None
        return stated is not None and stated.evacuate

    def refusal(self, desired: Desired, observed: Observed | None) -> str:
        """Why nothing may be done about a virtual server here as its manifest is; "" if it may.

        The text says what to write.

        Args:
            desired: what is wanted of it.
            observed: what is here.
        """
        if unknown := self.unknown(desired):
            # It may run there: who cannot be asked is not taken for one that has it not.
            return f"no manifest describes {unknown}, where it shall be: it is left alone"
        if observed is not None or not self.others:
            return ""
        if desired.host is None:
            return "spec.host must say on which of the hosts it shall be"
        return "" if self.own in self.hosts else f"no manifest describes this host, {self.own}"

    def _may_stay(self, desired: Desired, observed: Observed) -> bool:
        """Whether it has come here from a host that is emptied, and this is one of its others."""
        own = self.hosts.get(self.own)
        listed = self.evacuates(desired) and self.own in desired.hosts
        return listed and own is not None and not own.evacuate and is_ours(desired, observed)

    def is_for_us(self, desired: Desired) -> bool:
        """Whether a virtual server shall be on this host."""
        return self.destination(desired) is None

    def stranded(self, desired: Desired) -> str:
        """Why it stays on a host that is to be emptied; "" if it does not."""
        name = self.place(desired)
        if name is None or name not in self.hosts or not self.hosts[name].evacuate:
            return ""
        return f"{name} is to be emptied, and spec.hosts names no other host that can have it"


NO_INVENTORY = Inventory()


def plan_elsewhere(
    desired: Desired, observed: Observed | None, inventory: Inventory
) -> Plan | None:
    """The plan for a virtual server that shall be on another host; None if it shall not."""
    destination = inventory.destination(desired, observed)
    if destination is None:
        return None
    if observed is None or not is_ours(desired, observed):
        return Plan(desired.name)
    how = "it is moved while it runs" if observed.active else "its definition is moved"
    change = Change("host", inventory.own, destination.name, Effect.GUEST, how)
    return Plan(desired.name, waiting=(change,))


def without_hotplug(desired: Desired) -> Desired:
    """What is wanted without the devices that are plugged in while it runs only."""
    devices = {
        kind.name: {
            identity: stated
            for identity, stated in desired.statement.devices.get(kind.name, {}).items()
            if is_persistent(stated)
        }
        for kind in DEVICES
        if kind.name in desired.statement.devices
    }
    return replace(desired, statement=replace(desired.statement, devices=devices), unresolved=())


def only_detaching(plan: Plan, desired: Desired) -> tuple[Step, ...]:
    """The steps that take the hotplug devices of a virtual server away before it is moved."""
    hotplug = {
        f"devices.{kind}[{identity}]"
        for kind, listed in desired.statement.devices.items()
        for identity, stated in listed.items()
        if not is_persistent(stated)
    }
    return tuple(
        step
        for step in plan.steps
        if isinstance(step.action, Detach)
        and all(change.field.startswith(tuple(hotplug)) for change in step.changes)
    )
