"""Amounts of memory and derived identities."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconvirt.manifest.identity import derive_mac, derive_uuid, normalise_uuid
from reconvirt.manifest.units import MEMORY_PATTERN, format_memory, parse_memory


# The right-hand side is what `virsh setmaxmem DOMAIN AMOUNT --config` and dumpxml give.
@pytest.mark.parametrize(
    ("text", "kib"),
    [
        ("1024b", 1),
        ("1025 bytes", 2),
        ("1 byte", 1),
        ("1KB", 1),
        ("1000 KB", 977),
        ("1k", 1),
        ("7 KiB", 7),
        ("512 MB", 500000),
        ("512 M", 524288),
        ("512 MiB", 524288),
        ("1 GB", 976563),
        ("4 GiB", 4194304),
        ("4 g", 4194304),
        ("1 TB", 976562500),
        ("1 TiB", 1073741824),
        ("1 PB", 976562500000),
        ("1 PiB", 1099511627776),
        ("1 EB", 976562500000000),
        ("1 EiB", 1125899906842624),
        ("2 gib", 2097152),
    ],
)
def test_every_unit_of_libvirt_is_known(text: str, kib: int) -> None:
    """Rounded up to KiB, as libvirt does."""
    assert kib == parse_memory(text)


@pytest.mark.parametrize("text", ["", "4", "4.5 GiB", "-1 GiB", "GiB", "4 XB", "4 GiB x", "4 iB"])
def test_other_spellings_are_refused(text: str) -> None:
    """A number without a unit would be KiB to libvirt and bytes to somebody else."""
    with pytest.raises(ValueError, match="whole number and a unit"):
        parse_memory(text)


@given(st.integers(1, 2**53))
def test_what_is_printed_is_read_as_the_same(kib: int) -> None:
    """Printing and reading are inverse."""
    assert kib == parse_memory(format_memory(kib))


@given(st.from_regex(MEMORY_PATTERN, fullmatch=True))
def test_whatever_the_schema_allows_can_be_read(text: str) -> None:
    """And is never negative."""
    assert parse_memory(text) >= 0


def test_identities_are_derived_from_the_name_alone() -> None:
    """They must be the same on every host and in every later version."""
    assert "0dfdd414-de72-5a9f-a609-458f102e8d45" == derive_uuid("vs")
    assert derive_mac("vs") == derive_mac("vs") != derive_mac("vs", 1)
    assert derive_uuid("a") != derive_uuid("b")


@given(st.text())
def test_derived_mac_addresses_are_unicast_in_the_range_of_qemu(name: str) -> None:
    """52:54:00 is QEMU's."""
    assert re.fullmatch(r"52:54:00(:[0-9a-f]{2}){3}", derive_mac(name))


@pytest.mark.parametrize("text", ["8F1C6A0E-5D0B-4C36-9D0E-6B0F6C1F2A11"])
def test_uuids_are_written_as_libvirt_writes_them(text: str) -> None:
    """In lower case."""
    assert text.lower() == normalise_uuid(text)
