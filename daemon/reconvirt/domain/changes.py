"""What a plan is made of: changes, the steps that make them, and the plan."""

from __future__ import annotations

from dataclasses import dataclass

from reconvirt.domain.actions import IN_PLACE, Action, Detach, InjectNmi, SetMemory
from reconvirt.domain.compare import Difference
from reconvirt.domain.effects import Effect
from reconvirt.domain.show import Shown, show_difference


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not as wanted.

    Attributes:
        field: its place in the manifest, such as ``vcpu.current`` or ``devices.disks[vdb]``.
        old: what is there, as a person reads it; None for nothing.
        new: what is wanted; None for nothing.
        effect: when the change takes effect.
        reason: why then.
    """

    field: str
    old: Shown
    new: Shown
    effect: Effect
    reason: str


def make_change(difference: Difference, effect: Effect, reason: str) -> Change:
    """A difference as people are told of it."""
    old, new = show_difference(difference)
    return Change(difference.path, old, new, effect, reason)


@dataclass(frozen=True, slots=True)
class Step:
    """One action and the changes that it makes."""

    action: Action
    changes: tuple[Change, ...]

    @property
    def asks(self) -> bool:
        """Whether the step has only asked when its call returns, and the answer comes later."""
        # Without a wait for the guest, too, libvirt takes a device away after the call.
        return isinstance(self.action, Detach | SetMemory | InjectNmi) or any(
            change.effect is Effect.GUEST for change in self.changes
        )

    @property
    def in_place(self) -> bool:
        """Whether the step changes something of what runs: if it fails, others can be taken."""
        return isinstance(self.action, IN_PLACE)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about one virtual server.

    Attributes:
        name: its name.
        steps: what to do now, in order.
        waiting: what takes effect at the next start.
        refused: what will not be done, and why.
        unlisted: devices that were attached by hand, and that nothing is done about.
        drifted: what is not as it was applied, although the manifest has not changed.
    """

    name: str
    steps: tuple[Step, ...] = ()
    waiting: tuple[Change, ...] = ()
    refused: tuple[Change, ...] = ()
    unlisted: tuple[Change, ...] = ()
    drifted: tuple[Change, ...] = ()

    @property
    def reported(self) -> tuple[Change, ...]:
        """What has drifted and is only reported, since the policy says so."""
        due = {change for step in self.steps for change in step.changes}
        return tuple(change for change in self.drifted if change not in due)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do, to wait for, to report or to complain about."""
        return not (self.steps or self.waiting or self.refused or self.reported)
