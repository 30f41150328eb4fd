"""Reading YAML with the places of everything in it.

YAML 1.2's core schema, not 1.1's: only true and false are booleans, ``on`` and ``off`` are words
as in libvirt's XML, and ``52:54:00:12:34:56`` is a text and not a number of seconds. Whoever
writes a file decides nothing but values: no tags, no duplicate keys, and aliases only as long as
the document that they span stays small.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from reconvirt.manifest.problem import Position, Problem

MOST_BYTES = 1024 * 1024
"""The largest file that is read."""

MOST_NODES = 10_000
"""How many values one document may hold, aliases written out."""

DEEPEST = 32
"""How deep values may be nested."""

Path: TypeAlias = tuple[str | int, ...]
"""Keys and list indexes that lead to a value."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "map", "seq", "null", "bool")} | {
    f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp", "merge", "value")
}
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
_INTEGER = re.compile(r"[-+]?[0-9]{1,40}")
_BASED = re.compile(r"0x[0-9a-fA-F]{1,40}|0o[0-7]{1,40}")
# What YAML calls printable, and what XML can carry besides: libyaml gives no place for others,
# and lets them in by escapes such as "\\a".
_UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?")


class DocumentError(Exception):
    """A file or document cannot be read; carries the problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document.

    Attributes:
        value: plain dicts, lists, texts, numbers, booleans and None.
        values: where each value begins.
        keys: where the key of each value of a mapping stands.
    """

    value: Any
    values: Mapping[Path, Position]
    keys: Mapping[Path, Position]

    def position(self, path: Path) -> Position:
        """Where a value stands, or the nearest that holds it."""
        while path not in self.values:
            path = path[:-1]
        return self.values[path]


def read_documents(file: str, content: bytes) -> tuple[Document, ...]:
    """The documents of a file; empty ones are left out.

    Raises:
        DocumentError: the file is not YAML, or asks for more than is allowed. Nothing of it is
            used then: where one document ends and the next begins is not sure.
    """
    text = _decode(file, content)
    loader = _Loader(text)
    documents: list[Document] = []
    try:
        _check_depth(file, text)
        while loader.check_node():
            node = loader.get_node()
            built = _Builder(file).build(node)
            if built.value is not None:
                documents.append(built)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = Position(file, mark.line + 1, mark.column + 1) if mark else Position(file, 1, 1)
        words = ", ".join(each for each in (error.context, error.problem) if each)
        raise DocumentError(Problem(position, "", f"not YAML: {words}")) from error
    except yaml.YAMLError as error:
        message = f"not YAML: {' '.join(str(error).split())}"
        raise DocumentError(Problem(Position(file, 1, 1), "", message)) from error
    finally:
        loader.dispose()
    return tuple(documents)


def read_bare(text: str) -> Any:
    """What a text without quotes means, by YAML 1.2's core schema."""
    if text.lower() in _WORDS and text in (text.lower(), text.capitalize(), text.upper()):
        return _WORDS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _decode(file: str, content: bytes) -> str:
    if len(content) > MOST_BYTES:
        message = f"larger than {MOST_BYTES // 1024} KiB"
        raise DocumentError(Problem(Position(file, 1, 1), "", message))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        position = _position_after(file, before.decode("utf-8", errors="replace"))
        message = f"not UTF-8: byte 0x{content[error.start]:02x}"
        raise DocumentError(Problem(position, "", message)) from error
    if bad := _UNPRINTABLE.search(text):
        position = _position_after(file, text[: bad.start()])
        message = f"control character U+{ord(bad.group()):04X}: a binary file?"
        raise DocumentError(Problem(position, "", message))
    return text


def _check_depth(file: str, text: str) -> None:
    # libyaml's events come one by one, but its nodes are made by a recursion in C, which a file
    # of half a million opening brackets ends with the whole process.
    depth = 0
    event: Any
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            position = _position_of(file, event)
            raise DocumentError(Problem(position, "", f"nested deeper than {DEEPEST} levels"))


def _position_of(file: str, node: Any) -> Position:
    return Position(file, node.start_mark.line + 1, node.start_mark.column + 1)


def _position_after(file: str, before: str) -> Position:
    lines = before.split("\n")
    return Position(file, len(lines), len(lines[-1]) + 1)


@dataclass(slots=True)
class _Builder:
    """Makes one document's plain value of YAML's nodes."""

    file: str
    count: int = 0
    values: dict[Path, Position] = field(default_factory=dict)
    keys: dict[Path, Position] = field(default_factory=dict)

    def build(self, node: Any) -> Document:
        value = self._build(node, ())
        return Document(value, self.values, self.keys)

    def _build(self, node: Any, path: Path) -> Any:
        # Counted as written out: an alias bomb is found after so many values, not after all.
        self.count += 1
        if self.count > MOST_NODES:
            raise self._error(node, f"more than {MOST_NODES} values in one document")
        if len(path) > DEEPEST:
            raise self._error(node, f"nested deeper than {DEEPEST} levels")
        if node.tag not in _CORE_TAGS:
            raise self._error(node, f"the tag {node.tag} is not allowed")
        self.values[path] = _position_of(self.file, node)
        if isinstance(node, yaml.MappingNode):
            return {key: self._build(value, (*path, key)) for key, value in self._pairs(node, path)}
        if isinstance(node, yaml.SequenceNode):
            return [self._build(each, (*path, index)) for index, each in enumerate(node.value)]
        return self._scalar(node)

    def _pairs(self, node: Any, path: Path) -> Iterator[tuple[str, Any]]:
        seen: dict[str, Position] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(key_node, "a key must be a text")
            key, position = self._text(key_node), _position_of(self.file, key_node)
            if key in seen:
                message = f"the key {key!r} stands here twice, first at {seen[key]}"
                raise self._error(key_node, message)
            seen[key] = self.keys[*path, key] = position
            yield key, value_node

    def _text(self, node: Any) -> str:
        text: str = node.value
        if bad := _UNPRINTABLE.search(text):
            raise self._error(node, f"the character U+{ord(bad.group()):04X} is not allowed")
        return text

    def _scalar(self, node: Any) -> Any:
        text = self._text(node)
        # Quoted and block texts are texts, whatever they look like.
        return text if node.style else read_bare(text)

    def _error(self, node: Any, message: str) -> DocumentError:
        return DocumentError(Problem(_position_of(self.file, node), "", message))
