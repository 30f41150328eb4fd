"""One migration from its beginning to the truth about it; the body of a thread."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from reconvirt.controller.guard import Call, Guard, Refusal
from reconvirt.controller.hosts.copies import Copies
from reconvirt.controller.hosts.migration_journal import NOTHING, Entry, MigrationJournal
from reconvirt.controller.hosts.report import End, Report, refused, same_host
from reconvirt.controller.hosts.settling import settle
from reconvirt.controller.state_store import Unreadable
from reconvirt.domain.actions import (
    Action,
)
from reconvirt.domain.desired import Desired
from reconvirt.domain.migration import (
    Order,
    Progress,
    already_there,
    copied_images,
    has_it_already,
    make_order,
    memory_of,
)
from reconvirt.domain.migration_actions import (
    AbortMigration,
    Migrate,
    SetMaxDowntime,
    StartPostCopy,
    SuspendToMigrate,
)
from reconvirt.domain.observed import Observed
from reconvirt.domain.preflight import preflight
from reconvirt.hypervisor.errors import Aborted, HypervisorError
from reconvirt.hypervisor.moving import Host, survey
from reconvirt.manifest.host import HostManifest

POLL_SECONDS = 0.5
"""How often libvirt is asked how far it is."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Move:
    """A virtual server on its way.

    Attributes:
        desired: what is wanted of it.
        source_uri: where libvirt is here.
        source: the manifest of this host; None if there is none.
        destination: that of the other.
        copies: keeps which images were made at the destination.
        journal: keeps what was begun, and what was at the destination before.
        guard: makes the writing calls.
        take_slot: says why its memory must not be sent now, "" if it may; then it counts as being
            sent. It is asked directly before, and for one that is being sent already.
        on_progress: told how far it is.
        stopping: whether the daemon ends: libvirt goes on without it.
        own: the name of this host.
        begins: whether it is begun, if it is not under way.
        sending: whether its memory is being sent: only then it keeps others here from that.
        waited: whether it has waited for a slot before.
        uuid: of the virtual server, as soon as it was observed.
        error: what libvirt said of its failure.
        suspended: whether its guest was paused so that the rest can be sent.
        by_hand: whether a person has ended it.
        left: which images were left at the destination, and why: a sentence each.
        aborted: why it is to end, if it is.
        progress: how far it is; None when it has ended.
        seen: how far it was when it was last asked.
    """

    desired: Desired
    source_uri: str
    source: HostManifest | None
    destination: HostManifest
    copies: Copies
    journal: MigrationJournal
    guard: Guard
    take_slot: Callable[[Move, bool], str]
    on_progress: Callable[[str, Progress | None], None]
    stopping: threading.Event
    own: str = ""
    begins: bool = True
    sending: bool = False
    waited: bool = False
    left: list[str] = field(default_factory=list)
    uuid: str = ""
    aborted: str = ""
    progress: Progress | None = None
    seen: Progress | None = None
    error: str = field(default="", repr=False)
    suspended: bool = False
    by_hand: bool = False

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
        except Refusal as refusal:
            begun = self.is_left(self.uuid)
            return Report(End.UNSURE if begun else End.STAYED, f"it is left as it is: {refusal}")
        finally:
            self._tell(None)
            for each in (here, there):
                if each is not None:
                    each.close()

    def _run(self, here: Host, there: Host | None) -> Report | None:
        observed = here.observe(self.name, self.desired.uuid)
        if observed is None:
            return settle(self, here, there, None)
        self.uuid = observed.uuid
        running = here.progress(self.name) if observed.active else None
        if running is None:
            if (report := self._prepare(here, there, observed)) is not None:
                return report
        elif why := self.take_slot(self, True):
            return Report(End.STAYED, why)
        order = make_order(self.desired, observed, self.destination)
        if not self._follow(here, order, observed, begun=running is not None):
            return None
        return settle(self, here, there, observed)

    def _prepare(self, here: Host, there: Host | None, observed: Observed) -> Report | None:
        """What comes of it before anything is sent; None if it is to be sent now."""
        if (hold := self.guard.hold(observed.uuid, self.name, self.desired)) is not None:
            return Report(End.STAYED, f"left alone: {hold}")
        if not self.begins:
            return settle(self, here, there, observed)
        if there is None:
            message = f"{self.destination.name} cannot be reached at {self.destination.uri}"
            return Report(End.STAYED, message)
        return self._check(here, there, observed) or self._begin(here, there, observed)

    def _check(self, here: Host, there: Host, observed: Observed) -> Report | None:
        """Why nothing is moved now, or moved already; None if it can be."""
        if self.is_left(observed.uuid) and there.find(observed.uuid) is not None:
            # An earlier try has left it there; anything else is for the preflight to refuse.
            report = settle(self, here, there, observed)
            if report.end is not End.STAYED:
                return report
        order = make_order(self.desired, observed, self.destination)
        observed = here.with_hindrances(observed)
        found = survey(here, there, observed, order)
        if found.arriving >= self.destination.slots_in:
            return Report(End.FULL, f"{self.destination.name} takes no more at a time")
        findings = preflight(observed, order, (self.source, self.destination), found)
        findings = (*same_host(here, there, self.destination.name), *findings)
        if findings:
            return refused(*findings)
        return self._make_images(here, there, observed, order)

    def _begin(self, here: Host, there: Host, observed: Observed) -> Report | None:
        """Note in the journal that it is sent now; why it is not, or None.

        What the decision rests on is read again: it may be long ago, and what stands in the journal
        from here on says what may be cleaned up at either end.
        """
        if why := self.take_slot(self, False):
            self.clean_up(there, observed.uuid)
            return Report(End.STAYED if self.aborted else End.FULL, why)
        if findings := same_host(here, there, self.destination.name):
            return refused(*findings)
        if there.find(observed.uuid) is not None:
            self.clean_up(there, observed.uuid)
            return refused(has_it_already(self.destination.name))
        entry = Entry(
            self.name,
            self.destination.name,
            source=self.own,
            uri=self.destination.uri,
            before=NOTHING,
        )
        order = make_order(self.desired, observed, self.destination)
        images = copied_images(observed, order).values()
        self.copies.fill(there, observed.uuid, self.destination.name, images)
        try:
            self.journal.begin(observed.uuid, entry)
        except (OSError, Unreadable) as error:
            return Report(End.UNSURE, f"it is not begun, since that cannot be kept: {error}")
        return None

    def is_left(self, uuid: str) -> bool:
        """Whether what the destination has of it can only be what our migration has left there."""
        return self.journal.left_behind(uuid, self.destination.name)

    def clean_up(self, there: Host, uuid: str) -> None:
        """Remove the images that were made at the destination."""
        self.left += self.copies.remove(there, uuid, self.destination.name)

    def _make_images(
        self, here: Host, there: Host, observed: Observed, order: Order
    ) -> Report | None:
        """Make the images at the destination that storage is copied to."""
        host, uuid = self.destination.name, observed.uuid
        self.clean_up(there, uuid)
        wanted = copied_images(observed, order)
        images = [(each, here.disk_size(self.name, target)) for target, each in wanted.items()]
        path = self.copies.make(there, uuid, host, images)
        return refused(already_there(host, path)) if path else None

    def _follow(self, here: Host, order: Order, observed: Observed, *, begun: bool) -> bool:
        """Have libvirt move it, and watch; False if the daemon ends meanwhile."""
        thread = None
        if not begun:
            call = (here, order, observed)
            thread = threading.Thread(target=self._call, args=call, name=f"move-{self.name}")
            thread.daemon = True  # libvirt's daemons lead it, and go on when we end
            thread.start()
        watch = Host(self.source_uri, order.policy)
        try:
            self._watch(watch, order, observed, thread)
        finally:
            watch.close()
        return not self.stopping.is_set()

    def write(self, host: Host, action: Action, basis: Observed) -> None:
        """Make a writing call at one of both hosts.

        Raises:
            Refusal: it must not be made now, as when it was put on hold.
            HypervisorError: libvirt failed.
        """
        desired, journal = self.desired, "its migration"
        if isinstance(action, Migrate):
            call = Call(self.name, basis.uuid, action, basis, desired)
        else:
            call = Call(self.name, basis.uuid, action, basis, migration=journal)
        self.guard.act(host, call)

    def _call(self, here: Host, order: Order, observed: Observed) -> None:
        try:
            self.write(here, Migrate(order), observed)
        except Refusal as refusal:
            self.error = f"it was not begun: {refusal}"
        except Aborted as error:
            self.error, self.by_hand = str(error), not self.aborted
        except HypervisorError as error:
            self.error = str(error)

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
            with contextlib.suppress(HypervisorError, Refusal):
                elapsed = max(progress.elapsed, time.monotonic() - begun)
                if self.aborted and not ended:
                    self.write(watch, AbortMigration(), observed)
                    ended = True
                if deadline is not None and elapsed > deadline and not late:
                    self._too_late(watch, order, observed)
                    late = True
                allowed = order.policy.downtime_at(elapsed, memory)
                if allowed != downtime:
                    self.write(watch, SetMaxDowntime(allowed), observed)
                    downtime = allowed

    def _too_late(self, watch: Host, order: Order, observed: Observed) -> None:
        policy = order.policy
        if policy.on_timeout == "post-copy" and policy.post_copy:
            self.write(watch, StartPostCopy(), observed)
        elif policy.on_timeout == "suspend":
            self.write(watch, SuspendToMigrate(), observed)
            self.suspended = True
        else:
            self.abort("it took too long")
            self.write(watch, AbortMigration(), observed)
        _log.warning("migration takes too long", virtual_server=self.name, then=policy.on_timeout)

    def _tell(self, progress: Progress | None) -> None:
        self.progress, self.seen = progress, progress or self.seen
        self.on_progress(self.name, progress)
