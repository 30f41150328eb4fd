"""One migration from its beginning to the truth about it; the body of a thread."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from reconvirt.controller.hosts.copies import Copies
from reconvirt.domain.desired import Desired
from reconvirt.domain.lifecycle import RUNS
from reconvirt.domain.migration import (
    Finding,
    Order,
    Progress,
    already_there,
    copied_images,
    make_order,
    memory_of,
)
from reconvirt.domain.migration_errors import explain_failure
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.preflight import preflight
from reconvirt.hypervisor.errors import Aborted, HypervisorError
from reconvirt.hypervisor.moving import Host, survey
from reconvirt.manifest.host import HostManifest

POLL_SECONDS = 0.5
"""How often libvirt is asked how far it is."""

ARRIVING = ("migrating", "starting up")
"""The reasons for which what has not arrived yet is paused."""

_log = structlog.get_logger(__name__)


class End(StrEnum):
    """How a migration ended, as both hosts say."""

    MOVED = "moved"
    """It is at the destination, and no longer here."""
    STAYED = "stayed"
    """It is here, and not at the destination."""
    REFUSED = "refused"
    """Something stands against it; nothing was moved."""
    FULL = "full"
    """The destination takes no more at a time."""
    UNSURE = "unsure"
    """One of the hosts cannot be asked, or both say something that a person must see."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a migration.

    Attributes:
        end: how it ended.
        message: one sentence for people.
        findings: what stands against it.
        by_hand: whether a person has ended it.
    """

    end: End
    message: str
    findings: tuple[Finding, ...] = ()
    by_hand: bool = False


@dataclass(slots=True)
class Move:
    """A virtual server on its way.

    Attributes:
        desired: what is wanted of it.
        source_uri: where libvirt is here.
        source: the manifest of this host; None if there is none.
        destination: that of the other.
        copies: keeps which images were made at the destination.
        on_progress: told how far it is.
        stopping: whether the daemon ends: libvirt goes on without it.
        begins: whether it is begun, if it is not under way.
        aborted: why it is to end, if it is.
        progress: how far it is; None when it has ended.
        seen: how far it was when it was last asked.
    """

    desired: Desired
    source_uri: str
    source: HostManifest | None
    destination: HostManifest
    copies: Copies
    on_progress: Callable[[str, Progress | None], None]
    stopping: threading.Event
    begins: bool = True
    aborted: str = ""
    progress: Progress | None = None
    seen: Progress | None = None
    _error: str = field(default="", repr=False)
    _suspended: bool = False
    _by_hand: bool = False

    @property
    def name(self) -> str:
        """The virtual server."""
        return self.desired.name

    def abort(self, why: str) -> None:
        """Have it end; it goes on here."""
        self.aborted = why

    def ended_by_hand(self) -> Report:
        """What is to be said when a person has ended it."""
        message = (
            "its migration was ended by hand; it stays here until its manifest changes, or "
            f"'reconvirt reconcile {self.name}' has it tried again"
        )
        return Report(End.STAYED, message, by_hand=True)

    def run(self) -> Report | None:
        """Move it, or go on with a migration that runs; None if the daemon ends meanwhile."""
        self._tell(Progress("preparing"))
        here = there = None
        try:
            here = Host(self.source_uri, self.desired.policy.migration)
            with contextlib.suppress(HypervisorError):
                # A migration that runs goes on, whether or not the other host can be asked.
                there = Host(self.destination.uri, self.desired.policy.migration)
            return self._run(here, there)
        except HypervisorError as error:
            return Report(End.UNSURE, f"not to be told: {error}")
        finally:
            self._tell(None)
            for each in (here, there):
                if each is not None:
                    each.close()

    def _run(self, here: Host, there: Host | None) -> Report | None:
        observed = here.observe(self.name, self.desired.uuid)
        if observed is None:
            return self._settle(here, there, None)
        running = here.progress(self.name) if observed.active else None
        if running is None:
            if not self.begins:
                return self._settle(here, there, observed)
            if there is None:
                message = f"{self.destination.name} cannot be reached at {self.destination.uri}"
                return Report(End.STAYED, message)
            if (early := self._check(here, there, observed)) is not None:
                return early
        order = make_order(self.desired, observed, self.destination)
        if not self._follow(here, order, observed, begun=running is not None):
            return None
        return self._settle(here, there, observed)

    def _check(self, here: Host, there: Host, observed: Observed) -> Report | None:
        """Why nothing is moved now, or moved already; None if it can be."""
        if there.find(observed.uuid) is not None:
            report = self._settle(here, there, observed)
            if report.end is not End.STAYED:
                return report
        order = make_order(self.desired, observed, self.destination)
        observed = here.with_hindrances(observed)
        found = survey(here, there, observed, order)
        if found.arriving >= self.destination.slots_in:
            return Report(End.FULL, f"{self.destination.name} takes no more at a time")
        findings = preflight(observed, order, (self.source, self.destination), found)
        if findings:
            return _refused(*findings)
        return self._make_images(here, there, observed, order)

    def _make_images(
        self, here: Host, there: Host, observed: Observed, order: Order
    ) -> Report | None:
        """Make the images at the destination that storage is copied to."""
        host, uuid = self.destination.name, observed.uuid
        self.copies.remove(there, uuid, host)
        wanted = copied_images(observed, order)
        images = [(each, here.disk_size(self.name, target)) for target, each in wanted.items()]
        path = self.copies.make(there, uuid, host, images)
        return _refused(already_there(host, path)) if path else None

    def _follow(self, here: Host, order: Order, observed: Observed, *, begun: bool) -> bool:
        """Have libvirt move it, and watch; False if the daemon ends meanwhile."""
        thread = None
        if not begun:
            call = (here, order)
            thread = threading.Thread(target=self._call, args=call, name=f"move-{self.name}")
            thread.daemon = True  # libvirt's daemons lead it, and go on when we end
            thread.start()
        watch = Host(self.source_uri, order.policy)
        try:
            self._watch(watch, order, observed, thread)
        finally:
            watch.close()
        return not self.stopping.is_set()

    def _call(self, here: Host, order: Order) -> None:
        try:
            here.migrate(self.name, order)
        except Aborted as error:
            self._error, self._by_hand = str(error), not self.aborted
        except HypervisorError as error:
            self._error = str(error)

    def _watch(
        self, watch: Host, order: Order, observed: Observed, thread: threading.Thread | None
    ) -> None:
        memory = memory_of(observed)
        deadline = order.policy.deadline(memory)
        begun, downtime, late, ended = time.monotonic(), 0, False, False
        while not self.stopping.wait(POLL_SECONDS):
            if thread is not None and not thread.is_alive():
                return
            try:
                progress = watch.progress(self.name)
            except HypervisorError:
                # It is gone from here, or libvirt is: what is true is read afterwards.
                if thread is None:
                    return
                continue
            if progress is None:
                if thread is None:
                    return
                continue
            self._tell(progress)
            with contextlib.suppress(HypervisorError):
                elapsed = max(progress.elapsed, time.monotonic() - begun)
                if self.aborted and not ended:
                    watch.abort_migration(self.name)
                    ended = True
                if deadline is not None and elapsed > deadline and not late:
                    self._too_late(watch, order)
                    late = True
                allowed = order.policy.downtime_at(elapsed, memory)
                if allowed != downtime:
                    watch.set_downtime(self.name, allowed)
                    downtime = allowed

    def _too_late(self, watch: Host, order: Order) -> None:
        policy = order.policy
        if policy.on_timeout == "post-copy" and policy.post_copy:
            watch.start_post_copy(self.name)
        elif policy.on_timeout == "suspend":
            watch.suspend(self.name)
            self._suspended = True
        else:
            self.abort("it took too long")
            watch.abort_migration(self.name)
        _log.warning("migration takes too long", virtual_server=self.name, then=policy.on_timeout)

    def _settle(self, here: Host, there: Host | None, before: Observed | None) -> Report:
        """Read from both hosts where it is, and clean up where it is not.

        Nothing is ended unless it is sure that the other copy is the right one.
        """
        ours = here.observe(self.name, self.desired.uuid)
        uuid = ours.uuid if ours else (before.uuid if before else self.desired.expected_uuid)
        try:
            theirs = there.find(uuid) if there is not None else None
        except HypervisorError:
            there = None
            theirs = None
        if there is None:
            # Nothing is true of both hosts that only one has said.
            where = f"{self.destination.name} cannot be asked"
            if ours is not None and ours.state in RUNS:
                return Report(End.STAYED, f"{self._why()}; it runs here on, and {where}")
            return Report(End.UNSURE, f"{self._why()}; {where}")
        if ours is None:
            if theirs is None:
                return Report(End.UNSURE, "neither host has it")
            return self._arrived(there, before)
        if theirs is None:
            self.copies.remove(there, uuid, self.destination.name)
            return self._stays(here, ours)
        return self._both(here, there, ours, theirs, before)

    def _both(
        self,
        here: Host,
        there: Host,
        ours: Observed,
        theirs: tuple[State, str],
        before: Observed | None,
    ) -> Report:
        state, reason = theirs
        arriving = state is State.PAUSED and reason in ARRIVING
        # One that somebody has paused is alive, too: libvirt gives what has left another reason.
        alive = ours.state in RUNS or (ours.state is State.PAUSED and ours.reason == "user")
        if alive and (arriving or state is State.SHUTOFF):
            there.end_stale(ours.uuid)
            self.copies.remove(there, ours.uuid, self.destination.name)
            return self._stays(here, ours)
        stale = ours.state is State.SHUTOFF or (
            ours.state is State.PAUSED and ours.reason == "migrating"
        )
        if stale and state in RUNS:
            here.end_stale(ours.uuid)
            return self._arrived(there, before or ours)
        if ours.state is State.SHUTOFF and state is State.SHUTOFF and ours.saved is None:
            here.end_stale(ours.uuid)
            return self._arrived(there, before or ours)
        told = f"{ours.state} ({ours.reason}) here, and {state} ({reason}) at the destination"
        return Report(End.UNSURE, f"both hosts have it, {told}: see which is the right one")

    def _stays(self, here: Host, ours: Observed) -> Report:
        left = ours.reason == "migrating" or (self._suspended and ours.reason == "user")
        if ours.state is State.PAUSED and left:
            # The destination says that it has none: nobody else can have let it go on.
            here.resume(self.name)
        if self._by_hand:
            return self.ended_by_hand()
        if (finding := explain_failure(self._error)) is not None and not self.aborted:
            return _refused(finding)
        return Report(End.STAYED, f"{self._why()}; it stays here")

    def _arrived(self, there: Host, before: Observed | None) -> Report:
        if before is not None:
            self.copies.note(before.uuid, self.destination.name, ())
        if before is not None and before.autostart:
            # libvirt takes everything along but this.
            there.set_autostart(self.name, on=True)
        with contextlib.suppress(HypervisorError):
            # It was asked twice a second at most: of a fast one nothing was seen, of none the end.
            self.seen = there.completed(self.name) or self.seen
        return Report(End.MOVED, f"it was moved to {self.destination.name}")

    def _why(self) -> str:
        if self.aborted:
            return f"its migration was ended: {self.aborted}"
        return f"its migration has failed: {self._error or 'libvirt does not say why'}"

    def _tell(self, progress: Progress | None) -> None:
        self.progress, self.seen = progress, progress or self.seen
        self.on_progress(self.name, progress)


def _refused(*findings: Finding) -> Report:
    told = "; ".join(map(str, findings))
    return Report(End.REFUSED, f"it cannot be moved: {told}", findings)
