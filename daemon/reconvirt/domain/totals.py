"""How much of a host all its virtual servers may have together.

What runs has what it has, and is never stopped for it. What is left goes to those that shall run
and do not yet, or ask for more: in the order of their priorities and then of their names, so that
the same manifests and the same running virtual servers always give the same answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from lxml import etree

from reconvirt.domain.changes import Change
from reconvirt.domain.desired import Desired
from reconvirt.domain.effects import Effect
from reconvirt.domain.fields import FIELD_BY_NAME
from reconvirt.domain.xmltree import parse_xml
from reconvirt.manifest.units import format_memory

_What: TypeAlias = Literal["vcpus", "memory"]

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Size:
    """What a virtual server has, or asks for.

    Attributes:
        vcpus: virtual CPUs, those included that are offline.
        memory: in KiB.
    """

    vcpus: int = 0
    memory: int = 0

    def at_least(self, other: Size) -> Size:
        """The greater of each."""
        return Size(max(self.vcpus, other.vcpus), max(self.memory, other.memory))


@dataclass(frozen=True, slots=True)
class Totals:
    """The most that all may have together.

    Attributes:
        vcpus: virtual CPUs, or None.
        memory: in KiB, or None.
    """

    vcpus: int | None = None
    memory: int | None = None

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self.vcpus is not None or self.memory is not None


NO_TOTALS = Totals()

NOTHING = Size()


@dataclass(frozen=True, slots=True)
class Share:
    """One virtual server's part of the host.

    Attributes:
        name: its name.
        has: what it has now, as long as it runs.
        asks: what it shall have; nothing where it shall not run.
        priority: the higher goes first.
    """

    name: str
    has: Size = NOTHING
    asks: Size = NOTHING
    priority: int = 0

    @property
    def wants(self) -> Size:
        """What it would have then: nothing is taken away from one that runs."""
        return self.has.at_least(self.asks)


def asked_size(desired: Desired, known: Size) -> Size:
    """What a virtual server shall have while it runs.

    Args:
        desired: what is wanted of it.
        known: what libvirt has, for what the manifest does not state.
    """
    root = etree.Element("domain")
    for key, text in desired.statement.pieces.items():
        if not key.startswith("devices."):
            root.append(parse_xml(text))

    def stated(name: str) -> int:
        value = desired.statement.fields.get(name, FIELD_BY_NAME[name].read(root))
        return value if isinstance(value, int) else 0

    return Size(stated("vcpu.maximum") or known.vcpus or 1, stated("memory.size") or known.memory)


def share_out(shares: Iterable[Share], totals: Totals) -> Mapping[str, tuple[Change, ...]]:
    """Why virtual servers may not have what they ask for, by name; none for those that may."""
    ordered = sorted(shares, key=lambda each: (-each.priority, each.name))
    taken = {each.name: each.has for each in ordered}
    refused: dict[str, tuple[Change, ...]] = {}
    for each in ordered:
        if each.wants == each.has:
            continue
        objections = tuple(_objections(each, taken, totals))
        if objections:
            refused[each.name] = objections
        else:
            taken[each.name] = each.wants
    return refused


def _objections(share: Share, taken: Mapping[str, Size], totals: Totals) -> Iterator[Change]:
    rows: tuple[tuple[_What, str, str, int | None], ...] = (
        ("vcpus", "spec.vcpu.maximum", "vCPUs", totals.vcpus),
        ("memory", "spec.memory", "of memory", totals.memory),
    )
    for what, field, unit, most in rows:
        has, asks = getattr(share.has, what), getattr(share.asks, what)
        others = {name: getattr(size, what) for name, size in taken.items() if name != share.name}
        used = sum(others.values())
        if most is None or asks <= has or used + asks <= most:
            continue
        left, kept = max(most - used, 0), ""
        if has:
            kept = f"; until then it keeps the {_show(what, has)} that it has"
        why = (
            f"this host gives all virtual servers together {_show(what, most)} {unit} at most "
            f"(admission.max_total_{what}); {_takers(what, others)}, so {_show(what, left)} "
            f"can be had{kept}"
        )
        yield Change(field, None, _show(what, asks), Effect.REFUSED, why)


def _takers(what: _What, others: Mapping[str, int]) -> str:
    """Who has how much, the greatest first."""
    having = sorted(
        ((name, much) for name, much in others.items() if much),
        key=lambda each: (-each[1], each[0]),
    )
    if not having:
        return "no other has any"
    named = [f"{name} {_show(what, much)}" for name, much in having[:_MOST_NAMED]]
    if rest := having[_MOST_NAMED:]:
        number = len(rest)
        named.append(
            f"{number} {'other' if number == 1 else 'others'} "
            f"{_show(what, sum(much for _, much in rest))}"
        )
    total = _show(what, sum(others.values()))
    return f"others have {total} ({', '.join(named)})"


def _show(what: _What, much: int) -> str:
    return str(much) if what == "vcpus" else format_memory(much)
