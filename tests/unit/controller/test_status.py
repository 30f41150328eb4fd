"""What is shown of virtual servers before they were reconciled, and after."""

from __future__ import annotations

from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.controller.status import StatusBook
from reconvirt.domain.changes import Plan


def test_one_that_a_manifest_states_is_shown_before_its_first_reconcile() -> None:
    """It is not said that no manifest states it."""
    book = StatusBook()

    book.expect({"web1": "web1.yaml:1:1"})

    status = book.fleet().servers["web1"]
    assert ("web1.yaml:1:1", Phase.DIFFERS) == (status.manifest, status.phase)
    assert "it has not been reconciled yet" == status.message


def test_what_is_known_of_others_stays() -> None:
    book = StatusBook()
    outcome = Outcome("web1", Phase.CONVERGED, "in sync", Plan("web1"))
    book.update(outcome, figures={}, hold=None)
    version = book.fleet().version

    book.expect({"web1": "web1.yaml:1:1"})

    assert Phase.CONVERGED is book.fleet().servers["web1"].phase
    assert version == book.fleet().version
