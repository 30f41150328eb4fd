"""The settings described: as JSON Schema, as the documentation's tables, and as TOML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from reconvirt.controller.config.model import Config
from reconvirt.controller.config.settings import Setting, settings_of, show_number, walk

_TYPES = {bool: "boolean", int: "integer", float: "number"}
_ABOUT_EACH = (
    "A section that is not there, or a key that is not stated, has the defaults shown. A list in "
    "a later file takes the place of the list in an earlier one."
)


def config_schema() -> Mapping[str, Any]:
    """The JSON Schema of the configuration file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:reconvirt:config:v1",
        "title": "reconvirt configuration",
        **_table_schema(Config),
    }


def config_reference() -> str:
    """The tables of the documentation, in Markdown."""
    parts = [_table(Config, "")]
    for path, each in walk(Config):
        if each.is_section:
            about = f"{each.meaning.about[0].upper()}{each.meaning.about[1:]}."
            if each.meaning.live:
                about += " All of it takes effect on reload."
            parts.append(f"### `[{path}]`\n\n{about}\n\n{_table(each.type, path)}")
    return "\n".join((*parts, f"{_ABOUT_EACH}\n"))


def config_toml(config: Config, origins: Mapping[str, Path]) -> str:
    """All settings as they are in force, with the file that states each."""
    return "\n".join(_toml(config, origins, "")).lstrip("\n") + "\n"


def show_value(each: Setting, value: Any) -> str:
    """A value as TOML writes it; "" for what is not stated."""
    if value is None or value is MISSING:
        return ""
    if each.item is not None:
        return f"[{', '.join(_scalar(each, item) for item in value)}]"
    return _scalar(each, value)


def _scalar(each: Setting, value: Any) -> str:
    if each.meaning.parse is not None:
        value = each.meaning.show(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    # TOML's basic strings are written as JSON's, but for U+007F.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _table_schema(kind: type) -> dict[str, Any]:
    known = settings_of(kind)
    schema: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _schema(each) for name, each in known.items()},
    }
    required = [name for name, each in known.items() if each.default is MISSING]
    return {**schema, "required": required} if required else schema


def _schema(each: Setting) -> dict[str, Any]:
    about = {"description": each.meaning.about}
    if each.is_section:
        return {**about, **_table_schema(each.type)}
    one = _one_schema(each, each.item or each.type)
    schema = {"type": "array", "items": one} if each.item is not None else one
    if each.default is not MISSING and each.default is not None:
        schema = {**schema, "default": _plain(each, each.default)}
    return {**about, **schema}


def _one_schema(each: Setting, kind: Any) -> dict[str, Any]:
    if each.choices:
        return {"enum": list(each.choices)}
    meaning = each.meaning
    schema: dict[str, Any] = {"type": _TYPES.get(kind, "string")}
    if meaning.parse is not None:
        schema["type"] = "string"
    elif kind in (int, float):
        bounds = {"minimum": meaning.least, "maximum": meaning.most}
        schema |= {name: bound for name, bound in bounds.items() if bound is not None}
    if schema["type"] == "string":
        schema["minLength"] = 1
    if meaning.pattern:
        schema["pattern"] = f"^(?:{meaning.pattern})$"
    if meaning.examples:
        schema["examples"] = list(meaning.examples)
    return schema


def _plain(each: Setting, value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each, item) for item in value]
    if each.meaning.parse is not None:
        return each.meaning.show(value)
    return str(value) if isinstance(value, Path) else value


def _table(kind: type, path: str) -> str:
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for name, each in settings_of(kind).items():
        if each.is_section:
            continue
        default = "must be stated" if each.default is MISSING else show_value(each, each.default)
        shown = default if each.default is MISSING else f"`{default}`" if default else ""
        rows.append(f"| `{name}` | {shown} | {_meaning(each)} |")
    return "\n".join(rows) + "\n" if len(rows) > len(("head", "line")) else f"See below {path}.\n"


def _meaning(each: Setting) -> str:
    meaning, parts = each.meaning, [each.meaning.about]
    if each.choices:
        parts.append(" or ".join(f"`{json.dumps(one)}`" for one in each.choices))
    if meaning.least is not None and meaning.most is not None:
        parts.append(f"{show_number(meaning.least)} to {show_number(meaning.most)}")
    elif meaning.least:
        parts.append(f"{show_number(meaning.least)} or more")
    if meaning.examples:
        parts.append(f"such as {', '.join(f'`{json.dumps(one)}`' for one in meaning.examples)}")
    if meaning.live:
        parts.append("takes effect on reload")
    return "; ".join(parts).replace("|", "\\|")


def _toml(value: Any, origins: Mapping[str, Path], prefix: str) -> Iterator[str]:
    known = settings_of(type(value))
    for name, each in known.items():
        found = getattr(value, name)
        if each.is_section:
            continue
        origin = origins.get(f"{prefix}{name}", "default")
        shown = show_value(each, found)
        yield f"{name} = {shown}  # {origin}" if shown else f"# {name} is not stated"
    for name, each in known.items():
        if each.is_section and (found := getattr(value, name)) is not None:
            yield f"\n[{prefix}{name}]"
            yield from _toml(found, origins, f"{prefix}{name}.")
