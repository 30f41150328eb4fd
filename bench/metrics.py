#!/usr/bin/env python3
"""What collecting and scraping cost, over the bare libvirt call and over other ways.

    bench/metrics.py [--defined 1000] [--running 50] [--rounds 7] [--scrapes 5] [--hanging 10]

Starts a libvirtd of its own, the test bed's, as root: so many virtual servers that are shut off
and so many that are started and paused, with a disk and an interface each. What counts is the
median of the ratios of measurements made right after each other. Where Debian's
prometheus-libvirt-exporter is installed it is measured as well. Then, for so many seconds each,
what scrapes take while a QEMU, one with a job, libvirtd or all of them are stopped (SIGSTOP),
beside rendering alone, measured right before each scrape.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import libvirt
from prometheus_client import CollectorRegistry

from reconvirt.controller.logs import configure
from reconvirt.hypervisor.events import open_raw
from reconvirt.hypervisor.stats import StatisticsConnection
from reconvirt.metrics.collector import Collector
from reconvirt.metrics.endpoint import Endpoint
from reconvirt.metrics.exposition import Ages, Exposition
from reconvirt.metrics.settings import MetricsSettings

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from hanging import HEADER, measure_hanging

from testbed import LibvirtHost

if TYPE_CHECKING:
    from collections.abc import Iterator

NOWAIT = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
EXPORTER = "prometheus-libvirt-exporter"
EXPORTER_PORT = 19177
DOMAIN = """
<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory>
<vcpu current='1'>2</vcpu><iothreads>1</iothreads>
<os><type arch='s390x' machine='s390-ccw-virtio'>hvm</type></os>
<devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2' iothread='1'/>
<source file='{image}'/><target dev='vda' bus='virtio'/></disk>
<interface type='bridge'><source bridge='{bridge}'/><model type='virtio'/></interface>
<memballoon model='none'/></devices></domain>
"""


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def one_by_one(connection: libvirt.virConnect) -> None:
    """The calls that a program makes which asks for each virtual server by itself."""
    for domain in connection.listAllDomains():
        state, _ = domain.state()
        domain.info()
        xml = domain.XMLDesc()
        domain.autostart()
        if state == libvirt.VIR_DOMAIN_SHUTOFF:
            continue
        domain.memoryStats()
        domain.schedulerParameters()
        domain.getCPUStats(True)
        for piece in xml.split("<target dev='")[1:]:
            device = piece.partition("'")[0]
            if device.startswith("vd"):
                domain.blockStatsFlags(device)
                domain.blockInfo(device)
            elif device.startswith("vnet"):
                domain.interfaceStats(device)


@contextmanager
def exporter(uri: str) -> Iterator[str | None]:
    """Debian's exporter for this libvirt, and its address; None where it is not installed."""
    if shutil.which(EXPORTER) is None:
        yield None
        return
    command = [EXPORTER, f"--web.listen-address=127.0.0.1:{EXPORTER_PORT}", "--libvirt.uri", uri]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(1)
        yield f"http://127.0.0.1:{EXPORTER_PORT}/metrics"
    finally:
        process.terminate()
        process.wait()


def scrape(address: str) -> bytes:
    """What is there."""
    with urllib.request.urlopen(address, timeout=300) as answer:
        return answer.read()


def populate(host: LibvirtHost, defined: int, running: int) -> list[str]:
    """Define virtual servers and start some of them, and the names of those."""
    connection, bridge, started = open_raw(host.uri), host.bridge(), []
    for number in range(defined):
        name = host.unique_name("bench")
        image = host.image(name, "16M") if number < running else host.images / name
        domain = connection.defineXML(DOMAIN.format(name=name, image=image, bridge=bridge))
        if number < running:
            domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
            started.append(name)
    connection.close()
    return started


def measure(host: LibvirtHost, rounds: int, scrapes: int) -> dict[str, list[tuple[float, float]]]:
    """Pairs of seconds, the other's and ours, by what was measured."""
    connection = open_raw(host.uri)
    collector = Collector(lambda: StatisticsConnection(host.uri), timeout=60)
    registry = CollectorRegistry()
    registry.register(Ages(collector))
    exposition = Exposition(registry, collector)
    endpoint = Endpoint(MetricsSettings(listen="127.0.0.1:0"), exposition)
    endpoint.start()
    ours = f"http://127.0.0.1:{endpoint.port}/metrics"
    pairs: dict[str, list[tuple[float, float]]] = {}
    try:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(2):
            collector.collect()  # the first reads all XML
        text = scrape(ours)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"{text.count(10)} lines, {len(text) / 2**20:.1f} MiB a scrape")
        print(f"memory: {before / 1024:.0f} MiB before, {after / 1024:.0f} MiB at most after")
        bare = pairs["collection / bare getAllDomainStats"] = []
        for _ in range(rounds):
            alone = timed(lambda: connection.getAllDomainStats(0, NOWAIT))
            bare.append((timed(collector.collect), alone))  # the one right before it
        again = pairs["collection with rendering / bare"] = []
        for _ in range(rounds):
            alone = timed(lambda: connection.getAllDomainStats(0, NOWAIT))
            ready = timed(lambda: (collector.collect(), exposition.prepare()))
            again.append((ready, alone))
        each = pairs["calls for each server / our scrape"] = []
        for _ in range(scrapes):
            collector.collect()
            exposition.prepare()  # as the daemon does it after each collection
            each += [(timed(lambda: one_by_one(connection)), timed(lambda: scrape(ours)))]
        with exporter(host.uri) as theirs:
            if theirs is None:
                print(f"{EXPORTER} is not installed")
            else:
                other = pairs[f"{EXPORTER} / our scrape"] = []
                for _ in range(scrapes):
                    collector.collect()
                    exposition.prepare()
                    other += [(timed(lambda: scrape(theirs)), timed(lambda: scrape(ours)))]
    finally:
        endpoint.stop()
        connection.close()
    return pairs


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--defined", type=int, default=1000)
    parser.add_argument("--running", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scrapes", type=int, default=5)
    parser.add_argument("--hanging", type=float, default=10.0, metavar="SECONDS")
    chosen = parser.parse_args()
    configure("console", sys.stderr, "critical")
    with LibvirtHost.take() as host:
        started = populate(host, chosen.defined, chosen.running)
        print(f"{chosen.defined} defined, {chosen.running} of them running")
        pairs = measure(host, chosen.rounds, chosen.scrapes)
        if chosen.hanging:
            print(HEADER)
            for each in measure_hanging(host, started, chosen.hanging, scrape):
                print(each, flush=True)
    print()
    print(f"{'':44} {'ratio':>7} {'least':>7} {'most':>7}   first     second")
    for what, measured in pairs.items():
        ratios = [first / second for first, second in measured]
        first, second = (statistics.median(column) * 1e3 for column in zip(*measured, strict=True))
        print(
            f"{what:44} {statistics.median(ratios):7.2f} {min(ratios):7.2f} {max(ratios):7.2f}"
            f" {first:8.1f} ms {second:7.1f} ms"
        )


if __name__ == "__main__":
    main()
