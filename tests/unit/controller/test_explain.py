"""What `why` says of disks that are not at the sources that are stated."""

from __future__ import annotations

import pytest

from reconvirt.controller.explain import explain
from reconvirt.controller.outcome import Phase
from reconvirt.controller.status import Fleet, Status
from reconvirt.domain.changes import Change
from reconvirt.domain.effects import Effect

MOVED = Change("devices.disks[vda].source", "/b", "/a", Effect.REFUSED, "a person moved it")
GONE = Change("devices.disks[vdb].source", "/c", None, Effect.REFUSED, "nobody lists it")


@pytest.mark.parametrize(
    ("phase", "message"),
    [(Phase.DIVERGED, "vda: at /b: a person moved it"), (Phase.WAITING_FOR_GUEST, "it was asked")],
)
def test_each_disk_is_told_with_both_sources_and_why(phase: Phase, message: str) -> None:
    """Each reason once, whatever else goes on."""
    said = explain(
        Status("web1", state="running", phase=phase, message=message, diverged=(MOVED, GONE)),
        Fleet(),
    )

    assert "devices.disks[vda].source is at /b, and its manifest states /a." in said
    assert "devices.disks[vdb].source is at /c, and its manifest states nothing." in said
    assert 1 == said.lower().count("a person moved it")
    assert 1 == said.lower().count("nobody lists it")


def test_an_overlay_is_told() -> None:
    said = explain(
        Status("web1", phase=Phase.CONVERGED, message="fine", overlays=(MOVED,)), Fleet()
    )

    assert "devices.disks[vda].source is at /b: a person moved it." in said
