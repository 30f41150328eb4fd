"""Frozen dataclasses as JSON, and the JSON Schema of that: both from the same fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from inspect import cleandoc
from types import NoneType, UnionType
from typing import Any, NewType, Union, get_args, get_origin, get_type_hints

Timestamp = NewType("Timestamp", str)
"""A moment as RFC 3339 writes it, in UTC."""

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


def moment(seconds: float) -> Timestamp:
    """A moment.

    Args:
        seconds: since the epoch.
    """
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return Timestamp(text.replace("+00:00", "Z"))


def as_json(value: Any) -> Any:
    """A value of dataclasses, tuples and mappings as plain JSON."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: as_json(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): as_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    return value


def schema_of(  # noqa: PLR0911 - one return a kind of type
    kind: Any, components: dict[str, Any]
) -> dict[str, Any]:
    """The JSON Schema of a type.

    Args:
        kind: a type that ``as_json`` knows.
        components: where the schemas of dataclasses are put, by name; they are referred to.

    Raises:
        TypeError: there is no schema for it.
    """
    if isinstance(kind, type) and is_dataclass(kind):
        _add(kind, components)
        return {"$ref": f"#/components/schemas/{kind.__name__}"}
    if kind is Timestamp:
        return {"type": "string", "format": "date-time"}
    if kind in (Any, object):
        return {}
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return {"type": "string", "enum": [str(each) for each in kind]}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _one_of([schema_of(each, components) for each in inside])
    if origin is tuple:
        return {"type": "array", "items": schema_of(inside[0], components)}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": schema_of(inside[1], components)}
    raise TypeError(f"{kind}: no JSON Schema is known for it")


def _one_of(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    if all(each.keys() == {"type"} for each in schemas):
        return {"type": [each["type"] for each in schemas]}
    return {"anyOf": schemas}


def _add(kind: type, components: dict[str, Any]) -> None:
    if kind.__name__ in components:
        return
    schema = components[kind.__name__] = {}
    summary, described = _read_docstring(kind.__doc__ or "")
    hints = get_type_hints(kind)
    properties, required = {}, []
    for each in fields(kind):
        inner = schema_of(hints[each.name], components)
        text = described.get(each.name)
        properties[each.name] = {**inner, "description": text} if text else inner
        if each.default is MISSING and each.default_factory is MISSING:
            required.append(each.name)
    schema.update(type="object", description=summary, properties=properties, required=required)


def _read_docstring(text: str) -> tuple[str, Mapping[str, str]]:
    """The summary of a docstring, and what it says of each attribute."""
    summary, _, attributes = cleandoc(text).partition("\nAttributes:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE)
    return " ".join(summary.split()), {name: " ".join(words.split()) for name, words in found}
