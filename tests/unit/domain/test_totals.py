"""What all virtual servers of a host may have together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconvirt.domain.totals import NOTHING, Share, Size, Totals, asked_size, share_out
from strategies import wanted

GIB = 1024**2
EIGHT = Totals(vcpus=8)


def off(name: str, vcpus: int, priority: int = 0) -> Share:
    return Share(name, asks=Size(vcpus, GIB), priority=priority)


def runs(name: str, vcpus: int, asks: int | None = None) -> Share:
    return Share(name, Size(vcpus, GIB), Size(vcpus if asks is None else asks, GIB))


def refused(*shares: Share, totals: Totals = EIGHT) -> list[str]:
    return sorted(share_out(shares, totals))


def test_what_fits_is_not_refused() -> None:
    """To the last one; without a limit anything fits."""
    assert [] == refused(off("a", 4), runs("b", 4))
    assert [] == refused(off("a", 4000), totals=Totals())


def test_who_comes_too_late_is_refused() -> None:
    """By name, whatever the order in which they are told; a smaller one may still fit."""
    shares = [off("a", 5), off("b", 4), off("c", 3)]

    assert ["b"] == refused(*shares) == refused(*reversed(shares))


def test_priority_goes_before_the_name() -> None:
    """As it does for starts."""
    assert ["a"] == refused(off("a", 5), off("z", 5, priority=1))


def test_what_runs_goes_before_what_does_not() -> None:
    """However low its name and its priority are."""
    assert ["a"] == refused(off("a", 4, priority=9), runs("z", 5))


def test_what_runs_is_never_refused_what_it_has() -> None:
    """Nor when all together have more than is allowed now; it may shrink, but not grow."""
    assert [] == refused(runs("a", 6), runs("b", 6, asks=2))
    assert ["a"] == refused(runs("a", 6, asks=7), runs("b", 6))


def test_a_refusal_takes_nothing_from_the_others() -> None:
    """One that grows too much keeps what it has, and that alone counts."""
    assert ["a"] == refused(runs("a", 2, asks=9), off("b", 6))


def test_who_shall_not_run_asks_for_nothing() -> None:
    """It counts only for as long as it still runs."""
    assert ["b"] == refused(Share("a", Size(4, GIB), NOTHING), off("b", 5))
    assert [] == refused(Share("a"), off("b", 5))


def test_the_message() -> None:
    """Which total, how much is taken, by whom, and what is left."""
    shares = [runs("db1", 4), runs("web1", 3, asks=5), off("zzz", 2)]
    told = share_out(shares, EIGHT)

    (growing,), (starting,) = told["web1"], told["zzz"]
    assert ("spec.vcpu.maximum", "5") == (growing.field, growing.new)
    assert (
        "this host gives all virtual servers together 8 vCPUs at most (admission.max_total_vcpus); "
        "others have 4 (db1 4), so 4 can be had; until then it keeps the 3 that it has"
    ) == growing.reason
    assert "others have 7 (db1 4, web1 3), so 1 can be had" in starting.reason


def test_the_message_names_the_greatest_only() -> None:
    """A host may have hundreds."""
    shares = [runs(f"s{number}", 1 + (number == 9)) for number in range(1, 10)]

    (told,) = share_out([*shares, off("x", 1)], Totals(vcpus=10))["x"]

    assert (
        "others have 10 (s9 2, s1 1, s2 1, s3 1, s4 1, 4 others 4), so 0 can be had" in told.reason
    )


def test_memory_and_vcpus_are_told_each() -> None:
    """Both may be too much."""
    asks = Share("a", asks=Size(9, 3 * GIB))

    told = share_out([asks], Totals(8, 2 * GIB))["a"]

    assert ["spec.vcpu.maximum", "spec.memory"] == [each.field for each in told]
    assert (
        "2 GiB of memory at most (admission.max_total_memory); no other has any" in told[1].reason
    )
    assert "3 GiB" == told[1].new


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        ({"memory": "1 GiB", "vcpu": 2}, Size(2, GIB)),
        ({"memory": "1 GiB", "vcpu": {"maximum": 4, "current": 1}}, Size(4, GIB)),
        ({"memory": "1 GiB", "xml": "<domain><vcpu>6</vcpu></domain>"}, Size(6, GIB)),
        ({"xml": "<domain><memory unit='GiB'>2</memory></domain>"}, Size(7, 2 * GIB)),
        ({}, Size(7, 5 * GIB)),
    ],
)
def test_what_a_manifest_asks_for(spec: dict[str, Any], size: Size) -> None:
    """Keys, spec.xml, or what libvirt has already."""
    assert size == asked_size(wanted(spec), Size(7, 5 * GIB))


def test_libvirt_gives_one_vcpu_where_none_is_stated() -> None:
    """And nothing is known of the memory."""
    assert Size(1, 0) == asked_size(wanted({}), NOTHING)


sizes = st.builds(Size, st.integers(0, 6), st.integers(0, 6))
shares = st.lists(
    st.builds(Share, st.text("abcde", min_size=1, max_size=3), sizes, sizes, st.integers(0, 2)),
    max_size=8,
    unique_by=lambda each: each.name,
)


@given(shares, st.integers(0, 20), st.integers(0, 20), st.randoms())
def test_what_holds_always(listed: list[Share], vcpus: int, memory: int, random: Any) -> None:
    """No total is exceeded by what is granted; order does not matter; granting changes nothing."""
    totals = Totals(vcpus, memory)
    told = share_out(listed, totals)

    shuffled = list(listed)
    random.shuffle(shuffled)
    assert told == share_out(shuffled, totals)
    for what, most in (("vcpus", vcpus), ("memory", memory)):
        has = sum(getattr(each.has, what) for each in listed)
        granted = sum(
            getattr(each.has if each.name in told else each.wants, what) for each in listed
        )
        assert granted <= max(most, has)
    after = [
        each if each.name in told else Share(each.name, each.wants, each.wants, each.priority)
        for each in listed
    ]
    assert told.keys() == share_out(after, totals).keys()
