"""A plan in the making."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconvirt.domain.actions import Attach
from reconvirt.domain.changes import Change, Plan, Step
from reconvirt.domain.compare import device_path, index_devices
from reconvirt.domain.desired import Desired
from reconvirt.domain.effects import Effect
from reconvirt.domain.image_plan import Images, plan_images
from reconvirt.domain.kinds.common import is_persistent
from reconvirt.domain.kinds.disks import DISK
from reconvirt.domain.order import in_order
from reconvirt.domain.running import LivePlan
from reconvirt.domain.storage import NO_STORAGE, Storage

if TYPE_CHECKING:
    from lxml.etree import _Element


@dataclass(slots=True)
class Draft:
    """What a plan is made of, as it is found.

    Attributes:
        steps: what to do, in any order.
        waiting: what waits.
        refused: what is refused.
        storage: which sources of disks are left as they are.
        missing: the images that were there once and are missing, by target.dev.
    """

    steps: list[Step] = field(default_factory=list)
    waiting: list[Change] = field(default_factory=list)
    refused: list[Change] = field(default_factory=list)
    storage: Storage = NO_STORAGE
    missing: Mapping[str, Change] = field(default_factory=dict)

    def take(self, live: LivePlan) -> None:
        """Add what was found about what runs."""
        self.steps += live.steps
        self.waiting += live.waiting
        self.refused += live.refused

    def add(self, each: Step | Change) -> None:
        """Add a step, or a change that is refused or waited for."""
        if isinstance(each, Step):
            self.steps.append(each)
        elif each.effect is Effect.REFUSED:
            self.refused.append(each)
        else:
            self.waiting.append(each)

    def add_images(self, desired: Desired, images: Images, live: _Element | None) -> None:
        """Add what is to be done about images; a disk whose image is missing is not plugged in."""
        plugged = frozenset(index_devices(DISK, live)) if live is not None else frozenset[str]()
        planned = plan_images(
            desired,
            images,
            plugged=plugged,
            active=live is not None,
            storage=self.storage,
            missing=self.missing,
        )
        for each in planned:
            self.add(each)
        self.refused += self.missing.values()
        gone = {device_path(DISK, each) for each in self.missing}

        def opens_missing(step: Step) -> bool:
            return isinstance(step.action, Attach) and any(c.field in gone for c in step.changes)

        self.steps = [step for step in self.steps if not opens_missing(step)]

    def keeps_state(self, desired: Desired) -> bool:
        """Whether it is neither started nor ended in order to be started again.

        An image is missing, or its next start would have a disk on other content than it has now.
        """
        disks = desired.statement.devices.get(DISK.name, {})
        missing = any(is_persistent(disks[each]) for each in self.missing)
        return desired.state not in ("shutoff", "saved") and (missing or self.storage.split)

    def plan(self, name: str, unlisted: tuple[Change, ...] = ()) -> Plan:
        """The plan, its steps in the order in which they must be taken."""
        return Plan(
            name,
            in_order(self.steps),
            tuple(self.waiting),
            tuple(self.refused),
            unlisted,
            diverged=self.storage.diverged,
            overlays=self.storage.overlays,
            recheck=bool(self.missing),
        )
