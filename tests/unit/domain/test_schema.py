"""What is printed from the table is what stands in the repository."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

from reconvirt.domain.reference import manifest_reference
from reconvirt.domain.schema import manifest_schema
from reconvirt.manifest.host import host_schema

ROOT = Path(__file__).parents[3]


def test_the_schema_is_the_one_in_the_repository() -> None:
    """'reconvirt schema > schemas/reconvirt-v1.schema.json' brings it up to date."""
    stored = json.loads((ROOT / "schemas/reconvirt-v1.schema.json").read_text())

    assert manifest_schema() == stored


def test_the_reference_is_the_one_in_the_repository() -> None:
    """'reconvirt schema -o markdown > docs/manifest.md' brings it up to date."""
    assert manifest_reference() == (ROOT / "docs/manifest.md").read_text()


def test_the_schema_is_one() -> None:
    """It is valid JSON Schema, draft 2020-12."""
    jsonschema.Draft202012Validator.check_schema(manifest_schema())


def test_every_key_has_words_for_an_editor() -> None:
    """Titles and descriptions stand at every key, for completion."""

    def bare(schema: dict, path: str) -> list[str]:
        found = []
        for key, value in schema.get("properties", {}).items():
            here = f"{path}.{key}"
            if "title" not in value:
                found.append(here)
            found += bare(value, here) + bare(value.get("items", {}), here)
        return found

    assert [] == bare(manifest_schema(), "")


def test_the_file_of_the_hosts_schema_is_printed_from_the_program() -> None:
    """As with that of virtual servers."""
    stored = json.loads((ROOT / "schemas/reconvirt-v1-host.schema.json").read_text())

    assert stored == host_schema()
