"""The order in which the steps of a plan are taken."""

from __future__ import annotations

from collections.abc import Iterable

from reconvirt.domain.actions import (
    IN_PLACE,
    CreateImage,
    Define,
    Destroy,
    Detach,
    Dump,
    GrowImage,
    InjectNmi,
    Record,
    Rename,
    Resume,
    Save,
    SetLifecycleAction,
    Shutdown,
    Start,
    Suspend,
    Wake,
)
from reconvirt.domain.changes import Step

_ORDER = (
    CreateImage,
    GrowImage,
    Rename,
    Record,
    Define,
    *IN_PLACE,
    Dump,
    Destroy,
    Wake,
    InjectNmi,
    Start,
    Suspend,
    Resume,
    Save,
    Shutdown,
)


def in_order(steps: Iterable[Step]) -> tuple[Step, ...]:
    """The steps, each after those that it needs: storage, configuration, what runs, the state."""

    def order(numbered: tuple[int, Step]) -> tuple[int, bool, int]:
        number, step = numbered
        # What is attached to a controller is taken away before the controller.
        backwards = isinstance(step.action, Detach)
        # Not even in passing does libvirt take on_poweroff: restart beside on_reboot: destroy.
        later = step.action != SetLifecycleAction("reboot", "restart")
        return _ORDER.index(type(step.action)), later, -number if backwards else number

    return tuple(step for _, step in sorted(enumerate(steps), key=order))
