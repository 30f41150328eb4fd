"""Scrapes while something hangs: how long they take, over rendering alone."""

from __future__ import annotations

import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from reconvirt.hypervisor.stats import StatisticsConnection
from reconvirt.metrics.collector import Collector
from reconvirt.metrics.endpoint import Endpoint
from reconvirt.metrics.exposition import Ages, Exposition
from reconvirt.metrics.settings import MetricsSettings
from testbed.hang import emulator, stopped

if TYPE_CHECKING:
    from testbed import LibvirtHost

INTERVAL = 1.0
TIMEOUT = 2.0
PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Hanging:
    """What was measured while one thing hung, in seconds.

    Attributes:
        what: what hung.
        scrapes: each scrape over HTTP.
        renderings: rendering the same registry, right before each of them; the text of a snapshot
            is made once, by whoever collects it.
        whole: rendering everything, the snapshot as well, at the end.
        age: how old the statistics were at the end.
        stuck: how many calls of libvirt had been given up at the end.
    """

    what: str
    scrapes: list[float]
    renderings: list[float]
    whole: float
    age: float
    stuck: int

    def __str__(self) -> str:
        pairs = zip(self.scrapes, self.renderings, strict=True)
        over = [scrape - rendering for scrape, rendering in pairs]
        told = "   ".join(_tell(each) for each in (self.scrapes, self.renderings, over))
        return (
            f"{self.what:18} {len(self.scrapes):4}   {told}   {self.whole * 1e3:6.1f}"
            f"   {self.age:5.1f} s {self.stuck:5}"
        )


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _tell(times: list[float]) -> str:
    """Median, the one below which 19 of 20 are, and the worst."""
    most = statistics.quantiles(times, n=20)[-1]
    return "".join(f"{each * 1e3:7.1f}" for each in (statistics.median(times), most, max(times)))


_COLUMNS = " median   95 %  worst"
HEADER = f"""
{"milliseconds":18}        {"scrape":21}   {"rendering":21}   {"difference":21}   {"all":>6}
{"what hangs":18} {"of":>4}   {_COLUMNS}   {_COLUMNS}   {_COLUMNS}   {"":>6}   {"age":>7} stuck"""


@contextmanager
def job(host: LibvirtHost, name: str) -> Iterator[None]:
    """A dump that does not come to an end."""
    command = ("virsh", "--connect", host.uri, "dump", name, str(host.images / f"{name}.core"))
    with stopped(emulator(host, name)):
        dump = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        yield
    dump.wait()


def measure_hanging(
    host: LibvirtHost, names: list[str], seconds: float, scrape: Callable[[str], bytes]
) -> Iterator[Hanging]:
    """Scrape while nothing hangs, one thing after the other, and all at once.

    Statistics are collected every second meanwhile, and the scrapes begin before it is noticed
    that something hangs.
    """
    collector = Collector(
        lambda: StatisticsConnection(host.uri), interval=INTERVAL, timeout=TIMEOUT
    )
    registry = CollectorRegistry()
    registry.register(Ages(collector))
    exposition = Exposition(registry, collector)
    endpoint = Endpoint(MetricsSettings(listen="127.0.0.1:0"), exposition)
    endpoint.start()
    address = f"http://127.0.0.1:{endpoint.port}/metrics"
    stop = threading.Event()
    thread = threading.Thread(target=collector.run, args=(stop, exposition.prepare), daemon=True)
    thread.start()
    libvirtd = int((host.directory / "libvirtd.pid").read_text(encoding="utf-8"))
    hung, busy = names[:2]
    cases: dict[str, list[Callable[[], AbstractContextManager[None]]]] = {
        "nothing": [],
        "a QEMU": [lambda: stopped(emulator(host, hung))],
        "a QEMU with a job": [lambda: job(host, busy)],
        "libvirtd": [lambda: stopped(libvirtd)],
    }
    cases["all three at once"] = [each for case in cases.values() for each in case]
    try:
        for what, enter in cases.items():
            while collector.age is None or collector.age > 2 * INTERVAL or collector.stuck:
                time.sleep(PAUSE)
            with ExitStack() as stack:
                for each in enter:
                    stack.enter_context(each())
                scrapes: list[float] = []
                renderings: list[float] = []
                until = time.monotonic() + seconds
                while time.monotonic() < until:
                    for times, work in (
                        (renderings, exposition.text),
                        (scrapes, lambda: scrape(address)),
                    ):
                        times.append(_timed(work))
                    time.sleep(PAUSE)
                whole = _timed(Exposition(registry, collector).text)
                age, stuck = collector.age, collector.stuck
            yield Hanging(what, scrapes, renderings, whole, age or 0.0, stuck)
    finally:
        stop.set()
        endpoint.stop()
