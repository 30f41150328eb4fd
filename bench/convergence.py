#!/usr/bin/env python3
"""How much reconvirt costs over the bare libvirt calls for the same work.

    bench/convergence.py [--connect URI] [--count 100] [--rounds 7]

Defines virtual servers named reconvirt-bench-… on the libvirt at URI, shut off and without any
storage, and removes them again. Each round measures the bare calls and reconvirt one right after
the other; what counts is the median of the rounds' ratios. Without --connect, and as root, a
libvirtd of its own is started, the test bed's, which disturbs nobody.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import libvirt

from reconvirt.controller.engine import Engine
from reconvirt.controller.logs import configure
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.controller.source.tree import read_tree
from reconvirt.domain.desired import Desired, desire
from reconvirt.domain.plan import make_plan, render
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.events import open_raw
from reconvirt.hypervisor.sweep import observe_each
from reconvirt.manifest.load import Loader, assemble, revision_of

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from testbed import LibvirtHost

READS = 5
"""How often the quick ones are measured in each round."""

PREFIX = "reconvirt-bench-"
MANIFEST = """\
apiVersion: reconvirt/v1
kind: VirtualServer
metadata: {{name: {name}}}
spec:
  type: qemu
  state: shutoff
  memory: 1 GiB
  vcpu: {{maximum: 4, current: 2}}
  cputune: {{shares: 2048}}
  os: {{arch: s390x, machine: s390-ccw-virtio, kernel: /boot/vmlinuz, initrd: /boot/initrd}}
  iothreads: 2
  on_crash: preserve
  devices:
    disks:
      - {{type: block, driver: {{type: raw, cache: none, io: native, iothread: 1}},
         source: {{dev: /dev/mapper/{name}-a}}, target: {{dev: vda}}}}
      - {{type: block, driver: {{type: raw, cache: none, io: native, iothread: 2}},
         source: {{dev: /dev/mapper/{name}-b}}, target: {{dev: vdb}}}}
    interfaces:
      - {{type: bridge, source: {{bridge: br0}}}}
    consoles:
      - {{target: {{type: sclp}}}}
    memballoon: {{model: none}}
"""


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def undefine_all(connection: libvirt.virConnect) -> None:
    """Remove the virtual servers of this program, and only those."""
    for domain in connection.listAllDomains():
        if domain.name().startswith(PREFIX):
            domain.undefine()


def define_bare(connection: libvirt.virConnect, texts: list[str]) -> None:
    """What 'virsh define --validate' does, for each."""
    for xml in texts:
        connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)


def read_bare(connection: libvirt.virConnect) -> None:
    """What 'virsh list --all' and 'virsh dumpxml --inactive' read, for each."""
    for domain in connection.listAllDomains():
        domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)


def apply(hypervisor: Hypervisor, wanted: Mapping[str, Desired]) -> None:
    """The engine that 'reconvirt apply' and the daemon run, until all is converged."""
    outcomes: dict[str, Outcome] = {}
    changed = threading.Condition()

    def on_outcome(outcome: Outcome) -> None:
        with changed:
            outcomes[outcome.name] = outcome
            changed.notify_all()

    engine = Engine(lambda: hypervisor, on_outcome=on_outcome)
    engine.start()
    engine.want(wanted)
    with changed:
        changed.wait_for(lambda: len(outcomes) == len(wanted))
    engine.stop()
    wrong = [each.message for each in outcomes.values() if each.phase is not Phase.CONVERGED]
    if wrong:
        sys.exit(f"did not converge: {wrong[0]}")


def plan(hypervisor: Hypervisor, wanted: Mapping[str, Desired]) -> None:
    """What 'reconvirt plan' does after it has read the manifests."""
    observed = observe_each(hypervisor, hypervisor.list_all()).observed
    if not all(make_plan(each, observed[name]).empty for name, each in wanted.items()):
        sys.exit("the plan is not empty")


def read_manifests(directory: Path, loader: Loader) -> dict[str, Desired]:
    """From files to what is wanted."""
    files = read_tree(directory)
    snapshot = assemble(loader.load(files), revision_of(files))
    if snapshot.problems:
        sys.exit(str(snapshot.problems[0]))
    return {name: desire(each) for name, each in snapshot.manifests.items()}


def measure(uri: str, directory: Path, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Pairs of seconds, reconvirt's and the bare calls', by what was measured."""
    configure("console", sys.stderr, "critical")
    hypervisor, connection = Hypervisor(uri), open_raw(uri)
    pairs: dict[str, list[tuple[float, float]]] = {"first apply": [], "no-op plan": []}
    pairs |= {"reading changed manifests": [], "reading unchanged manifests": []}
    try:
        for number in range(rounds + 1):
            loader = Loader()
            cold = timed(lambda: read_manifests(directory, loader))  # noqa: B023 - called at once
            warm = timed(lambda: read_manifests(directory, loader))  # noqa: B023 - called at once
            wanted = read_manifests(directory, loader)
            texts = [render(each) for each in wanted.values()]
            undefine_all(connection)
            bare_define = timed(lambda: define_bare(connection, texts))  # noqa: B023 - at once
            undefine_all(connection)
            first = timed(lambda: apply(hypervisor, wanted))  # noqa: B023 - called at once
            if not number:  # the first round warms libvirt up
                continue
            pairs["first apply"].append((first, bare_define))
            for _ in range(READS):
                bare_read = timed(lambda: read_bare(connection))
                no_op = timed(lambda: plan(hypervisor, wanted))  # noqa: B023 - called at once
                pairs["no-op plan"].append((no_op, bare_read))
            pairs["reading changed manifests"].append((cold, bare_read))
            pairs["reading unchanged manifests"].append((warm, bare_read))
    finally:
        undefine_all(connection)
        connection.close()
        hypervisor.close()
    return pairs


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--connect", metavar="URI")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reconvirt-bench-") as place:
        directory = Path(place, "desired")
        directory.mkdir()
        for number in range(chosen.count):
            name = f"{PREFIX}{number}"
            Path(directory, f"{name}.yaml").write_text(MANIFEST.format(name=name))
        if chosen.connect:
            pairs = measure(chosen.connect, directory, chosen.rounds)
        else:
            with LibvirtHost.take() as host:
                pairs = measure(host.uri, directory, chosen.rounds)
    print(f"{chosen.count} virtual servers, {chosen.rounds} rounds")
    print(f"{'':28} {'ratio':>6} {'least':>6} {'most':>6}   reconvirt      bare")
    for what, measured in pairs.items():
        ratios = [ours / bare for ours, bare in measured]
        ours, bare = (statistics.median(column) * 1e3 for column in zip(*measured, strict=True))
        print(
            f"{what:28} {statistics.median(ratios):6.2f} {min(ratios):6.2f} {max(ratios):6.2f}"
            f" {ours:8.0f} ms {bare:6.0f} ms"
        )
    print("bare: for 'first apply' the defines alone, otherwise listing all and reading their XML")


if __name__ == "__main__":
    main()
