"""The reference of manifests for people, printed from the table.

``docs/manifest.md`` is this module's output; a test holds that they agree.
"""

from __future__ import annotations

from collections.abc import Iterator

from reconvirt.domain.devices import DEVICES
from reconvirt.domain.fields import FIELDS
from reconvirt.domain.rows import Field

_HEAD = """# Manifests

A manifest is a YAML document (YAML 1.2, UTF-8): one virtual server, whose keys below `spec` carry
the names of libvirt's elements. A file (`*.yaml`, `*.yml`, also in subfolders) may hold several
documents. For completion in an editor begin a file with

```yaml
# yaml-language-server: $schema=../schemas/reconvirt-v1.schema.json
```

| key | meaning |
|---|---|
| `apiVersion` | always `reconvirt/v1` |
| `kind` | always `VirtualServer` |
| `metadata.name` | the virtual server's name in libvirt, unique over all manifests |
| `metadata.uuid` | its uuid; derived from the name if not stated. Stating the uuid of an existing \
virtual server takes that one over |
| `metadata.labels` | words of your own to sort virtual servers by |
| `spec.state` | `running` (the default) or `shutoff`; to shut off, the guest is asked |

The last column tells when a change takes effect on a virtual server that runs; the configuration,
which every start uses, is changed at once in every case. **Bold** keys must be stated.

## `spec`
"""

_VCPU = "\n`vcpu: 2` is short for `vcpu: {maximum: 2}`.\n"


def manifest_reference() -> str:
    """All keys of a manifest and when a change of each takes effect, in Markdown."""
    parts = [_HEAD, *_rows(FIELDS), _VCPU]
    for kind in DEVICES:
        parts.append(f"\n## `spec.devices.{kind.name}`\n\n{kind.description}\n")
        parts.extend(_rows(kind.fields))
    return "\n".join(parts)


def _rows(fields: tuple[Field, ...]) -> Iterator[str]:
    yield "| key | values | meaning | a change takes effect |"
    yield "|---|---|---|---|"
    for row in fields:
        key = f"**`{row.name}`**" if row.required else f"`{row.name}`"
        effect = f"{row.effects.effect}: {row.effects.summary}"
        cells = (key, _values(row), row.description, effect)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _values(row: Field) -> str:
    schema = row.kind.schema
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    if schema["type"] == "boolean":
        return "`true`, `false`"
    if schema["type"] == "integer":
        most = schema.get("maximum")
        return f"{schema['minimum']} to {most}" if most else f"{schema['minimum']} or more"
    if "examples" in schema:
        return "such as " + ", ".join(f"`{each}`" for each in schema["examples"])
    return str(schema.get("description", "a text"))
