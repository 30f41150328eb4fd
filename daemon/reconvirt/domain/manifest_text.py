"""Writing manifests: YAML that people would have written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from reconvirt.domain.values import Hexadecimal
from reconvirt.manifest.document import read_bare

_WIDTH = 96
_LONGEST_LINE = 60
_PARTS = (("apiVersion", "kind"), ("metadata",), ("spec",))


class _Dumper(yaml.SafeDumper):
    """Lists are indented, texts of several lines stand as blocks, device numbers in hex."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    if not isinstance(read_bare(value), str):
        style = "'"  # PyYAML knows YAML 1.1's numbers only: 089 and 1e5 are none there
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _hexadecimal(dumper: yaml.SafeDumper, value: Hexadecimal) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:int", f"0x{int(value):0{value.digits}x}")


class _Line(dict[str, Any]):
    """A small mapping that stands on one line, as in ``target: {dev: vda, bus: virtio}``."""


def _line(dumper: yaml.SafeDumper, value: _Line) -> yaml.MappingNode:
    return dumper.represent_mapping("tag:yaml.org,2002:map", value, flow_style=True)


def _fold(value: Any, depth: int = 0) -> Any:
    """The same with small mappings marked as such, from the second level on."""
    if isinstance(value, list):
        return [_fold(each, depth + 1) for each in value]
    if not isinstance(value, dict):
        return value
    small = depth > 0 and all(
        not isinstance(each, dict | list) and "\n" not in str(each) for each in value.values()
    )
    length = sum(len(f"{key}: {each}, ") for key, each in value.items())
    if small and length < _LONGEST_LINE:
        return _Line(value)
    return {key: _fold(each, depth + 1) for key, each in value.items()}


_Dumper.add_representer(str, _text)
_Dumper.add_representer(Hexadecimal, _hexadecimal)
_Dumper.add_representer(_Line, _line)


def write_manifest(manifest: Mapping[str, Any], comments: Iterable[str] = ()) -> str:
    """A manifest as a YAML document, with comments at its head."""
    head = [f"# {line}".rstrip() for comment in comments for line in comment.splitlines()]
    parts = [{key: manifest[key] for key in keys} for keys in _PARTS]
    return "".join([*(f"{line}\n" for line in head), *(_dump(_fold(part)) for part in parts)])


def _dump(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return text
