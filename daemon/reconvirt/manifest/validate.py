"""Checking a document against the JSON Schema, with errors that people can act on."""

from __future__ import annotations

import difflib
import functools
import importlib.resources
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import jsonschema

from reconvirt.manifest.document import Document, Path
from reconvirt.manifest.host import host_schema
from reconvirt.manifest.problem import Problem

Error: TypeAlias = Any
"""A jsonschema.ValidationError; its attributes are typed as if each might be unset."""

_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}
_LONGEST_QUOTE = 60


@functools.cache
def load_schema() -> Mapping[str, Any]:
    """The JSON Schema of manifests (``schemas/reconvirt-v1.schema.json``)."""
    file = importlib.resources.files("reconvirt.schemas") / "reconvirt-v1.schema.json"
    schema: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return schema


def _check_pattern(_: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[Error]:
    """JSON Schema's ``$`` is the very end; Python's also stands before a last line break."""
    if isinstance(instance, str) and not re.fullmatch(pattern, instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


@functools.cache
def _validator(*, of_host: bool) -> Any:
    # JSON Schema takes 4.0 for an integer; a number of vCPUs is not written so.
    whole = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    extend: Any = jsonschema.validators.extend  # which is not typed
    checks = {"pattern": _check_pattern}
    strict = extend(jsonschema.Draft202012Validator, checks, type_checker=whole)
    return strict(host_schema() if of_host else load_schema())


def check_schema(document: Document) -> Iterator[Problem]:
    """What the schema does not allow."""
    for error in sorted(
        _validator(of_host=is_host(document)).iter_errors(document.value),
        key=lambda each: list(map(str, each.absolute_path)),
    ):
        yield from _explain(error, document)


def is_host(document: Document) -> bool:
    """Whether a document is about a host, not a virtual server."""
    return isinstance(document.value, dict) and document.value.get("kind") == "Host"


def field_name(path: Path) -> str:
    """A path as people write it: ``spec.devices.disks[0].target.dev``."""
    name = ""
    for key in path:
        name += f"[{key}]" if isinstance(key, int) else f".{key}" if name else key
    return name


def _explain(error: Error, document: Document) -> Iterator[Problem]:
    path, schema = tuple(error.absolute_path), error.schema
    if error.validator in ("oneOf", "anyOf"):
        yield from _explain_choice(error, document)
        return
    if error.validator == "additionalProperties":
        yield from _explain_unknown(error, document)
        return
    message, allowed = _words(error, schema if isinstance(schema, Mapping) else {})
    yield Problem(document.position(path), field_name(path), message, allowed)


def _explain_choice(error: Error, document: Document) -> Iterator[Problem]:
    """The errors of the branch whose type was meant."""
    branches: dict[Any, list[Error]] = {}
    for each in error.context or ():
        branches.setdefault(each.schema_path[0], []).append(each)
    meant = [
        errors
        for errors in branches.values()
        if not any(each.validator == "type" and not each.path for each in errors)
    ]
    if meant:
        for each in meant[0]:
            yield from _explain(each, document)
        return
    path = tuple(error.absolute_path)
    kinds = [_TYPES[each["type"]] for each in error.validator_value if "type" in each]
    message = f"expected {' or '.join(kinds)}, found {_quote(error.instance)}"
    yield Problem(document.position(path), field_name(path), message)


def _explain_unknown(error: Error, document: Document) -> Iterator[Problem]:
    path, known = tuple(error.absolute_path), list(error.schema.get("properties", ()))
    for key in error.instance:
        if key in known:
            continue
        near = difflib.get_close_matches(key, known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        position = document.keys.get((*path, key), document.position(path))
        message = f"there is no such key{hint}"
        yield Problem(position, field_name((*path, key)), message, ", ".join(known))


def _words(  # noqa: PLR0911 - one return a rule of JSON Schema
    error: Error, schema: Mapping[str, Any]
) -> tuple[str, str]:
    """What is wrong, and what is allowed."""
    found = _quote(error.instance)
    match error.validator:
        case "type":
            return f"expected {_TYPES[error.validator_value]}, found {found}", _examples(schema)
        case "required":
            missing = [key for key in error.validator_value if key not in error.instance]
            return f"{', '.join(missing)} must be stated", ""
        case "enum":
            return f"{found} is not known", ", ".join(map(str, error.validator_value))
        case "const":
            return f"{found} is not known", str(error.validator_value)
        case "minimum" | "maximum":
            least, most = schema.get("minimum"), schema.get("maximum")
            return f"{found} is out of range", f"{least} to {most}" if most else f"{least} or more"
        case "minLength" | "minItems":
            return "it is empty", ""
        case "maxLength":
            return f"longer than {error.validator_value} characters", ""
        case "pattern":
            return f"{found} does not fit", _examples(schema) or str(schema.get("description", ""))
    return error.message, ""


def _examples(schema: Mapping[str, Any]) -> str:
    examples = schema.get("examples")
    return f"such as {', '.join(map(str, examples))}" if examples else ""


def _quote(value: Any) -> str:
    """A value as people know it, in a few characters."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
