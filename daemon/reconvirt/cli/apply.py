"""``reconvirt apply``."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from reconvirt.cli import options, output
from reconvirt.cli.apply_by_daemon import AnotherSource, reconcile_by_daemon
from reconvirt.cli.exit_codes import exit_codes
from reconvirt.cli.state import DaemonRuns, sole_writer, store_of
from reconvirt.cli.wanted import Wanted, connected, read_source
from reconvirt.controller.config import Config
from reconvirt.controller.engine import Engine
from reconvirt.controller.history import History
from reconvirt.controller.holds import HoldStore
from reconvirt.controller.hosts.house import House
from reconvirt.controller.image_record import ImageRecord
from reconvirt.controller.logs import configure
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.controller.surroundings import surroundings_of
from reconvirt.domain.changes import Plan
from reconvirt.domain.desired import Desired
from reconvirt.hypervisor.connection import Calls, Hypervisor
from reconvirt.manifest.problem import Problem

CONVERGED, FAILED, WAITING = 0, 1, 3
_PATIENCE = 2.0  # seconds for a call in hand, when the time is up
_UNDERWAY = (Phase.WAITING_FOR_GUEST, Phase.WAITING)


@click.command()
@options.names_argument
@options.settings
@options.output_option("table", "json")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for guests to answer.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log every step.")
@click.pass_context
@exit_codes(
    {
        CONVERGED: "converged",
        WAITING: "converged as far as that goes: something waits for a restart",
        FAILED: "something failed, was refused or did not answer in time",
    }
)
def apply(
    context: click.Context,
    names: tuple[str, ...],
    desired: Path | None,
    connect: str | None,
    config_file: Path | None,
    form: str,
    timeout: float,
    *,
    verbose: bool,
) -> None:
    """Converge once: bring the virtual servers to what their manifests want.

    One process at a time does that to a libvirt. Where a daemon runs that has the same manifests,
    it is asked to do it, and waited for; beside one that has others it is refused.
    """
    config = options.read_config(config_file, desired=desired, connect=connect)
    configure(config.log_format, sys.stderr, "info" if verbose else "critical")
    wanted = read_source(config, options.read_config(config_file))
    chosen = wanted.select(names)
    began = time.monotonic()
    revision, problems = wanted.snapshot.revision, wanted.snapshot.problems
    try:
        with (
            connected(config.connect, bound=None) as hypervisor,
            sole_writer(config, hypervisor, "apply"),
        ):
            outcomes: Sequence[Mapping[str, Any]] = [
                output.outcome_value(each)
                for each in _converge(hypervisor, chosen, config, timeout, form=form, wanted=wanted)
            ]
            calls = hypervisor.calls
    except DaemonRuns as refusal:
        outcomes = _ask(refusal, revision, chosen, timeout)
        # The daemon's own, of which each step is one.
        calls = Calls(0, sum(len(each["steps"]) for each in outcomes))
    _print(outcomes, problems, form, revision, calls, time.monotonic() - began)
    context.exit(_exit_code(outcomes, failed=bool(problems)))


def _ask(
    refusal: DaemonRuns, revision: str, chosen: Iterable[str], timeout: float
) -> list[Mapping[str, Any]]:
    """Have the daemon do it, if it has the same manifests.

    Raises:
        DaemonRuns: it has not, or cannot be asked.
    """
    try:
        return reconcile_by_daemon(refusal.daemon, revision, chosen, timeout)
    except AnotherSource as other:
        raise DaemonRuns(refusal.daemon, "apply", str(other)) from other


def _converge(
    hypervisor: Hypervisor,
    chosen: Mapping[str, Desired],
    config: Config,
    timeout: float,
    *,
    form: str,
    wanted: Wanted,
) -> list[Outcome]:
    """Reconcile each until nothing more can be done now."""
    settled: dict[str, Outcome] = {}
    changed = threading.Condition()
    lost = threading.Event()

    def on_outcome(outcome: Outcome) -> None:
        with changed:
            settled[outcome.name] = _together(settled.get(outcome.name), outcome)
            changed.notify_all()

    def on_close(_reason: str) -> None:
        lost.set()
        with changed:
            changed.notify_all()

    history = History()

    def wake(name: str) -> None:
        engine.hint(name)

    store = store_of(config)
    house = House(config, store, wake, lambda _name, _progress: None, history)
    house.take(wanted.inventory.hosts)
    house.resync.identify()
    holds = HoldStore(store)
    images = ImageRecord(store)
    around = surroundings_of(config, holds, history, house.placement, lambda: wanted.desired)
    house.migrations.guard = around.guard
    engine = Engine(
        lambda: hypervisor,
        workers=config.workers,
        surroundings=replace(around, afar=house.afar, images=images),
        most_starts=config.most_starts,
        on_outcome=on_outcome,
    )
    hypervisor.watch(engine.heard, on_close)
    deadline = time.monotonic() + timeout
    with _progress(len(chosen), form) as advance:
        engine.start()
        engine.want(chosen)
        with changed:
            while not lost.is_set() and (left := deadline - time.monotonic()) > 0:
                waiting = [o for o in settled.values() if o.phase in _UNDERWAY]
                advance(len(settled) - len(waiting))
                if len(settled) == len(chosen) and not waiting:
                    break
                changed.wait(left)
        house.stop()
        engine.stop(_PATIENCE)
        images.flush()
    missing = [name for name in chosen if name not in settled]
    return [settled[name] for name in chosen if name in settled] + [
        Outcome(name, Phase.FAILED, "libvirt did not answer in time", Plan(name))
        for name in missing
    ]


def _together(before: Outcome | None, outcome: Outcome) -> Outcome:
    """What two looks came to; an event of our own step makes the engine look once more."""
    if before is None:
        return outcome
    # A look that is cut short when the engine ends says less than the one before it.
    latest = before if outcome.phase is Phase.DIFFERS else outcome
    return replace(latest, steps=(*before.steps, *outcome.steps))


@contextmanager
def _progress(total: int, form: str) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; nothing elsewhere."""
    printer = output.console(stderr=True)
    if form != "table" or not printer.is_terminal:
        yield lambda _done: None
        return
    from rich.progress import Progress  # noqa: PLC0415 - slow to load, only for terminals

    with Progress(console=printer, transient=True) as bar:
        task = bar.add_task("Converging", total=total)
        yield lambda done: bar.update(task, completed=done)


def _print(
    outcomes: Sequence[Mapping[str, Any]],
    problems: tuple[Problem, ...],
    form: str,
    revision: str,
    calls: Calls,
    seconds: float,
) -> None:
    if form == "json":
        output.print_json(
            {
                "revision": revision,
                "calls": {"reading": calls.reading, "writing": calls.writing},
                "seconds": round(seconds, 3),
                "virtualServers": outcomes,
                "problems": output.problems_value(problems),
            }
        )
        return
    output.print_problems(problems)
    printer = output.console()
    rows = output.table("NAME", "STATUS", "STEPS", "MESSAGE")
    for each in outcomes:
        steps = ", ".join(step["action"] for step in each["steps"])
        texts = output.cell(each["name"]), output.styled(Phase(each["phase"])), steps or "-"
        rows.add_row(*texts, output.cell(each["message"]))
    printer.print(rows)
    changed = sum(1 for each in outcomes if each["steps"])
    printer.print(f"{len(outcomes)} virtual servers, {changed} changed, in {seconds:.1f} s")


def _exit_code(outcomes: Sequence[Mapping[str, Any]], *, failed: bool) -> int:
    good = {Phase.CONVERGED, Phase.WAITING_FOR_RESTART, Phase.ELSEWHERE}
    phases = [Phase(each["phase"]) for each in outcomes]
    if failed or not good.issuperset(phases):
        return FAILED
    return WAITING if Phase.WAITING_FOR_RESTART in phases else CONVERGED
