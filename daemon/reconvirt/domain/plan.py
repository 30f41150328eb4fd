"""Planning: from what is wanted and what is there, the steps to take and what must wait.

A pure function, but for what it has asked of the host through :class:`Host`. The command line shows
its result and the daemon acts on it, one step at a time, observing and planning again after each.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconvirt.domain.actions import Define, Record, Rename, SetAutostart, SetLifecycleAction
from reconvirt.domain.changes import Change, Plan, Step, make_change
from reconvirt.domain.compare import Difference, FieldDifference, compare, paths_of
from reconvirt.domain.desired import Desired, Statement
from reconvirt.domain.disk_source import image_paths
from reconvirt.domain.draft import Draft
from reconvirt.domain.effects import Effect, Running
from reconvirt.domain.foreign import find_foreign, report_foreign
from reconvirt.domain.image_plan import NONE_KNOWN, Images, KnownImages, find_missing
from reconvirt.domain.in_use import InUse, refuse_in_use
from reconvirt.domain.kinds.common import is_persistent
from reconvirt.domain.lifecycle import NOTHING_HAPPENED, RUNS, Circumstances, plan_state
from reconvirt.domain.mark import drop_mark, mark_element, read_mark, write_mark
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.ownership import Ownership, judge_ownership
from reconvirt.domain.patch import empty_domain, patch
from reconvirt.domain.resolve import keep_unresolved
from reconvirt.domain.rules import NO_RULES, HostRules, object_to
from reconvirt.domain.running import plan_running, record_live
from reconvirt.domain.storage import ReadChains, Storage, judge_storage, no_chains
from reconvirt.domain.xmltree import parse_xml, print_xml

if TYPE_CHECKING:
    from lxml.etree import _Element


@dataclass(frozen=True, slots=True)
class Host:
    """What a plan must know of the host besides the virtual server.

    Attributes:
        rules: what its configuration allows.
        images: what stands at the paths of the images that are to be made.
        happened: what has happened to it.
        overdrawn: what it asks for beyond what all virtual servers may have together.
        known_images: which images were there once.
        chains: reads the chains of images.
        in_use: tells what else on the host uses the storage that is to be opened.
    """

    rules: HostRules = NO_RULES
    images: Images = field(default_factory=dict)
    happened: Circumstances = NOTHING_HAPPENED
    overdrawn: tuple[Change, ...] = ()
    known_images: KnownImages = NONE_KNOWN
    chains: ReadChains = no_chains
    in_use: InUse = lambda _uuid, _xml: ()


_CONFIGURED = "stored in the configuration"
_NO_HOST = Host()


def make_plan(
    desired: Desired,
    observed: Observed | None,
    hindrances: Mapping[str, str] | None = None,
    host: Host = _NO_HOST,
) -> Plan:
    """What to do so that a virtual server becomes as its manifest wants it.

    Args:
        desired: what is wanted.
        observed: what libvirt has; None where it has no such domain.
        hindrances: fields that libvirt refused to change live, with its reason; they wait for
            the next start.
        host: what must be known of the host.
    """
    objections = (*object_to(desired, host.rules), *host.overdrawn)
    if any(not change.field.startswith("devices.") for change in objections):
        return Plan(desired.name, refused=objections)
    if observed is None:
        plan = _plan_new(desired, host, objections)
    else:
        plan = _plan_existing(desired, observed, hindrances or {}, host, objections)
    return refuse_in_use(plan, desired, observed, host.in_use)


def _plan_existing(
    desired: Desired,
    observed: Observed,
    hindrances: Mapping[str, str],
    host: Host,
    objections: tuple[Change, ...],
) -> Plan:
    config = parse_xml(observed.config)
    ownership = judge_ownership(desired, observed, read_mark(config))
    if ownership.refusal is not None:
        return Plan(desired.name, refused=(ownership.refusal,))
    if observed.name != desired.name:
        return _plan_name(desired, observed)
    return _plan_ours(ownership, observed, config, hindrances, (host, objections))


def _plan_ours(
    ownership: Ownership,
    observed: Observed,
    config: _Element,
    hindrances: Mapping[str, str],
    around: tuple[Host, tuple[Change, ...]],
) -> Plan:
    host, objections = around
    desired, mark = ownership.desired, _mark_of_config(ownership.mark, observed)
    desired = replace(desired, statement=keep_unresolved(desired.statement, desired, mark))
    live = parse_xml(observed.live) if observed.live else None
    if ownership.copied and live is not None:
        drop_mark(live)
    layers = (config, mark), None if live is None else (live, read_mark(live))
    storage = judge_storage(desired.name, desired.statement, *layers, host.chains)
    differences = _differences(desired.statement, mark, config, storage)
    if refusals := [_refusal(each) for each in differences if _is_refused(each)]:
        return Plan(desired.name, refused=tuple(refusals))
    if desired.policy.unlisted == "detach":
        differences += tuple(find_foreign(desired.statement, mark, config))
    target = config
    if differences:
        target = patch(config, differences, live, stated=desired.statement.fields)
    applied = storage.keep(desired.statement, live=False)
    known = host.known_images.including(image_paths(config))
    missing = find_missing(desired, host.images, known, storage)
    made = Draft(refused=list(objections), storage=storage, missing=missing)
    changing = live if _can_change(desired, observed) else None
    unsettled = paths_of(differences)
    if changing is not None:
        hindrances = {**(_hindered(changing) if applied.same_as(mark) else {}), **hindrances}
        running = Running(changing, target, paused=observed.state is State.PAUSED)
        made.take(plan_running(desired, running, hindrances, unsettled, storage))
        _await_reboot(desired, running, made)
    made.add_images(desired, host.images, live)
    lost = _lost_configuration(observed)
    # One that was taken over and needs no change is not written to, not even for the mark.
    if mark is not None or differences or made.steps or lost:
        made.steps += _plan_config(applied, observed.config, mark, target, (differences, lost))
        if changing is not None:
            afresh = desired.policy.drift == "report" and not applied.same_as(mark)
            made.steps += record_live(
                desired.statement, changing, unsettled, hindrances, storage, everything=afresh
            )
    _plan_state(desired, observed, host, made)
    plan = made.plan(desired.name, _unlisted(desired, (mark, config), live))
    if not applied.same_as(mark):
        return plan
    running_mark = read_mark(live) if live is not None else None
    return _tell_drift(plan, desired, observed, running_mark.pending if running_mark else ())


def _differences(
    statement: Statement, mark: Statement | None, config: _Element, storage: Storage
) -> tuple[Difference, ...]:
    before = storage.strip(mark) if mark is not None else None
    return compare(storage.strip(statement), before, config, live=False)


def _mark_of_config(mark: Statement | None, observed: Observed) -> Statement | None:
    """What was last applied to the configuration.

    libvirt shows what runs as the configuration of one that is not persistent any more: what is
    noted of what runs alone is left out.
    """
    if mark is None or observed.persistent:
        return mark
    return replace(mark, pending={}, hindered={})


def _lost_configuration(observed: Observed) -> tuple[Change, ...]:
    """The change that defines a running domain again whose configuration was undefined.

    One that is arriving from another host gets its configuration at the end of the migration.
    """
    if observed.persistent or observed.job:
        return ()
    why = "it was undefined while it runs, and is defined again: else it is gone when it ends"
    return (Change("definition", "transient", "persistent", Effect.LIVE, why),)


def _can_change(desired: Desired, observed: Observed) -> bool:
    """Whether what runs is changed live: not what is about to be ended, or does not stand still."""
    if observed.job or desired.state in ("shutoff", "saved"):
        return False
    stays_paused = observed.state is State.PAUSED and desired.state in ("paused", "any")
    return observed.state in RUNS or stays_paused


def _hindered(live: _Element) -> Mapping[str, str]:
    """What libvirt has refused to change live before, for the same manifest."""
    running = read_mark(live)
    return running.hindered if running is not None else {}


def _await_reboot(desired: Desired, running: Running, made: Draft) -> None:
    """Have the guest's own next reboot end its process, where it shall apply what waits.

    libvirt reboots a guest within the process that it has; ended instead, it is started anew.
    """
    if desired.policy.restart != "on-guest-reboot":
        return
    for number, step in enumerate(made.steps):
        if isinstance(step.action, SetLifecycleAction) and step.action.event == "reboot":
            del made.steps[number]
            break
    waits = any(each.effect is Effect.NEXT_START for each in made.waiting)
    waits = waits and not made.keeps_state(desired)
    usual = running.config.findtext("on_reboot") or "restart"
    found, wanted = running.live.findtext("on_reboot"), "destroy" if waits else usual
    if found != wanted:
        why = "the guest's next reboot applies what waits" if waits else "nothing waits any more"
        change = Change("on_reboot", found, wanted, Effect.LIVE, why)
        made.steps.append(Step(SetLifecycleAction("reboot", wanted), (change,)))


_BY_HAND = {
    State.SHUTOFF: ("shutdown", "destroyed", "saved"),
    State.PAUSED: ("user",),
}


def _tell_drift(plan: Plan, desired: Desired, observed: Observed, pending: Collection[str]) -> Plan:
    """The plan, in which drift is told, and not corrected where it is only to be reported.

    Args:
        plan: the plan of a virtual server whose manifest has been applied.
        desired: what is wanted.
        observed: what libvirt has.
        pending: paths of what was applied and is not in force yet: that is no drift.
    """
    by_hand = observed.reason in _BY_HAND.get(observed.state, ()) or observed.state in RUNS
    drifted = tuple(
        change
        for step in plan.steps
        for change in step.changes
        if change.field not in pending and (change.field != "state" or by_hand)
    )
    if desired.policy.drift == "correct":
        return replace(plan, drifted=drifted)
    kept = tuple(step for step in plan.steps if not set(step.changes) & set(drifted))
    return replace(plan, steps=kept, drifted=drifted)


def _unlisted(
    desired: Desired, config: tuple[Statement | None, _Element], live: _Element | None
) -> tuple[Change, ...]:
    """The devices that were attached by hand, where they are only reported."""
    if desired.policy.unlisted != "report":
        return ()
    layers = [config] + ([(read_mark(live), live)] if live is not None else [])
    return report_foreign(*(find_foreign(desired.statement, *each) for each in layers))


def render(desired: Desired, observed: Observed | None = None) -> str:
    """The domain XML that a manifest leads to: a new one, or the current one patched."""
    if observed is None:
        return print_xml(_new_domain(desired)[0])
    config = parse_xml(observed.config)
    ownership = judge_ownership(desired, observed, read_mark(config))
    desired = ownership.desired
    live = parse_xml(observed.live) if observed.live else None
    if ownership.copied and live is not None:
        drop_mark(live)
    layers = (config, ownership.mark), None if live is None else (live, read_mark(live))
    storage = judge_storage(desired.name, desired.statement, *layers)
    differences = _differences(desired.statement, ownership.mark, config, storage)
    target = patch(config, differences, stated=desired.statement.fields)
    write_mark(target, storage.keep(desired.statement, live=False))
    return print_xml(target)


def _new_domain(desired: Desired) -> tuple[_Element, tuple[Difference, ...]]:
    empty = empty_domain(desired.name, desired.expected_uuid)
    differences = compare(desired.statement, None, empty, live=False)
    target = patch(empty, differences, stated=desired.statement.fields)
    write_mark(target, desired.statement)
    return target, differences


def _plan_new(desired: Desired, host: Host, objections: tuple[Change, ...]) -> Plan:
    target, differences = _new_domain(desired)
    changes = tuple(make_change(each, Effect.NEXT_START, _CONFIGURED) for each in differences)
    missing = find_missing(desired, host.images, host.known_images.of_new())
    define = Step(Define(print_xml(target)), changes)
    made = Draft([define], refused=list(objections), missing=missing)
    made.add_images(desired, host.images, None)
    _plan_state(desired, None, host, made)
    return made.plan(desired.name)


def _plan_name(desired: Desired, observed: Observed) -> Plan:
    """One that has another name than its manifest, which states its uuid, is renamed."""
    old, new = observed.name, desired.name
    if observed.state is State.SHUTOFF and observed.saved is None:
        change = Change("metadata.name", old, new, Effect.LIVE, "its manifest gives it this name")
        return Plan(new, (Step(Rename(old, new), (change,)),))
    why = "libvirt renames only what is shut off and has no saved system image"
    return Plan(new, waiting=(Change("metadata.name", old, new, Effect.NEXT_START, why),))


def _is_refused(difference: Difference) -> bool:
    return (
        isinstance(difference, FieldDifference) and difference.row.effects.effect is Effect.REFUSED
    )


def _refusal(difference: Difference) -> Change:
    reason = difference.row.effects.summary if isinstance(difference, FieldDifference) else ""
    return make_change(difference, Effect.REFUSED, reason)


def _plan_config(
    statement: Statement,
    base: str,
    mark: Statement | None,
    target: _Element,
    due: tuple[Iterable[Difference], tuple[Change, ...]],
) -> list[Step]:
    """At most one step: a define that makes all changes at once, or the mark alone."""
    differences, more = due
    made = (make_change(each, Effect.NEXT_START, _CONFIGURED) for each in differences)
    changes = (*made, *more)
    if changes:
        write_mark(target, statement)
        return [Step(Define(print_xml(target), base), changes)]
    if not statement.same_as(mark):
        return [Step(Record(mark_element(statement), live=False), ())]
    return []


def _plan_state(desired: Desired, observed: Observed | None, host: Host, made: Draft) -> None:
    off = observed is None or observed.state is State.SHUTOFF
    if off and any(is_persistent(each.stated) for each in desired.unresolved):
        return  # libvirt would not start it without the device, either
    stays = made.keeps_state(desired)
    for each in plan_state(desired, observed, host.happened, tuple(made.waiting)):
        if not stays or (isinstance(each, Step) and isinstance(each.action, SetAutostart)):
            made.add(each)
