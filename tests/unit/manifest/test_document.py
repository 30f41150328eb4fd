"""YAML with positions: what is read, and what is refused where."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconvirt.manifest.document import (
    DEEPEST,
    MOST_BYTES,
    MOST_NODES,
    DocumentError,
    read_documents,
)


def value_of(text: str) -> Any:
    """The value of a file with one document."""
    (document,) = read_documents("f.yaml", text.encode())
    return document.value


def refusal_of(content: bytes | str) -> str:
    """The one problem of a file that cannot be read."""
    data = content if isinstance(content, bytes) else content.encode()
    with pytest.raises(DocumentError) as caught:
        read_documents("f.yaml", data)
    return str(caught.value.problem)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("No", "No"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("012", 12),
        ("0x1f", 31),
        ("0o17", 15),
        ("-3", -3),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        ("52:54:00:12:34:56", "52:54:00:12:34:56"),
        ("12:30:45", "12:30:45"),
        ("2026-11-24", "2026-11-24"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("=", "="),
    ],
)
def test_words_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    """Neither libvirt's on and off nor a MAC address become something else."""
    assert {"a": value} == value_of(f"a: {text}")


def test_positions_of_values_and_keys() -> None:
    """Lines and columns count from 1."""
    (document,) = read_documents("f.yaml", b"a:\n  - b: 1\n    c: 2\n")

    assert "f.yaml:3:8" == str(document.values["a", 0, "c"])
    assert "f.yaml:3:5" == str(document.keys["a", 0, "c"])
    assert "f.yaml:3:5" != str(document.position(("a", 0, "d")))
    assert "f.yaml:2:5" == str(document.position(("a", 0, "d", "e")))


def test_several_documents_and_empty_ones() -> None:
    """Empty documents, a byte order mark and comments are nothing."""
    content = b"\xef\xbb\xbf# first\n---\na: 1\n---\n# nothing\n---\nb: 2\n...\n"

    assert [{"a": 1}, {"b": 2}] == [each.value for each in read_documents("f", content)]
    assert () == read_documents("f", b"")
    assert () == read_documents("f", b"# only a comment\n")


def test_anchors_and_aliases_work_in_small() -> None:
    """They are plain YAML."""
    assert {"a": [1], "b": [1]} == value_of("a: &x [1]\nb: *x\n")


@pytest.mark.parametrize(
    ("content", "place", "words"),
    [
        ("a: [1\nb: 2\n", "f.yaml:2:", "not YAML"),
        ("a: 1\n\tb: 2\n", "f.yaml:2:1", "not YAML"),
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1", "the key 'a' stands here twice, first at f.yaml:1:1"),
        ("a: !!python/object:os.system x\n", "f.yaml:1:4", "the tag"),
        ("a: !secret x\n", "f.yaml:1:4", "the tag !secret is not allowed"),
        ("? [1]\n: 2\n", "f.yaml:1:3", "a key must be a text"),
        ("a: *nobody\n", "f.yaml:1:4", "not YAML"),
        (b"a: caf\xe9\n", "f.yaml:1:7", "not UTF-8: byte 0xe9"),
        (b"one: 1\ntwo: \x00\n", "f.yaml:2:6", "U+0000"),
        (b"\x7fELF\x02\x01\x01\x00", "f.yaml:1:1", "a binary file?"),
        ('a: "bell \\a"\n', "f.yaml:1:4", "U+0007"),
        ('a: "half \\ud800"\n', "f.yaml:1:12", "not YAML"),
        ('a: "not \\uffff"\n', "f.yaml:1:4", "U+FFFF"),
        ('"\\a": 1\n', "f.yaml:1:1", "U+0007"),
        ("x" * (MOST_BYTES + 1), "f.yaml:1:1", "larger than 1024 KiB"),
        ("[" * (DEEPEST + 2) + "]" * (DEEPEST + 2), "f.yaml:1:", "nested deeper than"),
        ("\n".join(f"- {n}" for n in range(MOST_NODES)), "f.yaml:1", "more than 10000 values"),
    ],
)
def test_what_is_refused_is_told_with_its_place(
    content: bytes | str, place: str, words: str
) -> None:
    """Whatever the file holds, the error names the place and what is wrong."""
    problem = refusal_of(content)

    assert problem.startswith(place)
    assert words in problem


def test_half_a_million_brackets_end_no_process() -> None:
    """libyaml may notice them itself, before they are counted here."""
    problem = refusal_of("[" * 500_000)

    assert problem.startswith("f.yaml:1:")
    assert re.search("nested deeper than|exceeded maximum nesting depth", problem)


def test_an_alias_bomb_is_found_early() -> None:
    """Nine lines that would be a thousand million values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    assert "more than 10000 values" in refusal_of("\n".join(lines))


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "&a {b: *a}\n", "&a [&b [*a, *b]]\n"])
def test_an_anchor_that_contains_itself_is_refused(text: str) -> None:
    """It has no end."""
    assert "nested deeper" in refusal_of(text)


def is_read_or_refused(content: bytes) -> bool:
    """Whether reading ends in documents or in a problem with words; anything else is raised."""
    try:
        read_documents("f.yaml", content)
    except DocumentError as error:
        return bool(error.problem.message)
    return True


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    """Nothing else is raised, ever."""
    assert is_read_or_refused(content)


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@`,?\n \t~0.1e\\x", max_size=60))
def test_any_pieces_of_yaml_are_read_or_refused(content: str) -> None:
    """Nor with what YAML is made of."""
    assert is_read_or_refused(content.encode())
