"""What libvirt shows otherwise while it runs: the mark tells what it was started with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from lxml import etree

from reconvirt.domain.devices import DEVICES
from reconvirt.domain.fields import FIELDS
from reconvirt.domain.mark import read_mark
from reconvirt.domain.plan import make_plan
from reconvirt.domain.rows import Field
from reconvirt.domain.xmltree import parse_xml
from strategies import wanted
from virtual_servers import Spec, defined, plan, restarted, spec, stored, text_of, verbs, waits

EXPANDED = [row for row in FIELDS if row.expanded]
EXPANDED_DEVICES = [(kind, row) for kind in DEVICES for row in kind.fields if row.expanded]
HOST_MODEL = {"mode": "host-model"}


def values_of(row: Field) -> tuple[Any, Any]:
    """Two values of a row, as a manifest spells them."""
    schema = row.kind.schema
    if "enum" in schema:
        return schema["enum"][0], schema["enum"][1]
    if schema["type"] == "integer":
        return schema["minimum"] + 1, schema["minimum"] + 2
    return "/one", "/two"


def nested(name: str, value: Any) -> Spec:
    """``{"os": {"loader": {"path": value}}}``."""
    for key in reversed(name.split(".")):
        value = {key: value}
    return value


def stating(row: Field, value: Any) -> Spec:
    """A small ``spec`` that states a row."""
    more = nested(row.name, value)
    return spec(**{key: spec().get(key, {}) | each for key, each in more.items()})


def started(of: Spec) -> Any:
    """One that runs as its manifest says."""
    return restarted(defined(wanted(of)))


def show(seen: Any, path: str, **attributes: str) -> Any:
    """What libvirt shows of it instead, once it runs."""
    root = parse_xml(seen.live)
    element = root.find(path)
    element.attrib.clear()
    element.attrib.update(attributes)
    etree.SubElement(element, "model", fallback="forbid").text = "z14-base"
    etree.SubElement(element, "feature", name="aen", policy="require")
    return replace(seen, live=text_of(root))


@pytest.mark.parametrize("row", EXPANDED, ids=lambda row: row.name)
def test_a_change_after_the_start_waits(row: Field) -> None:
    """It waits at the first look and at the next, though libvirt shows nothing of use."""
    one, two = values_of(row)
    seen = started(stating(row, one))
    after = stating(row, two)

    first = plan(after, seen)
    second = plan(after, stored(first, seen))

    assert [row.name] == list(waits(first)) == list(waits(second))
    assert ["record", "define"] == verbs(first)
    assert [] == verbs(second)


@pytest.mark.parametrize("row", EXPANDED, ids=lambda row: row.name)
def test_the_next_start_brings_it(row: Field) -> None:
    """The mark of what runs is then that of the configuration."""
    one, two = values_of(row)
    seen = started(stating(row, one))
    after = stating(row, two)

    seen = restarted(stored(plan(after, seen), seen))

    assert plan(after, seen).empty


@pytest.mark.parametrize("row", EXPANDED, ids=lambda row: row.name)
def test_what_is_stated_no_more_waits_too(row: Field) -> None:
    """Until the next start, and no longer."""
    seen = started(stating(row, values_of(row)[0]))

    first = plan(spec(), seen)
    seen = stored(first, seen)

    assert [row.name] == list(waits(first)) == list(waits(plan(spec(), seen)))
    assert plan(spec(), restarted(seen)).empty


@pytest.mark.parametrize("row", EXPANDED, ids=lambda row: row.name)
def test_what_is_stated_anew_waits(row: Field) -> None:
    """It was started without."""
    after = stating(row, values_of(row)[0])
    seen = started(spec())

    first = plan(after, seen)
    seen = stored(first, seen)

    assert [row.name] == list(waits(first)) == list(waits(plan(after, seen)))
    assert plan(after, restarted(seen)).empty


@pytest.mark.parametrize("row", EXPANDED, ids=lambda row: row.name)
def test_what_is_taken_back_before_the_start_waits_no_longer(row: Field) -> None:
    """Whether another value was stated meanwhile, or one where there was none, or none."""
    one, two = values_of(row)
    for first, second in (
        (stating(row, one), stating(row, two)),
        (spec(), stating(row, one)),
        (stating(row, one), spec()),
    ):
        seen = started(first)
        seen = stored(plan(second, seen), seen)
        seen = stored(plan(first, seen), seen)

        assert plan(first, seen).empty


@pytest.mark.parametrize(
    ("kind", "row"), EXPANDED_DEVICES, ids=lambda each: getattr(each, "name", "")
)
def test_so_do_those_of_devices(kind: Any, row: Field) -> None:
    """A port that libvirt has chosen is none that was stated."""
    one, two = values_of(row)
    named = {"consoles": {"target": {"type": "sclp"}}, "serials": {"target": {"type": "x"}}}
    base = named.get(kind.name, {"type": "vnc"} if kind.name == "graphics" else {})
    before, after = (
        spec(devices={kind.name: [base | nested(row.name, value)]}) for value in (one, two)
    )
    seen = started(before)

    first = plan(after, seen)
    seen = stored(first, seen)
    second = plan(after, seen)

    assert [row.name] == [each.rpartition("].")[2] for each in waits(first)]
    assert waits(first) == waits(second)
    assert plan(after, restarted(seen)).empty
    assert plan(before, stored(plan(before, seen), seen)).empty


class TestProcessor:
    def test_a_model_that_libvirt_wrote_out_is_no_difference(self) -> None:
        """host-model runs as a custom one with a list of features."""
        after = spec(cpu=HOST_MODEL)
        seen = show(started(after), "cpu", mode="custom", match="exact", check="full")

        assert plan(after, seen).empty

    def test_one_that_was_taken_over_carries_no_mark(self) -> None:
        """What the configuration has had all along, it was started with."""
        after = replace(wanted(spec(cpu=HOST_MODEL)), uuid=started(spec()).uuid)
        seen = show(started(spec(cpu=HOST_MODEL)), "cpu", mode="custom")
        texts = []
        for text in (seen.config, seen.live):
            root = parse_xml(text)
            root.remove(root.find("metadata"))
            texts.append(text_of(root))

        assert make_plan(after, replace(seen, config=texts[0], live=texts[1])).empty

    def test_a_change_that_was_taken_back_is_settled(self) -> None:
        """The mark knows what it was started with, however often the wanted value changes."""
        before = spec(cpu=HOST_MODEL)
        seen = show(started(before), "cpu", mode="custom")
        for mode in ("maximum", "host-passthrough"):
            other = spec(cpu={"mode": mode})
            seen = stored(plan(other, seen), seen)
            assert ["cpu.mode"] == list(waits(plan(other, seen)))

        seen = stored(plan(before, seen), seen)

        assert plan(before, seen).empty
        assert plan(before, restarted(seen)).empty

    def test_features_are_expanded_as_a_whole(self) -> None:
        """A feature that is added waits; the many that libvirt shows are nothing."""
        after = spec(cpu=HOST_MODEL | {"features": [{"name": "vx"}]})
        seen = show(started(spec(cpu=HOST_MODEL)), "cpu", mode="custom")

        first = plan(after, seen)
        seen = stored(first, seen)

        assert ["cpu.features[vx]"] == list(waits(first)) == list(waits(plan(after, seen)))
        assert plan(after, restarted(seen)).empty
        before = spec(cpu=HOST_MODEL)
        assert plan(before, stored(plan(before, seen), seen)).empty

    def test_the_mark_says_what_waits(self) -> None:
        """So that a daemon that is started anew knows it."""
        seen = started(spec(cpu=HOST_MODEL))

        seen = stored(plan(spec(cpu={"mode": "maximum"}), seen), seen)

        mark = read_mark(parse_xml(seen.live or ""))
        assert mark is not None
        assert {"cpu.mode": '"host-model"'} == mark.pending
