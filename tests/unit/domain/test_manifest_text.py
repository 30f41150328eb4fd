"""The text of manifests that are written: YAML that people would have written."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from example_domains import DOMAINS, domain, text_of_import
from reconvirt.domain.manifest_text import write_manifest
from reconvirt.manifest.document import read_documents
from strategies import LETTERS, specs


class TestText:
    def test_comments_stand_at_its_head(self) -> None:
        """Each line is one, however the comment is broken."""
        head = {"apiVersion": "v", "kind": "k", "metadata": {}, "spec": {}}

        text = write_manifest(head, ["one\ntwo", ""])

        assert text.startswith("# one\n# two\napiVersion: v\n")

    @pytest.mark.parametrize("name", DOMAINS)
    def test_it_is_what_people_would_write(self, name: str) -> None:
        """No odd tags or anchors, no endless lines, blocks for long texts."""
        text = text_of_import(name, addresses=False)

        assert not {"!!", "&id", "*id", "\\n"} & set(text.split())
        longest = max(text.splitlines(), key=len)
        assert 110 >= len(longest) or longest.startswith(("#", " " * 8))
        assert yaml.safe_load(text)["metadata"]["uuid"] == domain(name).uuid

    def test_device_numbers_are_hexadecimal_and_texts_are_blocks(self) -> None:
        """As they stand in the book, and in libvirt."""
        text = text_of_import("s390x-kernel", addresses=False)

        assert "address: {type: ccw, cssid: 0xfe, ssid: 0x0, devno: 0x0000}" in text
        assert "  description: |-\n    Boots from the host.\n    # Ask" in text
        assert "cmdline: 'root=/dev/vda1 console=\"ttysclp0\" yes: ''no'' # quiet'" in text


TRICKY = (
    *("on", "Yes", "null", "~", "true", "12", "012", "089", "0x1f", "0o17", "1e5", "12e34"),
    *("1.5", "-3", "+7", ".5", "1_0", "12:30", "2030-01-01", "=", "<<", "- a", "a: b", "# a"),
    *(
        "a #b",
        "'",
        '"',
        "a\\n",
        " a",
        "a ",
        "a\nb",
        "\na",
        "a\n",
        "%",
        "@x",
        "`",
        "[",
        "{}",
        "!x",
        "&a",
    ),
    *("*a", "?", "|", ">", "ä", "\u2028", "x" * 200, "word " * 40),
)


def read_back(spec: dict[str, Any]) -> Any:
    """The ``spec`` that is read of a written manifest."""
    text = write_manifest({"apiVersion": "v", "kind": "k", "metadata": {}, "spec": spec})
    (document,) = read_documents("f.yaml", text.encode())
    return document.value["spec"]


class TestReadingBack:
    @pytest.mark.parametrize("text", TRICKY)
    def test_a_text_stays_a_text(self, text: str) -> None:
        """Though YAML would take it for something else if it were bare."""
        spec = {"deep": {"list": [{"short": text}], "key": text, "n": 1}, "top": text}

        assert spec == read_back(spec)

    @given(st.text(LETTERS + "\n", max_size=30))
    def test_any_text_stays_as_it_is(self, text: str) -> None:
        """In a mapping on one line, in a list, and on its own."""
        spec = {"a": {"b": text, "c": [text]}, "d": text}

        assert spec == read_back(spec)

    @given(specs())
    def test_any_manifest_reads_back_as_it_was(self, spec: dict[str, Any]) -> None:
        """Numbers, switches and lists included."""
        assert spec == read_back(spec)
