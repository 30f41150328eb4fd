"""Planning a virtual server's states (chapters 13 and 23): which call leads where.

==================  =======================  ==================  ==========================
found               wanted running           wanted paused       wanted shut off, saved
==================  =======================  ==================  ==========================
shut off            start, restore           start paused        –
running             –                        suspend             ask to shut down; save
paused              resume                   –                   resume and ask; save
pmsuspended         wake                     wake                wake
in shutdown         wait                     wait                wait
crashed             as the crash policy says (dump, destroy), then as shut off
==================  =======================  ==================  ==========================

States in which libvirt is busy are waited for: their end is an event.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from reconvirt.domain.actions import (
    Action,
    Destroy,
    Dump,
    InjectNmi,
    Resume,
    Save,
    SetAutostart,
    Shutdown,
    Start,
    Suspend,
    Undefine,
    Wake,
)
from reconvirt.domain.changes import Change, Plan, Step
from reconvirt.domain.desired import ON_REMOVAL, Desired, Statement
from reconvirt.domain.effects import Effect
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.policy import ShutdownPolicy

RUNS = (State.RUNNING, State.BLOCKED)
"""The states in which the guest does something."""


@dataclass(frozen=True, slots=True)
class DumpFacts:
    """What is known of the dump of a crashed guest.

    Attributes:
        path: where it is written.
        done: whether it is there.
        hindrance: why it cannot be written; "" if it can.
    """

    path: str = ""
    done: bool = False
    hindrance: str = "no directory for dumps is configured"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What has happened to a virtual server, that its state does not tell.

    Attributes:
        shutdown_asked: seconds since its guest was first asked to shut down; None if it was not.
        not_yet: why it must not be started now; "" if it may.
        restarted_for: changes for which it has been restarted already, in vain.
        dump: what is known of its dump, where it has crashed.
        resumable: whether it was shown now that no other host has it, or may have it; asked for
            only where its manifest is gone.
        not_resumed: why not, if it was asked.
    """

    shutdown_asked: float | None = None
    not_yet: str = ""
    restarted_for: frozenset[str] = frozenset()
    dump: DumpFacts = DumpFacts()
    resumable: bool = False
    not_resumed: str = "the other hosts must say first that they do not have it"


NOTHING_HAPPENED = Circumstances()

_PAUSED_FOR_GOOD = {
    "I/O error": "it was paused by an I/O error of its storage: mend that, then 'virsh resume'",
    "crashed": "it was paused by a crash",
    "api error": "libvirt could not let it go on: see libvirt's log, then 'virsh resume'",
    "post-copy failed": "its migration has failed half-way, and its memory is lost: only "
    "'virsh destroy' helps",
}


def plan_state(
    desired: Desired,
    observed: Observed | None,
    happened: Circumstances,
    waiting: tuple[Change, ...] = (),
) -> Iterator[Step | Change]:
    """The steps towards the wanted state, and changes that are refused or waited for.

    Args:
        desired: what is wanted.
        observed: what libvirt has; None where it has no such domain.
        happened: what its state does not tell.
        waiting: the changes that wait for a restart.
    """
    yield from _autostart(desired, observed)
    path = _Path(desired, observed, happened)
    if desired.state == "any":
        return
    if observed is not None and observed.job:
        yield path.wait(f"libvirt is busy with it: {observed.job}")
        return
    yield from path.walk(waiting)


def _autostart(desired: Desired, observed: Observed | None) -> Iterator[Step]:
    wanted = desired.autostart
    if observed is not None and wanted is not None and wanted != observed.autostart:
        old, new = (_yes(each) for each in (observed.autostart, wanted))
        change = Change("autostart", old, new, Effect.LIVE, "libvirt keeps it for the host's start")
        yield Step(SetAutostart(wanted), (change,))


def plan_removal(observed: Observed, mark: Statement, happened: Circumstances) -> Plan:
    """What is to be done about a virtual server whose manifest is gone, as its mark says."""
    policy = mark.notes.get(ON_REMOVAL, "keep")
    if policy == "keep":
        return Plan(observed.name)
    wanted = Desired(observed.name, observed.uuid, "shutoff", mark)
    steps = [_unless_elsewhere(each, happened) for each in plan_state(wanted, observed, happened)]
    if not steps and policy == "undefine":
        if observed.saved is not None:
            why = "it has a saved system image, which would be lost: restore or remove that first"
            steps = [Change("", observed.name, None, Effect.REFUSED, why)]
        else:
            why = "its manifest is gone; storage, firmware variables and TPM state stay"
            steps = [Step(Undefine(), (Change("", observed.name, None, Effect.LIVE, why),))]
    return Plan(
        observed.name,
        tuple(each for each in steps if isinstance(each, Step)),
        tuple(each for each in steps if isinstance(each, Change) and each.effect is Effect.GUEST),
        tuple(each for each in steps if isinstance(each, Change) and each.effect is Effect.REFUSED),
    )


def _unless_elsewhere(found: Step | Change, happened: Circumstances) -> Step | Change:
    """The same, but nothing is resumed that may run on another host.

    What is paused may be what a migration has left here.
    """
    if not isinstance(found, Step) or not isinstance(found.action, Resume | Wake):
        return found
    if happened.resumable:
        return found
    return replace(found.changes[0], effect=Effect.GUEST, reason=happened.not_resumed)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


@dataclass(frozen=True, slots=True)
class _Path:
    """The way from the found state to the wanted one."""

    desired: Desired
    observed: Observed | None
    happened: Circumstances

    @property
    def found(self) -> State | None:
        """The state that it is in."""
        return self.observed.state if self.observed else None

    def walk(self, waiting: tuple[Change, ...]) -> Iterator[Step | Change]:
        """The next steps from the found state."""
        match self.found:
            case None | State.SHUTOFF:
                yield from self.from_shutoff()
            case State.RUNNING | State.BLOCKED:
                yield from self.from_running(waiting)
            case State.PAUSED:
                yield from self.from_paused()
            case State.CRASHED:
                yield from self.from_crashed()
            case State.SUSPENDED:
                yield self.step(Wake(), "the guest sleeps and is woken")
            case State.SHUTDOWN:
                yield self.wait("it is shutting down")
            case State.UNKNOWN:
                yield self.refuse("libvirt does not know its state")

    def step(self, action: Action, why: str, effect: Effect = Effect.LIVE) -> Step:
        """One step on the way."""
        return Step(action, (self._change(effect, why),))

    def wait(self, why: str) -> Change:
        """Nothing can be done until something has ended."""
        return self._change(Effect.GUEST, why)

    def refuse(self, why: str) -> Change:
        """It is for a person to decide."""
        return self._change(Effect.REFUSED, why)

    def _change(self, effect: Effect, why: str) -> Change:
        wanted = "shut off" if self.desired.state == "shutoff" else self.desired.state
        return Change("state", self.found.value if self.found else None, wanted, effect, why)

    def from_shutoff(self) -> Iterator[Step | Change]:
        if self.desired.state in ("shutoff", "saved"):
            return
        if self.happened.not_yet:
            yield self.wait(self.happened.not_yet)
            return
        paused = self.desired.state == "paused"
        image = self.observed is not None and self.observed.saved is not None
        discard = image and self.desired.policy.saved == "discard"
        what = "it shall run" if not paused else "it shall be there, paused"
        if discard:
            what += "; its saved system image is discarded"
        elif image:
            what += "; its saved system image is restored"
        yield self.step(Start(paused, discard), what)

    def from_running(self, waiting: tuple[Change, ...]) -> Iterator[Step | Change]:
        match self.desired.state:
            case "running":
                yield from self._restart(waiting)
            case "paused":
                yield self.step(Suspend(), "it shall be there, paused")
            case "saved":
                yield self.step(Save(), "its system image is saved")
            case _:
                yield from self.stop("the guest is asked to shut down")

    def _restart(self, waiting: tuple[Change, ...]) -> Iterator[Step | Change]:
        due = [each for each in waiting if each.effect is Effect.NEXT_START]
        if self.desired.policy.restart != "automatic" or not due:
            return
        if {each.field for each in due} <= self.happened.restarted_for:
            names = ", ".join(sorted(each.field for each in due))
            yield self.refuse(f"it was restarted for {names}, and they still wait")
            return
        yield from self.stop("it is restarted for what waits")

    def from_paused(self) -> Iterator[Step | Change]:
        reason = self.observed.reason if self.observed else ""
        if self.desired.state == "paused":
            return
        if self.desired.state == "saved":
            yield self.step(Save(), "its system image is saved")
        elif reason == "watchdog":
            yield from self._from_watchdog()
        elif reason in _PAUSED_FOR_GOOD:
            yield self.refuse(_PAUSED_FOR_GOOD[reason])
        elif self.desired.state == "running":
            yield self.step(Resume(), "it shall run")
        else:
            yield self.step(Resume(), "a paused guest does not hear that it shall shut down")

    def _from_watchdog(self) -> Iterator[Step | Change]:
        match self.desired.policy.watchdog:
            case "preserve":
                yield self.refuse("its watchdog has paused it; 'virsh resume' lets it go on")
            case "restart":
                yield self.step(Destroy(), "its watchdog has paused it; it is started anew")
            case "nmi":
                yield self.step(
                    InjectNmi(), "its watchdog has paused it; the guest may dump itself"
                )
                yield self.step(Resume(), "it gets its restart interrupt")
            case "resume":
                yield self.step(Resume(), "its watchdog has paused it; it goes on")

    def from_crashed(self) -> Iterator[Step | Change]:
        policy, dump = self.desired.policy.crash, self.happened.dump
        dumps = policy in ("dump", "dump-and-restart")
        if dumps and not dump.done and not dump.hindrance:
            yield self.step(Dump(dump.path), f"it has crashed; its memory goes to {dump.path}")
        elif policy in ("restart", "dump-and-restart"):
            told = f"; no dump: {dump.hindrance}" if dumps and dump.hindrance else ""
            yield self.step(Destroy(), f"it has crashed and is started anew{told}")
        elif dump.done:
            yield self.refuse(
                f"it has crashed; its memory is in {dump.path}; 'virsh destroy' ends it"
            )
        else:
            told = f"no dump: {dump.hindrance}; " if dumps else "dump it if you like; "
            yield self.refuse(f"it has crashed and is preserved: {told}'virsh destroy' ends it")

    def stop(self, why: str) -> Iterator[Step | Change]:
        policy: ShutdownPolicy = self.desired.policy.shutdown
        asked = self.happened.shutdown_asked
        if policy.force and asked is not None and asked >= policy.timeout:
            told = f"the guest has not shut down in {policy.timeout} s and is ended by force"
            yield self.step(Destroy(), told)
        else:
            yield self.step(Shutdown(policy.mode), why, Effect.GUEST)
