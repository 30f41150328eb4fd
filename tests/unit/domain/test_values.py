"""Kinds of values: every spelling of a manifest and of libvirt comes to one canonical value."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconvirt.domain import values
from reconvirt.domain.devices import DEVICES
from reconvirt.domain.fields import FIELDS
from reconvirt.domain.kinds.common import ADDRESS_ROWS
from reconvirt.domain.rows import Field
from reconvirt.manifest.units import is_cpuset, parse_cpuset
from strategies import spellings

ROWS = {f"{row.name}": row for row in FIELDS} | {
    f"{kind.name}.{row.name}": row for kind in DEVICES for row in kind.fields
}


@st.composite
def stated(draw: st.DrawFn) -> tuple[Field, Any]:
    """Any row, with a spelling of a value of its."""
    row = ROWS[draw(st.sampled_from(sorted(ROWS)))]
    return row, draw(spellings(row.kind.schema))


@given(stated())
def test_what_is_written_into_xml_is_read_as_the_same(drawn: tuple[Field, Any]) -> None:
    """Of every row of the table."""
    row, spelled = drawn
    value = row.kind.parse(spelled)

    assert value == row.kind.read(row.kind.write(value))


@given(stated())
def test_what_is_written_into_a_manifest_is_read_as_the_same(drawn: tuple[Field, Any]) -> None:
    """And the schema allows it."""
    row, spelled = drawn
    value = row.kind.parse(spelled)
    if value == "":
        return  # a blank command line, which the checks refuse

    dumped = row.kind.dump(value)

    jsonschema.validate(dumped, row.kind.schema)
    assert value == row.kind.parse(dumped)


@given(stated())
def test_a_value_agrees_with_itself(drawn: tuple[Field, Any]) -> None:
    """In both layers."""
    row, spelled = drawn
    value = row.kind.parse(spelled)

    assert row.kind.agrees(value, value, live=False)
    assert row.kind.agrees(value, value, live=True)


@given(stated())
def test_a_value_can_be_shown(drawn: tuple[Field, Any]) -> None:
    """As a person reads it."""
    row, spelled = drawn

    assert isinstance(row.kind.show(row.kind.parse(spelled)), str)


class TestCpusets:
    @pytest.mark.parametrize(
        ("spelling", "printed"),
        [
            ("0", "0"),
            ("3,2,1", "1-3"),
            ("0-3,^2,8", "0-1,3,8"),
            ("0-1,2-3", "0-3"),
            ("7,5", "5,7"),
            ("0-16383", "0-16383"),
        ],
    )
    def test_they_are_sorted_and_joined(self, spelling: str, printed: str) -> None:
        """As libvirt prints them."""
        assert printed == values.CPUSET.parse(spelling)
        assert values.CPUSET.read(printed) == values.CPUSET.parse(spelling)

    @pytest.mark.parametrize("spelling", ["", "a", "1-", "-1", "16384", "1,,2", "5-3", "1,^1"])
    def test_what_is_none(self, spelling: str) -> None:
        """Or has nothing in it."""
        assert not is_cpuset(spelling)

    @given(st.sets(st.integers(0, 300), min_size=1))
    def test_what_is_printed_is_read_as_the_same(self, cpus: set[int]) -> None:
        """Printing and reading are inverse."""
        assert cpus == parse_cpuset(values.format_cpuset(cpus))


class TestNumbers:
    @pytest.mark.parametrize(
        ("spelling", "number"), [("12", 12), ("0xfe", 254), (" 7 ", 7), ("0X10", 16), ("-1", -1)]
    )
    def test_libvirt_prints_them_in_two_ways(self, spelling: str, number: int) -> None:
        """Decimal and hexadecimal."""
        assert number == values.integer(-1).read(spelling)

    def test_what_is_no_number_is_the_text_it_is(self) -> None:
        """It differs from whatever is wanted."""
        row = next(each for each in ADDRESS_ROWS if each.name == "address.unit")

        from lxml import etree

        device = etree.fromstring("<disk><address unit='many'/></disk>")
        assert "many" == row.read(device)

    def test_of_a_count_what_is_left_is_still_ours(self) -> None:
        """Things that are taken away one by one; none is nothing to take away."""
        kind = values.count(9)

        assert [False, True, True, False] == [
            kind.is_rest(3, found, live=True) for found in (0, 1, 3, 4)
        ]

    def test_live_memory_is_whole_mib(self) -> None:
        """libvirt rounds up what runs."""
        assert values.MEMORY.agrees(1025, 2048, live=True)
        assert not values.MEMORY.agrees(1025, 2048, live=False)


class TestCommandLines:
    @pytest.mark.parametrize(
        ("spelling", "canonical"),
        [("a b", "a b"), ("a\n  b", "a b"), (" a \n\n b \n", "a b"), ("a  b", "a  b")],
    )
    def test_a_line_break_with_its_blanks_is_one_blank(self, spelling: str, canonical: str) -> None:
        """Long command lines may be broken; libvirt keeps what it is given."""
        assert canonical == values.command_line().parse(spelling)
        assert canonical == values.command_line().read(spelling)


def test_the_book_calls_a_drive_address_scsi() -> None:
    """libvirt knows it as drive only."""
    row = next(each for each in ADDRESS_ROWS if each.name == "address.type")

    assert "drive" == row.kind.parse("scsi") == row.kind.read("scsi") == row.kind.read("drive")
