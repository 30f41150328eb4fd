"""What a setting is: a dataclass field with its meaning, and how all of a dataclass are found."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from typing import Any

_KEY = "meaning"


class ConfigError(ValueError):
    """The configuration cannot be used; each line of the text says where and why."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What people and programs must know of a setting besides its name, type and default.

    Attributes:
        about: what it is for, as the documentation says it.
        least: the least number that is allowed, or None.
        most: the greatest number that is allowed, or None.
        unit: what a number counts, such as ``a number of seconds``.
        live: whether it takes effect on reload, without a restart of the daemon.
        parse: makes the value out of the text in the file; raises ValueError with the reason.
        show: makes the text again.
        examples: texts that ``parse`` takes.
        pattern: a regular expression for the whole of a text, or "".
    """

    about: str
    least: float | None = None
    most: float | None = None
    unit: str = ""
    live: bool = False
    parse: Callable[[str], Any] | None = None
    show: Callable[[Any], str] = str
    examples: tuple[str, ...] = ()
    pattern: str = ""


def setting(default: Any = MISSING, **meaning: Any) -> Any:
    """A field that is a setting; without a default it must be stated.

    Args:
        default: its value where no file states one.
        meaning: the attributes of :class:`Meaning`.
    """
    return field(default=default, metadata={_KEY: Meaning(**meaning)})


def section(kind: type, about: str, *, live: bool = False) -> Any:
    """A field that is a section of settings, with their defaults where no file states it.

    Args:
        kind: the dataclass of the section.
        about: what it is for, as the documentation says it.
        live: whether all of it takes effect on reload.
    """
    return field(default_factory=kind, metadata={_KEY: Meaning(about, live=live)})


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting or section of a dataclass, as the loader, schema and documentation see it.

    Attributes:
        name: its key.
        type: its type, without ``| None``.
        optional: whether None is a value: what is not stated.
        default: its value where no file states one; MISSING where one must.
        meaning: the rest.
    """

    name: str
    type: Any
    optional: bool
    default: Any
    meaning: Meaning

    @property
    def is_section(self) -> bool:
        """Whether it is a table of settings of its own."""
        return is_dataclass(self.type)

    @property
    def choices(self) -> tuple[str, ...]:
        """The texts that are allowed, if only some are."""
        return typing.get_args(self.type) if typing.get_origin(self.type) is typing.Literal else ()

    @property
    def item(self) -> Any:
        """The type of a list's elements; None for what is no list."""
        return typing.get_args(self.type)[0] if typing.get_origin(self.type) is tuple else None


def settings_of(kind: type) -> dict[str, Setting]:
    """The settings of a dataclass by name, in order."""
    hints = typing.get_type_hints(kind)
    return {each.name: _setting(each, hints[each.name]) for each in fields(kind)}


def walk(kind: type, prefix: str = "") -> Iterator[tuple[str, Setting]]:
    """All sections and settings below a dataclass, each with its dotted path."""
    for name, each in settings_of(kind).items():
        yield f"{prefix}{name}", each
        if each.is_section:
            yield from walk(each.type, f"{prefix}{name}.")


def show_number(value: float) -> str:
    """A bound as people write it: 1000000, not 1e+06."""
    return str(int(value)) if value == int(value) else f"{value:g}"


def _setting(each: Field[Any], hint: Any) -> Setting:
    parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    meant = [part for part in parts if part is not type(None)]
    default = each.default
    if each.default_factory is not MISSING:
        default = each.default_factory()
    return Setting(each.name, meant[0], len(meant) < len(parts), default, each.metadata[_KEY])
