"""The guard: the only way to a writing call on a virtual server.

Directly before each call it collects the evidence that the action needs
(:mod:`reconvirt.domain.evidence`), reading again whatever can have changed since the plan was
made. The daemon, ``apply`` and migrations all come through here. What is missing is a
:class:`Refusal`: the call is not made, and the status says why and what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from reconvirt.controller.memory import STALLED_SECONDS
from reconvirt.controller.outcome import Phase
from reconvirt.controller.prune import Orphan
from reconvirt.controller.write_budget import WriteBudget
from reconvirt.domain.actions import (
    Action,
    Attach,
    CreateImage,
    Define,
    GrowImage,
    Resume,
    SetAutostart,
    SetLifecycleAction,
    UpdateDevice,
    Wake,
)
from reconvirt.domain.changes import Plan
from reconvirt.domain.desired import Desired
from reconvirt.domain.disk_source import repointed
from reconvirt.domain.evidence import EVIDENCE, Evidence, authority
from reconvirt.domain.mark import mark_text
from reconvirt.domain.migration_actions import (
    AbortMigration,
    EndLeftover,
    ResumeAfterMigration,
    SetMaxDowntime,
    StartPostCopy,
    SuspendToMigrate,
)
from reconvirt.domain.observed import Identity, Observed
from reconvirt.domain.xmltree import parse_xml
from reconvirt.hypervisor.connection import Hypervisor

_ENDS_AT_REBOOT = SetLifecycleAction("reboot", "destroy")
_ASK_AGAIN_SECONDS = 30.0


class Refusal(Exception):
    """A call must not be made now; the text says why and what to do.

    Attributes:
        phase: the phase of a virtual server for which this is the last word.
        again_after: seconds until it is reconciled again although nothing happens.
    """

    phase: ClassVar[Phase] = Phase.WAITING
    again_after: ClassVar[float | None] = _ASK_AGAIN_SECONDS


class OnHold(Refusal):
    """It was put on hold meanwhile; the text is the hold."""

    phase = Phase.HELD
    again_after = None


class Outdated(Refusal):
    """The plan is not of what there is now: observe and plan again."""


class NotPlaced(Refusal):
    """Another host has it, or may have it."""


class StorageInUse(Refusal):
    """Something else writes to its storage."""

    phase = Phase.REFUSED


class NotRestartable(Refusal):
    """It could be ended, and not be started again."""


class NoAuthority(Refusal):
    """No manifest or policy in force says so."""

    phase = Phase.REFUSED


class OverBudget(Refusal):
    """Too many writing calls without a change of its manifest."""

    phase = Phase.STALLED
    again_after = STALLED_SECONDS


@dataclass(frozen=True, slots=True)
class Call:
    """One writing call that is to be made.

    Attributes:
        name: the virtual server.
        uuid: its uuid, by which libvirt is told which domain is meant.
        action: what is to be done.
        basis: the observation that the plan was made from; None if there was no such domain.
        desired: what the plan was made for; None if its manifest is gone.
        orphan: what was last applied, if its manifest is gone.
        migration: what says so where it is part of a migration that is in the journal, whatever
            the manifest says by now; "" for anything else.
        plan: the plan that the action is a step of.
    """

    name: str
    uuid: str
    action: Action
    basis: Observed | None
    desired: Desired | None = None
    orphan: Orphan | None = None
    migration: str = ""
    plan: Plan = field(default_factory=lambda: Plan(""))


_OF_A_MIGRATION = (
    SetMaxDowntime,
    AbortMigration,
    StartPostCopy,
    SuspendToMigrate,
    ResumeAfterMigration,
    EndLeftover,
    SetAutostart,
)
"""What the journal of a migration may order."""

Wanted = Callable[[], Mapping[str, Desired]]


def _nothing_against(_desired: Desired | None, _uuid: str, _name: str, _purpose: str) -> str:
    return ""


@dataclass(slots=True)
class Guard:
    """Collects evidence, and makes the call if there is enough of it.

    Attributes:
        hold: why a virtual server is on hold, by its uuid, name and manifest; None if it is not.
        placement: why another host has it, or may have it, for ``define``, ``start``,
            ``restart`` or ``resume``; "" if it is shown now that none has.
        spent: forgets what the other hosts have answered about a virtual server, by its uuid: a
            call was made on it.
        wanted: what all manifests in force want, by name; None where there is only one plan.
        removals: the orphans that may be removed now, by name; None likewise.
        budget: the bound on writing calls.
    """

    hold: Callable[[str, str, Desired | None], str | None] = lambda _uuid, _name, _desired: None
    placement: Callable[[Desired | None, str, str, str], str] = _nothing_against
    spent: Callable[[str], None] = lambda _uuid: None
    wanted: Wanted | None = None
    removals: Callable[[], Mapping[str, Orphan]] | None = None
    budget: WriteBudget = field(default_factory=WriteBudget)

    def act(self, hypervisor: Hypervisor, call: Call) -> None:
        """Make one writing call.

        Raises:
            Refusal: evidence is missing; nothing was done.
            HypervisorError: libvirt failed.
        """
        needed = EVIDENCE.get(type(call.action), frozenset())
        if not needed:
            raise NoAuthority(f"{call.action.verb}: no evidence is stated for this action")
        claims = False
        try:
            for evidence in Evidence:
                if evidence in needed:
                    claims = claims or evidence is Evidence.STORAGE
                    _CHECKS[evidence](self, hypervisor, call)
            hypervisor.act(call.uuid, call.action)
            if _purpose(call) and needed & {Evidence.PLACEMENT, Evidence.RESTARTABLE}:
                # What was answered for this call is used up: it says nothing of the next one.
                self.spent(call.uuid)
        finally:
            if claims:
                hypervisor.release_storage(call.uuid)

    def _see_authority(self, _hypervisor: Hypervisor, call: Call) -> None:
        removal = ""
        if call.migration and isinstance(call.action, _OF_A_MIGRATION):
            return
        if call.desired is not None:
            if self.wanted is not None and self.wanted().get(call.name) != call.desired:
                raise Outdated("its manifest has changed meanwhile")
        elif call.orphan is not None:
            if self.removals is not None and self.removals().get(call.name) != call.orphan:
                raise Outdated("it is not to be removed any more")
            removal = call.orphan.policy
        if not authority(call.action, call.desired, removal, call.basis):
            raise NoAuthority(
                f"{call.action.verb}: neither its manifest nor a policy says so; state it there"
            )

    def _see_placement(self, _hypervisor: Hypervisor, call: Call) -> None:
        purpose = _purpose(call)
        if purpose and (why := self.placement(call.desired, call.uuid, call.name, purpose)):
            raise NotPlaced(why)

    def _see_storage(self, hypervisor: Hypervisor, call: Call) -> None:
        if isinstance(call.action, Define):
            self._see_jobs(hypervisor, call)
            return
        xml = _opened_storage(call)
        if xml and (conflicts := hypervisor.storage_conflicts(call.uuid, xml, claim=True)):
            raise StorageInUse("; ".join(conflicts))

    def _see_jobs(self, hypervisor: Hypervisor, call: Call) -> None:
        """No disk is pointed at another source under a block job."""
        basis, action = call.basis, call.action
        if basis is None or basis.live is None or not isinstance(action, Define):
            return
        moved = repointed(basis.config, action.xml)
        for disk in hypervisor.block_jobs(call.uuid) if moved else ():
            if disk in moved:
                raise StorageInUse(
                    f"a block job works on {disk}, and it is not pointed at another source before "
                    f"that has ended: 'virsh blockjob {call.name} {disk}' shows it"
                )

    def _see_restartable(self, hypervisor: Hypervisor, call: Call) -> None:
        """What a later start needs is shown before anything is ended for it."""
        desired, basis = call.desired, call.basis
        if desired is None or basis is None or desired.state not in ("running", "paused"):
            return
        if isinstance(call.action, SetLifecycleAction) and call.action != _ENDS_AT_REBOOT:
            return
        blockers = [f"{each.field}: {each.reason}" for each in call.plan.refused]
        blockers += hypervisor.missing_sources(basis.config)
        # A question of its own: what was answered for its last start is older than its end.
        if why := self.placement(desired, call.uuid, call.name, "restart"):
            blockers.append(why)
        if blockers:
            told = "; ".join(blockers)
            raise NotRestartable(f"it is not ended, since it could not be started again: {told}")

    def _see_budget(self, _hypervisor: Hypervisor, call: Call) -> None:
        generation = call.desired if call.desired is not None else call.orphan
        planned = len(call.plan.steps)
        if why := self.budget.spend(call.uuid, generation, call.action.verb, planned):
            raise OverBudget(f"{why}; 'reconvirt reconcile {call.name}' has it tried again")

    def _see_identity(self, hypervisor: Hypervisor, call: Call) -> None:
        if isinstance(call.action, CreateImage | GrowImage):
            return
        basis, found = call.basis, hypervisor.identify(call.uuid, call.name)
        if basis is None:
            if found:
                raise Outdated("a domain of this name or uuid has appeared meanwhile")
            return
        if found != (_identity(basis),):
            raise Outdated("the domain has changed meanwhile")
        base = call.action.base if isinstance(call.action, Define) else ""
        if base and hypervisor.read_config(call.uuid) != base:
            raise Outdated("its configuration has changed meanwhile")

    def _see_hold(self, _hypervisor: Hypervisor, call: Call) -> None:
        if (hold := self.hold(call.uuid, call.name, call.desired)) is not None:
            raise OnHold(hold)


_CHECKS: Mapping[Evidence, Callable[[Guard, Hypervisor, Call], None]] = {
    Evidence.AUTHORITY: Guard._see_authority,  # noqa: SLF001 - the table is part of the class
    Evidence.PLACEMENT: Guard._see_placement,  # noqa: SLF001 - likewise
    Evidence.STORAGE: Guard._see_storage,  # noqa: SLF001 - likewise
    Evidence.RESTARTABLE: Guard._see_restartable,  # noqa: SLF001 - likewise
    Evidence.BUDGET: Guard._see_budget,  # noqa: SLF001 - likewise
    Evidence.IDENTITY: Guard._see_identity,  # noqa: SLF001 - likewise
    Evidence.NOT_HELD: Guard._see_hold,  # noqa: SLF001 - likewise
}


def _purpose(call: Call) -> str:
    """What the other hosts are asked for; "" if they need not be asked."""
    match call.action:
        case Define() if call.basis is not None:
            return ""
        case Resume() | Wake():
            return "resume"
        case _:
            return call.action.verb


def _opened_storage(call: Call) -> str:
    """The XML of the storage that a call opens; "" for none."""
    match call.action:
        case Attach(xml) | UpdateDevice(xml):
            return xml
        case _:
            basis = call.basis
            # What is restored from a saved system image has the storage that it was saved with.
            return "" if basis is None else basis.saved or basis.config


def _identity(basis: Observed) -> Identity:
    # Of one that is not persistent only what runs has metadata that can be asked for.
    layer = basis.config if basis.persistent or basis.live is None else basis.live
    mark = mark_text(parse_xml(layer))
    return Identity(basis.uuid, basis.name, basis.domain_id, basis.persistent, mark)
