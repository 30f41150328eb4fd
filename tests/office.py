"""A real desk for tests of what stands on it: libvirt's test driver, and nothing runs by itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from reconvirt.controller.desk import Desk
from reconvirt.controller.history import History
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.controller.status import StatusBook
from reconvirt.domain.changes import Change, Plan
from reconvirt.domain.effects import Effect
from reconvirt.domain.show import figures_of
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.manifest.model import Manifest

MANIFEST = """
apiVersion: reconvirt/v1
kind: VirtualServer
metadata:
  name: test
  uuid: 6695eb01-f6a4-8304-79aa-97f2502e193f
  labels: {tier: "<i>front</i>"}
spec:
  title: "<b>Bold</b>"
  memory: 16 GiB
  vcpu: 2
  os: {arch: x86_64, machine: pc}
  xml: |
    <domain>
      <devices><graphics type="vnc" port="-1" passwd="hunter2"/></devices>
    </domain>
"""
"""Of the virtual server that libvirt's test driver always has."""


@dataclass(slots=True)
class Office:
    """A desk, and what stands behind it."""

    desk: Desk
    book: StatusBook
    history: History
    hypervisor: Hypervisor
    manifests: dict[str, Manifest]
    poked: list[str] = field(default_factory=list)

    def write(self, name: str = "test", *, phase: Phase = Phase.WAITING_FOR_RESTART) -> None:
        """Write down what a look at a virtual server came to."""
        waiting = (Change("memory.size", "8 GiB", "16 GiB", Effect.NEXT_START, "so it is"),)
        plan = Plan(name, waiting=waiting)
        observed = self.hypervisor.observe(name)
        outcome = Outcome(name, phase, "at next start: memory.size", plan, observed=observed)
        manifest = self.manifests.get(name)
        self.book.update(
            outcome,
            figures=figures_of(observed),
            hold=None,
            manifest=str(manifest.position) if manifest else "",
            labels=manifest.labels if manifest else {},
        )
