"""What holds for merging any piece of XML into any other."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from reconvirt.domain.fragment import canonical, contains, merge, split_fragment, withdraw
from reconvirt.domain.xmltree import parse_xml

TAGS = ("a", "source", "feature", "vcpupin", "arg", "boot", "{urn:q}arg")
NAMES = ("x", "name", "vcpu", "type", "unit")
VALUES = ("1", "0x1", "2", "KiB", "GiB", "text", "TEXT", "0-2", "a&b<c>'\"")
Shape = tuple[str, dict[str, str], str, list[Any]]


def shapes(tags: tuple[str, ...], names: tuple[str, ...]) -> st.SearchStrategy[Shape]:
    """Elements with these tags and attributes; with a text or children, not both."""
    attributes = st.dictionaries(st.sampled_from(names), st.sampled_from(VALUES), max_size=3)

    def node(children: st.SearchStrategy[list[Any]]) -> st.SearchStrategy[Shape]:
        return st.tuples(st.sampled_from(tags), attributes, st.just(""), children)

    leaf = st.tuples(st.sampled_from(tags), attributes, st.sampled_from(["", *VALUES]), st.just([]))
    return st.recursive(leaf, lambda inner: node(st.lists(inner, max_size=3)), max_leaves=6)


def element(shape: Shape) -> etree._Element:
    """The element of a shape."""
    tag, attributes, text, children = shape
    made = etree.Element(tag, attributes)
    made.text = text or None
    made.extend([element(each) for each in children])
    return made


def in_any_order(found: etree._Element) -> str:
    """An element in canonical form, its children sorted by their tags."""
    for parent in list(found.iter())[::-1]:
        parent[:] = sorted(parent, key=lambda each: str(each.tag))
    return canonical(found)


def rooted(*shapes_: st.SearchStrategy[Shape]) -> st.SearchStrategy[list[Shape]]:
    """Shapes whose outermost elements have one tag."""
    return st.tuples(*shapes_).map(lambda each: [("root", *shape[1:]) for shape in each])


ANY = shapes(TAGS, NAMES)
OURS, THEIRS = shapes(("a", "b"), ("x", "y")), shapes(("c", "d"), ("z",))


@given(ANY)
def test_everything_contains_itself(shape: Shape) -> None:
    """However it is built."""
    assert contains(element(shape), element(shape))


@given(rooted(ANY, ANY))
def test_what_was_merged_is_contained(both: list[Shape]) -> None:
    """Merging makes good all that was different."""
    found, wanted = map(element, both)

    merge(found, wanted)

    assert contains(found, wanted)


@given(rooted(ANY, ANY))
def test_merging_again_changes_nothing(both: list[Shape]) -> None:
    """A second run writes the same."""
    found, wanted = map(element, both)
    merge(found, wanted)
    once = in_any_order(found)

    merge(found, wanted)

    assert once == in_any_order(found)


@given(rooted(ANY, ANY))
def test_merging_leaves_the_piece_as_it_was(both: list[Shape]) -> None:
    """What is wanted may be merged into many."""
    found, wanted = map(element, both)
    before = canonical(wanted)

    merge(found, wanted)

    assert before == canonical(wanted)


@given(rooted(OURS, THEIRS))
def test_what_was_merged_can_be_withdrawn(both: list[Shape]) -> None:
    """What had nothing of it is as it was before."""
    ours, found = map(element, both)
    ours.text = None
    before = canonical(found)
    merge(found, ours)

    withdraw(found, ours, None)

    assert before == canonical(found)


@given(rooted(OURS, OURS, THEIRS))
def test_one_piece_takes_the_place_of_another(three: list[Shape]) -> None:
    """Whatever was applied before, the new piece is in force and the rest is untouched."""
    old, new, found = map(element, three)
    theirs = [canonical(each) for each in found]
    merge(found, old)

    withdraw(found, old, new)
    merge(found, new)

    assert contains(found, new)
    assert theirs == [canonical(each) for each in found if each.tag in ("c", "d")]


@given(st.lists(ANY, max_size=4))
def test_pieces_survive_their_canonical_form(listed: list[Shape]) -> None:
    """They are kept as text in the mark, and compared as text with the next manifest's."""
    root = etree.Element("domain")
    root.extend([element(shape) for shape in listed])
    pieces = split_fragment(etree.tostring(root, encoding="unicode"))

    assert pieces == {key: canonical(parse_xml(piece)) for key, piece in pieces.items()}
    for piece in pieces.values():
        assert list(split_fragment(f"<domain>{piece}</domain>").values()) == [piece]
