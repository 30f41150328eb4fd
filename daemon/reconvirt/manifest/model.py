"""x."""
from __future__ import annotations
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Manifest:
    name: str
    uuid: str | None
    labels: Mapping[str, str]
    spec: Mapping[str, Any]
    position: object
    digest: str


@dataclass(frozen=True, slots=True)
class Position:
    file: str
    line: int
    column: int
