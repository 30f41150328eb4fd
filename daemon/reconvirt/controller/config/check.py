"""Checking a table of settings against the dataclass that describes it."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from reconvirt.controller.config.settings import Setting, settings_of, show_number


class Wrong(ValueError):
    """A value cannot be taken; the text says why, without the place."""


def check_table(
    kind: type, table: Mapping[str, Any], problems: list[str], prefix: str = ""
) -> dict[str, Any]:
    """The values of a table in the types of the dataclass; sections are tables still.

    Args:
        kind: the dataclass.
        table: the table, as it was read.
        problems: gets what is wrong, each beginning with the dotted key.
        prefix: the dotted key of the table, with a dot at its end.
    """
    known = settings_of(kind)
    values: dict[str, Any] = {}
    for name, value in table.items():
        key = f"{prefix}{name}"
        if name not in known:
            problems.append(f"{key}: {_unknown(name, known)}")
        elif not known[name].is_section:
            try:
                values[name] = _checked(known[name], value)
            except Wrong as wrong:
                problems.append(f"{key}: {wrong}")
        elif isinstance(value, Mapping):
            values[name] = check_table(known[name].type, value, problems, f"{key}.")
        else:
            problems.append(f"{key}: {value!r} is not a section; write [{key}]")
    return values


def build(kind: type, values: Mapping[str, Any], problems: list[str], prefix: str = "") -> Any:
    """The dataclass of checked values, or None if something is wrong with them together.

    A section whose dataclass has a method ``objections`` is asked what does not fit together; it
    yields pairs of a key within the section and the reason.
    """
    before = len(problems)
    built: dict[str, Any] = {}
    for name, each in settings_of(kind).items():
        key = f"{prefix}{name}"
        if name in values:
            value = values[name]
            built[name] = build(each.type, value, problems, f"{key}.") if each.is_section else value
        elif each.default is MISSING:
            problems.append(f"{key}: it must be stated")
    if len(problems) > before:
        return None
    made = kind(**built)
    objections: Iterator[tuple[str, str]] = getattr(made, "objections", lambda: iter(()))()
    problems.extend(f"{prefix}{name}: {reason}" for name, reason in objections)
    return made


def _unknown(name: str, known: Mapping[str, Setting]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"there is no such setting{hint}; allowed: {', '.join(known)}"


def _checked(each: Setting, value: Any) -> Any:
    if each.item is None:
        return _checked_one(each, each.type, value)
    if not isinstance(value, list):
        raise Wrong(f"{value!r} is not a list")
    return tuple(_checked_one(each, each.item, item) for item in value)


def _checked_one(each: Setting, kind: Any, value: Any) -> Any:
    if each.choices:
        if value not in each.choices:
            raise Wrong(f"{value!r} is none of {', '.join(each.choices)}")
        return value
    if each.meaning.parse is not None:
        return _parsed(each, value)
    if kind is bool:
        if not isinstance(value, bool):
            raise Wrong(f"{value!r} is neither true nor false")
        return value
    return _number(each, kind, value) if kind in (int, float) else _text(each, kind, value)


def _number(each: Setting, kind: Any, value: Any) -> Any:
    meaning = each.meaning
    right = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    if not right or not math.isfinite(value):
        wanted = "a whole number" if kind is int else meaning.unit or "a number"
        raise Wrong(f"{value!r} is not {wanted}")
    if meaning.least is not None and value < meaning.least:
        raise Wrong(f"{value} is less than {show_number(meaning.least)}")
    if meaning.most is not None and value > meaning.most:
        raise Wrong(f"{value} is more than {show_number(meaning.most)}")
    return value


def _text(each: Setting, kind: Any, value: Any) -> Any:
    if not isinstance(value, str) or not value or "\0" in value:
        raise Wrong(f"{value!r} is not a text")
    if each.meaning.pattern and not re.fullmatch(each.meaning.pattern, value):
        such = f"; such as {', '.join(each.meaning.examples)}" if each.meaning.examples else ""
        raise Wrong(f"{value!r} does not fit{such}")
    return Path(value) if kind is Path else value


def _parsed(each: Setting, value: Any) -> Any:
    such = f"; such as {', '.join(each.meaning.examples)}"
    parse = each.meaning.parse
    if not isinstance(value, str) or parse is None:
        raise Wrong(f"{value!r} is not a text{such}")
    try:
        return parse(value)
    except ValueError as error:
        raise Wrong(f"{value!r} does not fit: {error}{such}") from error
