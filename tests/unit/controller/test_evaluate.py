"""One function says what is the matter with a virtual server, for whoever shows it."""

from __future__ import annotations

from dataclasses import replace

from reconvirt.controller.evaluate import evaluate, find_observed
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.domain.desired import Desired
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.placing import Inventory
from reconvirt.domain.plan import Host
from reconvirt.manifest.host import HostManifest
from reconvirt.manifest.problem import Position
from strategies import wanted
from virtual_servers import defined, running, shut_off, spec

HOST = Host()
HOSTS = {
    name: HostManifest(name, f"qemu+ssh://{name}/system", position=Position("h.yaml", 1, 1))
    for name in ("a", "b")
}


def phase(desired: Desired, observed: Observed | None, **more: object) -> tuple[Phase, str]:
    outcome: Outcome = evaluate(desired, observed, HOST, **more)  # type: ignore[arg-type]
    return outcome.phase, outcome.message


def test_what_is_to_be_done_is_due() -> None:
    """Until it is done."""
    assert Phase.DIFFERS is phase(wanted(spec()), None)[0]
    assert Phase.CONVERGED is phase(wanted(spec()), running(spec()))[0]


def test_drift_that_is_only_reported_is_drift() -> None:
    """And counts as a difference in its plan."""
    report = spec(policy={"drift": "report"}, state="paused")
    seen = replace(running(report), state=State.RUNNING)

    outcome = evaluate(wanted(report), seen, HOST)

    assert Phase.DRIFTED is outcome.phase
    assert ["state"] == [each.field for each in outcome.plan.reported]
    assert not outcome.plan.empty


def test_one_on_hold_is_held_whatever_differs() -> None:
    """What differs is shown all the same."""
    outcome = evaluate(wanted(spec()), shut_off(spec()), HOST, hold="maintenance")

    assert (Phase.HELD, "left alone: maintenance") == (outcome.phase, outcome.message)
    assert outcome.plan.steps


def test_one_of_another_host() -> None:
    """It is moved there if it is here, and else none of this host's business."""
    inventory = Inventory("a", HOSTS)
    there = replace(wanted(spec()), host="b")

    assert (Phase.ELSEWHERE, "it is for b") == phase(there, None, inventory=inventory)
    assert Phase.WAITING is phase(there, running(spec()), inventory=inventory)[0]
    stranger = replace(running(spec()), uuid="11111111-2222-4333-8444-555555555555")
    assert Phase.ELSEWHERE is phase(there, stranger, inventory=inventory)[0]


def test_one_of_no_host_that_is_known() -> None:
    """It is refused, as the daemon refuses it."""
    inventory = Inventory("a", HOSTS)
    lost = replace(wanted(spec()), host="c")

    assert Phase.REFUSED is phase(lost, None, inventory=inventory)[0]
    assert "no manifest describes c" in phase(lost, None, inventory=inventory)[1]
    assert "spec.host" in phase(wanted(spec()), None, inventory=inventory)[1]


def test_a_domain_is_found_by_its_name_and_else_by_its_uuid() -> None:
    """As the daemon looks it up."""
    desired = wanted(spec())
    seen = replace(defined(desired), name="other")

    assert seen is find_observed(desired, {"other": seen})
    assert None is find_observed(desired, {"else": replace(seen, uuid="no")})
