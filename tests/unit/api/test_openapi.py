"""The description of the interface is the one in the repository, and every answer keeps to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest

from reconvirt.api.endpoints import ENDPOINTS
from reconvirt.api.openapi import openapi_document
from reconvirt.api.wire import as_json, moment, schema_of

ROOT = Path(__file__).parents[3]


def test_the_description_is_the_one_in_the_repository() -> None:
    """'reconvirt schema -o openapi > schemas/reconvirt-api-v1.openapi.json' renews it."""
    stored = json.loads((ROOT / "schemas/reconvirt-api-v1.openapi.json").read_text())

    assert openapi_document() == stored


def test_every_endpoint_is_described_once() -> None:
    """By path, method and a name of its own."""
    paths = openapi_document()["paths"]
    names = [each["operationId"] for path in paths.values() for each in path.values()]

    assert len(ENDPOINTS) == len(names) == len(set(names))


def test_every_schema_is_one_and_every_field_has_words() -> None:
    """What it refers to is there."""
    components = openapi_document()["components"]

    for name, schema in components["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["description"], name


@dataclass(frozen=True, slots=True)
class Odd:
    """A class with a field of a type that JSON has no word for."""

    field: bytes


def test_a_type_without_a_schema_is_told() -> None:
    """When the table is printed, and not when somebody is answered."""
    with pytest.raises(TypeError, match="no JSON Schema"):
        schema_of(Odd, {})


def test_moments() -> None:
    assert "1970-01-01T00:00:01.500Z" == moment(1.5)


def test_tuples_and_mappings_become_plain() -> None:
    assert {"1": [2, None]} == as_json({1: (2, None)})
