"""Where virtual servers shall be, for the reconciler: here, elsewhere, or nobody knows yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reconvirt.controller.evaluate import stranded
from reconvirt.controller.hosts.claims import ASKING, FREE, Claim, Claims
from reconvirt.controller.hosts.known_hosts import KnownHost
from reconvirt.controller.hosts.migrations import Migrations
from reconvirt.controller.hosts.report import ARRIVING, End
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.controller.prune import Orphan
from reconvirt.controller.state_store import Unreadable
from reconvirt.domain.changes import Plan
from reconvirt.domain.desired import Desired
from reconvirt.domain.lifecycle import RUNS
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.ownership import is_ours
from reconvirt.domain.placing import Inventory, carries_mark, plan_elsewhere

_ASK_AGAIN_SECONDS = 30.0
_PURPOSES = ("define", "start", "restart", "resume")
_LEFT_BY_MIGRATION = (*ARRIVING, "post-copy")
"""The reasons for a pause that a migration may have left behind, here or there."""


class Placement:
    """Decides whose business a virtual server is.

    Args:
        inventory: gives this host and the others; without others everything is this one's.
        claims: knows whether another host has it.
        migrations: moves what shall be elsewhere.
        known: gives all other hosts that were ever known, or raises Unreadable.
    """

    def __init__(
        self,
        inventory: Callable[[], Inventory],
        claims: Claims,
        migrations: Migrations | None,
        known: Callable[[], tuple[KnownHost, ...]],
    ) -> None:
        self._inventory = inventory
        self._claims = claims
        self._migrations = migrations
        self._known = known
        self._holders: dict[str, str] = {}
        self._missed: set[str] = set()
        self._unmarked: set[str] = set()

    def alone(self, desired: Desired) -> bool:
        """Whether a virtual server can be no other host's: none was ever known, and none reads."""
        inventory = self._inventory()
        shared = inventory.shared or self._claims.asks_always
        if shared or inventory.others or inventory.unknown(desired):
            return False
        try:
            return not self._known()
        except Unreadable:
            return False

    def why_not(self, desired: Desired | None, uuid: str, name: str, purpose: str) -> str:
        """Why a virtual server must not be defined, started or resumed here; "" if it may.

        It may only if every other host has said, in answer to this very question and not more than
        15 seconds ago, that it does not have it. Where it has not been asked, it is, and the
        virtual server is woken when there are answers.

        Args:
            desired: what is wanted of it; None if its manifest is gone.
            uuid: its uuid.
            name: its name.
            purpose: ``define``, ``start``, ``restart`` or ``resume``.
        """
        if desired is not None:
            inventory = self._inventory()
            if unknown := inventory.unknown(desired):
                return f"no manifest describes {unknown}, where it shall be: it is left alone"
            new = purpose == "define" or name in self._unmarked
            if new and (refusal := inventory.refusal(desired, None)):
                return refusal
        try:
            others = self._known()
        except Unreadable as error:
            return f"it is not known which other hosts there are: {error}"
        asks = bool(others) or self._claims.asks_always
        return self._ask(name, uuid, purpose).reason if asks else ""

    def forget_answers(self, uuid: str) -> None:
        """Take what the other hosts have said of a virtual server for no evidence any more.

        Something was done on it, or the virtual server is another host's: what comes next, within
        the seconds for which an answer counts, too, is another question.
        """
        for purpose in _PURPOSES:
            self._claims.forget(uuid, purpose)

    def is_for_us(self, desired: Desired) -> bool:
        """Whether a virtual server shall be on this host."""
        return self._inventory().is_for_us(desired)

    def told(self, desired: Desired, outcome: Outcome) -> Outcome:
        """What a look came to, with what other hosts have to do with it."""
        outcome = replace(outcome, other_host=self._holders.get(desired.name, ""))
        return stranded(outcome, self._inventory().stranded(desired))

    def leaves(self, desired: Desired, observed: Observed | None) -> bool:
        """Whether a virtual server is here and shall be on another host."""
        if observed is None or not is_ours(desired, observed):
            return False
        return self._inventory().destination(desired, observed) is not None

    def why_not_leave(self, desired: Desired, observed: Observed) -> str:
        """Why nothing may be taken from a virtual server for its migration yet; "" if it may.

        Its destination must have answered: or it would be without its hotplug devices for as long
        as that is off.
        """
        destination = self._inventory().destination(desired, observed)
        claim = self._claims.look(desired.name, observed.uuid, "leave")
        silent = destination is not None and claim.host == destination.name and not claim.sure
        return claim.reason if silent or claim.reason == ASKING else ""

    def waits(self, desired: Desired, observed: Observed, why: str) -> Outcome:
        """The outcome of one that waits for other hosts."""
        return self._outcome(desired, observed, why)

    def try_anew(self, name: str) -> None:
        """Forget that a virtual server could not be moved: somebody has said to try again."""
        if self._migrations is not None:
            self._migrations.forget(name)

    def forget(self, name: str) -> None:
        """The manifest of a virtual server is gone."""
        self._holders.pop(name, None)
        self._missed.discard(name)
        self._unmarked.discard(name)
        if self._migrations is not None:
            self._migrations.let_go(name)

    def moving(self, name: str) -> bool:
        """Whether a virtual server is on its way to another host."""
        return self._migrations is not None and self._migrations.moving(name)

    def judge(self, desired: Desired, observed: Observed | None) -> Outcome | None:
        """What is to be said of a virtual server that nothing may be done to here.

        None if it is this host's, and may be worked on.
        """
        inventory = self._inventory()
        self._holders.pop(desired.name, None)
        missed = desired.name in self._missed
        self._missed.discard(desired.name)
        self._note(desired, observed)
        if refusal := inventory.refusal(desired, observed):
            return self._outcome(desired, observed, refusal, phase=Phase.REFUSED)
        elsewhere = plan_elsewhere(desired, observed, inventory)
        if elsewhere is not None:
            return self._elsewhere(desired, observed, elsewhere)
        migrations = self._migrations
        if migrations is not None:
            ending = migrations.end(desired, here=observed is not None)
            if ending is not None:
                again = ending.again_after or _ASK_AGAIN_SECONDS
                return self._outcome(desired, observed, ending.message, again=again)
        if observed is None:
            return self._new(desired, inventory, missed=missed)
        return self._here(desired, observed)

    def _note(self, desired: Desired, observed: Observed | None) -> None:
        """Keep what is asked about later of what is here now."""
        self._unmarked.discard(desired.name)
        if observed is None:
            # Whether it may be started is asked after its definition was written, not before.
            for purpose in _PURPOSES[1:]:
                self._claims.forget(desired.expected_uuid, purpose)
        elif desired.host is None and not carries_mark(desired, observed):
            self._unmarked.add(desired.name)

    def _here(self, desired: Desired, observed: Observed) -> Outcome | None:
        left = observed.state is State.PAUSED and observed.reason in _LEFT_BY_MIGRATION
        if observed.active and not left and not observed.job:
            self._claims.runs_here(observed.uuid)
        if observed.state in RUNS:
            return None
        if observed.job == "incoming migration":
            return self._outcome(desired, observed, "it is arriving")
        if left:
            # It may be what a migration left behind, here or there.
            unknown = "" if self._migrations is None else self._migrations.unknown()
            if unknown:
                return self._outcome(desired, observed, unknown, phase=Phase.REFUSED)
            return self._unless_free(desired, observed, "resume")
        if observed.state is State.PAUSED and observed.reason == "post-copy failed":
            return self._outcome(desired, observed, "its memory is lost: its migration has failed")
        return None

    def why_not_start(self, desired: Desired, observed: Observed | None) -> str:
        """Why a virtual server must not be started now; "" if it may."""
        starts = desired.state in ("running", "paused")
        if not starts or observed is None or observed.state is not State.SHUTOFF:
            return ""
        return self.why_not(desired, observed.uuid, desired.name, "start")

    def why_not_resume(self, orphan: Orphan, observed: Observed) -> str:
        """Why one whose manifest is gone must not be resumed or woken now; "" if it may."""
        if orphan.policy == "keep" or observed.state not in (State.PAUSED, State.SUSPENDED):
            return ""
        if observed.job == "incoming migration":
            return "it is arriving"
        return self.why_not(None, orphan.uuid, orphan.name, "resume")

    def _new(self, desired: Desired, inventory: Inventory, *, missed: bool) -> Outcome | None:
        """What is to be said of one that is not here yet.

        Args:
            desired: what is wanted of it.
            inventory: this host and the others.
            missed: whether the others had it not when they were last asked.
        """
        if not inventory.evacuates(desired):
            return self._unless_free(desired, None, "define")
        claim = self._ask(desired.name, desired.expected_uuid, "define")
        if claim == FREE and not missed:
            # On its way to another of its hosts it may be missed once: by who was asked before it
            # came, and by who was asked after it had left. Not twice in a row.
            self._claims.forget(desired.expected_uuid, "define")
            missed, claim = True, self._ask(desired.name, desired.expected_uuid, "define")
        if claim == FREE:
            return None
        if missed and claim.reason == ASKING:
            self._missed.add(desired.name)
        if claim.host in desired.hosts and claim.sure:
            self._holders.pop(desired.name, None)
            message = f"it is on {claim.host}, while {desired.host} is to be emptied"
            elsewhere = (desired.name, Phase.ELSEWHERE, message, Plan(desired.name))
            return Outcome(*elsewhere, again_after=_ASK_AGAIN_SECONDS)
        return self._outcome(desired, None, claim.reason)

    def _unless_free(
        self, desired: Desired, observed: Observed | None, purpose: str
    ) -> Outcome | None:
        uuid = observed.uuid if observed else desired.expected_uuid
        why = self.why_not(desired, uuid, desired.name, purpose)
        return self._outcome(desired, observed, why) if why else None

    def _ask(self, name: str, uuid: str, purpose: str) -> Claim:
        claim = self._claims.look(name, uuid, purpose)
        if claim.host:
            self._holders[name] = claim.host
        else:
            self._holders.pop(name, None)
        return claim

    def _elsewhere(self, desired: Desired, observed: Observed | None, plan: Plan) -> Outcome:
        if observed is None:
            return self._gone(desired, plan)
        if not is_ours(desired, observed):
            message = "another virtual server of this name is here, which is left alone"
            return Outcome(desired.name, Phase.ELSEWHERE, message, plan, observed=observed)
        if observed.job == "incoming migration":
            return self._outcome(desired, observed, "it is arriving, and shall be elsewhere")
        return self._leave(desired, observed, plan)

    def _gone(self, desired: Desired, plan: Plan) -> Outcome:
        self.forget_answers(desired.expected_uuid)
        inventory, migrations = self._inventory(), self._migrations
        host = inventory.place(desired)
        if migrations is not None:
            sent = migrations.sent(desired.name)
            host = sent if sent in inventory.places(desired) else host
            if not migrations.moving(desired.name) and not migrations.unknown():
                migrations.gone(desired)
                if host is not None:
                    self._claims.hand_over(desired.expected_uuid, host)
        return Outcome(desired.name, Phase.ELSEWHERE, f"it is for {host}", plan)

    def _leave(self, desired: Desired, observed: Observed, plan: Plan) -> Outcome:
        if self._migrations is None:
            message = "the daemon moves it: 'reconvirt run'"
            return Outcome(desired.name, Phase.WAITING, message, plan, observed=observed)
        if not self._migrations.moving(desired.name):
            hindrance = self._claims.may_leave(desired.name, observed.uuid)
            if hindrance:
                return self._outcome(desired, observed, hindrance)
        standing = self._migrations.move(desired)
        report = standing.report
        phase, retry = Phase.WAITING, False
        if report is not None and not standing.underway:
            phase = Phase.REFUSED if report.end is End.REFUSED else Phase.FAILED
            if report.end is End.FULL:
                phase = Phase.WAITING
        return Outcome(
            *(desired.name, phase, standing.message, plan),
            retry=retry,
            again_after=standing.again_after,
            observed=observed,
        )

    def _outcome(
        self,
        desired: Desired,
        observed: Observed | None,
        message: str,
        *,
        phase: Phase = Phase.WAITING,
        again: float = _ASK_AGAIN_SECONDS,
    ) -> Outcome:
        plan = Plan(desired.name)
        return Outcome(desired.name, phase, message, plan, again_after=again, observed=observed)
