"""The list of all metrics for people, printed from the table and from what is registered."""

from __future__ import annotations

from collections.abc import Iterator

from reconvirt.metrics.fleet import FleetStatus, Managed, Migration
from reconvirt.metrics.rows import Row
from reconvirt.metrics.service import MetricsService
from reconvirt.metrics.settings import MetricsSettings, PerfSettings
from reconvirt.metrics.table import ALL_ROWS

_EXAMPLE = FleetStatus(
    (Managed("a", labels={"env": "x"}, restart_fields=("f",), held="h"),),
    migrations=(Migration("a", "out", "running", 0.0, 0.0, 0, 0, 0.0),),
    migrations_ended={"moved": 0},
)
_SUFFIXES = {"counter": "_total", "info": "_info"}
_FOREIGN = ("process_", "python_")


def metrics_reference() -> str:
    """The tables, in Markdown."""
    return "\n".join([*_servers(), "", *_daemon()]) + "\n"


def metric_names() -> frozenset[str]:
    """The names of all series, but for the parts of histograms."""
    return frozenset({row.exported for row in ALL_ROWS} | {each[0] for each in _registered()})


def _servers() -> Iterator[str]:
    yield "### Virtual servers"
    yield ""
    yield "Each has the label `virtual_server`: its name."
    yield ""
    yield "| metric | kind | further labels | meaning | the same in virsh |"
    yield "|---|---|---|---|---|"
    seen: set[str] = set()
    for row in ALL_ROWS:
        if row.name not in seen:
            seen.add(row.name)
            yield _line(row)


def _line(row: Row) -> str:
    labels = ", ".join(f"`{label}`" for label in row.labels)
    virsh = ", ".join(f"`{each.strip()}`" for each in row.virsh.split(",") if row.virsh)
    return f"| `{row.exported}` | {row.kind} | {labels} | {row.help} | {virsh} |"


def _daemon() -> Iterator[str]:
    yield "### The daemon and its virtual servers"
    yield ""
    yield "Besides these there are the usual `process_…` and `python_…` of Prometheus' client."
    yield ""
    yield "| metric | kind | labels | meaning |"
    yield "|---|---|---|---|"
    for name, kind, labels, text in sorted(_registered()):
        shown = ", ".join(f"`{label}`" for label in labels)
        yield f"| `{name}` | {kind} | {shown} | {text} |"


def _registered() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    settings = MetricsSettings(labels=("env",), perf=PerfSettings(enabled=True))
    service = MetricsService(settings, "", lambda: _EXAMPLE, workers=1)
    of_table = {row.family for row in ALL_ROWS}
    for family in service.registry.collect():
        if family.name.startswith(_FOREIGN) or family.name in of_table:
            continue
        labels = {label for sample in family.samples for label in sample.labels}
        name = family.name + _SUFFIXES.get(family.type, "")
        yield name, family.type, tuple(sorted(labels - {"le"})), family.documentation
