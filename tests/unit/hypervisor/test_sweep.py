"""Observing many virtual servers, of which some hang."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from reconvirt.domain.observed import Observed, State
from reconvirt.hypervisor.errors import HypervisorDown, NotResponding
from reconvirt.hypervisor.sweep import observe_each

LONG = 30.0


def observed(name: str) -> Observed:
    return Observed(name, f"uuid-{name}", None, State.SHUTOFF, "unknown", "", None, False)


@dataclass
class Libvirt:
    """Those that are there, those that hang, and those whose observation fails."""

    names: list[str]
    hung: set[str] = field(default_factory=set)
    errors: dict[str, Exception] = field(default_factory=dict)
    free: threading.Event = field(default_factory=threading.Event)

    def observe_now(self, name: str, _uuid: str) -> Observed | None:
        if name in self.hung:
            self.free.wait(LONG)
        if name in self.errors:
            raise self.errors[name]
        return observed(name) if name in self.names else None


def sweep(libvirt: Any, names: list[str] | None = None, **limits: Any) -> Any:
    domains = {name: f"uuid-{name}" for name in names or libvirt.names}
    return observe_each(libvirt, domains, **{"bound": 0.3, **limits})


def test_all_are_observed_in_their_order() -> None:
    names = [f"vs{number}" for number in range(50)]
    seen = sweep(Libvirt(names), bound=LONG)
    assert names == list(seen.observed)
    assert {} == seen.unseen


def test_none_is_asked_for_and_none_is_there() -> None:
    assert {} == sweep(Libvirt([])).observed
    assert {} == sweep(Libvirt([]), ["gone"]).observed


def test_those_that_hang_are_named_and_the_others_are_observed() -> None:
    """More of them than are observed at a time."""
    names = [f"vs{number}" for number in range(30)]
    libvirt = Libvirt(names, hung=set(names[:7]))
    seen = sweep(libvirt)
    assert names[7:] == list(seen.observed)
    assert set(names[:7]) == set(seen.unseen)
    assert all("has not answered for 0.3 s" in why for why in seen.unseen.values())
    libvirt.free.set()


def test_an_error_of_one_is_told_of_it_alone() -> None:
    libvirt = Libvirt(["a", "b"], errors={"a": NotResponding("its QEMU has not answered")})
    seen = sweep(libvirt, bound=LONG)
    assert ["b"] == list(seen.observed)
    assert {"a": "its QEMU has not answered"} == seen.unseen


def test_a_lost_connection_ends_it() -> None:
    libvirt = Libvirt(["a", "b"], errors={"a": HypervisorDown("libvirt has ended")})
    with pytest.raises(HypervisorDown, match="libvirt has ended"):
        sweep(libvirt, bound=LONG)


def test_when_too_many_hang_the_rest_is_given_up() -> None:
    names = [f"vs{number}" for number in range(12)]
    libvirt = Libvirt(names, hung=set(names))
    seen = sweep(libvirt, most_stuck=5)
    assert set(names) == set(seen.unseen)
    assert any("no more were asked for" in why for why in seen.unseen.values())
    libvirt.free.set()
