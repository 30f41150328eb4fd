"""How a change takes effect on a running virtual server: the classes of change and their rules.

A rule looks at one difference between what a manifest states and what runs, and says what can be
done about it. The rules are named in the rows of :mod:`reconvirt.domain.fields` and of the kinds
of devices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from reconvirt.domain.actions import (
    Action,
    AddIothread,
    DeleteIothread,
    SetLifecycleAction,
    SetMemory,
    SetParameter,
    SetText,
    SetVcpus,
)
from reconvirt.domain.joint_places import iothread_ids, iothreads_in_use

if TYPE_CHECKING:
    from lxml.etree import _Element

    from reconvirt.domain.values import Value


class Effect(StrEnum):
    """When a change takes effect."""

    LIVE = "live"
    """At once."""
    GUEST = "live, guest must answer"
    """As soon as the guest has agreed."""
    NEXT_START = "at next start"
    """When the virtual server is started the next time."""
    REFUSED = "refused"
    """Never: it would be another virtual server."""


class Way(StrEnum):
    """By what a change of a plugged-in device is made, where it can be made at all."""

    NONE = "none"
    """By nothing: the device keeps it until the next start."""
    UPDATE = "update"
    """With the whole device in one ``virDomainUpdateDeviceFlags``."""
    MEDIUM = "medium"
    """Likewise, if it is a drive whose medium can be changed."""
    RATE = "rate"
    """With all rates of the interface in one ``virDomainSetInterfaceParameters``."""
    THROTTLE = "throttle"
    """With all limits of the disk in one ``virDomainSetBlockIoTune``."""
    IMAGE = "image"
    """Not by libvirt's configuration: the image itself is made or grown."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What can be done about one difference: when, why then, and by which action if at once."""

    effect: Effect
    reason: str
    action: Action | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A running virtual server as the rules see it.

    Attributes:
        live: what runs, the active XML.
        config: what the next start would bring, the inactive XML as it will be.
        paused: whether the guest does nothing, and can answer nothing.
    """

    live: _Element
    config: _Element
    paused: bool = False

    @property
    def arch(self) -> str:
        """The guest's processor architecture."""
        system = self.live.find("os/type")
        return "" if system is None else system.get("arch", "")


Rule: TypeAlias = "Callable[[Running, Value | None, Value | None], tuple[Verdict, ...]]"
"""(running, found, wanted) → verdicts; ``wanted`` None: the manifest no longer states it."""


@dataclass(frozen=True, slots=True)
class Effects:
    """A rule and the sentence that documents it."""

    rule: Rule
    summary: str
    effect: Effect
    way: Way = Way.NONE


def at_next_start(why: str) -> Effects:
    """Nothing can be done while it runs, and why."""
    verdict = (Verdict(Effect.NEXT_START, why),)
    return Effects(lambda _running, _found, _wanted: verdict, why, Effect.NEXT_START)


STARTED_WITH = at_next_start("a running virtual server keeps what it was started with")
"""The rule of all that a process is given once."""


def refused(why: str) -> Effects:
    """It cannot be changed at all, and why."""
    verdict = (Verdict(Effect.REFUSED, why),)
    return Effects(lambda _running, _found, _wanted: verdict, why, Effect.REFUSED)


def with_device(way: Way, summary: str, otherwise: str) -> Effects:
    """The device is changed as a whole, where it can be; ``otherwise`` says why not."""
    verdict = (Verdict(Effect.NEXT_START, otherwise),)
    return Effects(lambda _running, _found, _wanted: verdict, summary, Effect.LIVE, way)


def _vcpus(running: Running, found: Value | None, wanted: Value | None) -> tuple[Verdict, ...]:
    count, now = int(wanted or 0), int(found or 0)
    most = int(running.live.findtext("vcpu") or 0)
    if count > most:
        why = f"the running virtual server was started with at most {most} vCPUs"
        return (Verdict(Effect.NEXT_START, why),)
    if count > now:
        return (Verdict(Effect.LIVE, "vCPUs are hotplugged", SetVcpus(count)),)
    if running.arch == "s390x":
        why = "s390x cannot unplug vCPUs from a running virtual server"
        return (Verdict(Effect.NEXT_START, why),)
    return (Verdict(Effect.GUEST, "the guest must release the vCPUs", SetVcpus(count)),)


VCPUS = Effects(
    _vcpus,
    "more, up to the running maximum: at once; fewer: the guest must release them, on s390x at "
    "next start",
    Effect.LIVE,
)


def _balloon(running: Running, _found: Value | None, wanted: Value | None) -> tuple[Verdict, ...]:
    if wanted is None:
        why = "what no manifest states any longer is set back at the next start"
        return (Verdict(Effect.NEXT_START, why),)
    balloon = running.live.find("devices/memballoon")
    if balloon is None or balloon.get("model") == "none":
        return (Verdict(Effect.NEXT_START, "it was started without a memory balloon"),)
    if int(wanted) > int(running.live.findtext("memory") or 0):
        return (Verdict(Effect.NEXT_START, "it was started with less memory than that"),)
    return (Verdict(Effect.GUEST, "the guest fills its balloon", SetMemory(int(wanted))),)


BALLOON = Effects(_balloon, "the guest fills or empties its memory balloon", Effect.GUEST)


def parameter(group: str, name: str) -> Effects:
    """A tuning parameter of the host's control groups.

    Args:
        group: ``scheduler``, ``memory`` or ``blkio``: libvirt's call for it.
        name: libvirt's name of the parameter.
    """

    def rule(_: Running, _found: Value | None, wanted: Value | None) -> tuple[Verdict, ...]:
        if wanted is None:
            why = "libvirt cannot unset it while the virtual server runs"
            return (Verdict(Effect.NEXT_START, why),)
        action = SetParameter(group, name, int(wanted))
        return (Verdict(Effect.LIVE, "a control group setting of the host", action),)

    return Effects(rule, "a control group setting of the host", Effect.LIVE)


def label(kind: str) -> Effects:
    """The title or the description, which libvirt keeps and does nothing with."""

    def rule(_: Running, _found: Value | None, wanted: Value | None) -> tuple[Verdict, ...]:
        action = SetText(kind, str(wanted or ""))
        return (Verdict(Effect.LIVE, "libvirt only keeps it", action),)

    return Effects(rule, "libvirt only keeps it", Effect.LIVE)


def _iothreads(
    running: Running, _found: Value | None, _wanted: Value | None
) -> tuple[Verdict, ...]:
    have, want = iothread_ids(running.live), iothread_ids(running.config)
    used = iothreads_in_use(running.live)
    more = [
        Verdict(Effect.LIVE, f"I/O thread {number} is added", AddIothread(number))
        for number in sorted(want - have)
    ]
    fewer = [
        Verdict(Effect.LIVE, f"I/O thread {number} is idle", DeleteIothread(number))
        for number in sorted(have - want - used)
    ]
    busy = [
        Verdict(Effect.NEXT_START, f"a device of the running virtual server uses I/O thread {each}")
        for each in sorted((have - want) & used)
    ]
    return (*more, *fewer, *busy)


IOTHREADS = Effects(
    _iothreads, "added at once; deleted as soon as no device uses them", Effect.LIVE
)


_USUAL_REACTIONS = {"poweroff": "destroy", "reboot": "restart", "crash": "destroy"}


def lifecycle(event: str) -> Effects:
    """The reaction to poweroff, reboot or crash."""

    def rule(_: Running, _found: Value | None, wanted: Value | None) -> tuple[Verdict, ...]:
        action = SetLifecycleAction(event, str(wanted or _USUAL_REACTIONS[event]))
        return (Verdict(Effect.LIVE, "libvirt takes the new reaction at once", action),)

    return Effects(rule, "libvirt takes the new reaction at once", Effect.LIVE)
