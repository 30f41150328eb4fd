"""The reference of manifests for people, printed from the table.

``docs/manifest.md`` is this module's output; a test holds that they agree.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from reconvirt.domain.devices import DEVICES
from reconvirt.domain.fields import FIELDS
from reconvirt.domain.kinds.common import ADDRESS_ROWS
from reconvirt.domain.policy import NO_POLICY, policy_schema
from reconvirt.domain.rows import Field
from reconvirt.domain.values import Schema

_HEAD = """# Manifests

A manifest is a YAML document (YAML 1.2, UTF-8): one virtual server, whose keys below `spec` carry
the names of libvirt's elements. A file (`*.yaml`, `*.yml`, also in subfolders) may hold several
documents. For completion in an editor begin a file with the line

```yaml
# yaml-language-server: $schema=/usr/share/reconvirt/schemas/reconvirt-v1.schema.json
```

which names the package's schema; `reconvirt schema > FILE` writes it elsewhere.

| key | meaning |
|---|---|
| `apiVersion` | always `reconvirt/v1` |
| `kind` | always `VirtualServer` |
| `metadata.name` | the virtual server's name in libvirt, unique over all manifests |
| `metadata.uuid` | its uuid; derived from the name if not stated. Stating the uuid of an existing \
virtual server takes that one over |
| `metadata.labels` | words of your own to sort virtual servers by |
| `metadata.annotations` | notes; `reconvirt/hold`, with the reason, has the virtual server left \
alone |
| `spec.state` | `running` (the default), `paused`, `saved` – its system image is saved and it is \
ended –, `shutoff` – the guest is asked to shut down –, or `any`: it is left in the state it is in |
| `spec.autostart` | whether libvirt itself starts it with the host |
| `spec.priority` | of those that are to be started, the ones with the highest number go first |
| `spec.dependsOn` | the virtual servers that must run before this one is started, here or on \
[other hosts](migration.md); one without a manifest must be on the same host |
| `spec.host` | the host that it shall be on, see [migration](migration.md) |
| `spec.hosts` | where it may go when that host is evacuated, the best first |
| `spec.policy` | what may be done, see below |
| `spec.xml` | anything else, see below |

The last column tells when a change takes effect on a virtual server that runs; the configuration,
which every start uses, is changed at once in every case. **Bold** keys must be stated.

## `spec`
"""

_SHORT = """
`vcpu: 2` is short for `vcpu: {maximum: 2}`, and `memory: 4 GiB` for `memory: {size: 4 GiB}`.
"""

_POLICY = """
## `spec.policy`

What may be done, where several things are reasonable. The defaults are those of the program; the
[host's configuration](configuration.md#policy) may state others.

| key | values | default | meaning |
|---|---|---|---|"""


def _policy_rows(schema: Schema, defaults: object, prefix: str = "") -> Iterator[str]:
    for name, each in schema["properties"].items():
        if "properties" in each:
            yield from _policy_rows(each, getattr(defaults, name), f"{prefix}{name}.")
        else:
            # The disks that are copied are no matter of a host, and stand outside its options.
            default = json.dumps(getattr(defaults, name, ()))
            shown = default.strip('"')
            cells = (f"`{prefix}{name}`", _values_of(each), f"`{shown}`", each["description"])
            yield f"| {' | '.join(cells)} |"


_ADDRESSES = """
## Addresses

Below a device's `address`, as the guest sees it.
"""

_XML = """
## `spec.xml`

Whatever else libvirt's domain XML has, as a `<domain>`:

```yaml
spec:
  xml: |
    <domain>
      <memoryBacking><source type="memfd"/><access mode="shared"/></memoryBacking>
      <devices>
        <sound model="ich9"/>
      </devices>
    </domain>
```

It is taken apart into pieces – the children of `<domain>`, and single devices –, each of which is
merged into the configuration, compared and owned like a key. Devices are told apart as in the
lists above; a piece may also add to a device that a list states. libvirt's schema checks the
result before it is stored. A piece takes effect at the next start, unless it is a device that can
be hotplugged (`shmem`, `redirdev`, `vsock`, `memory`, `filesystem`, `lease`, and those of the
lists). `name`, `uuid` and `metadata` cannot be stated so. Elements of QEMU's namespace
(`qemu:commandline` and its kin) hand arguments through that can do anything on the host; they are
refused unless the host's configuration says `allow_passthrough = true`.
"""


def manifest_reference() -> str:
    """All keys of a manifest and when a change of each takes effect, in Markdown."""
    parts = [_HEAD, *_rows(FIELDS), _SHORT]
    for kind in DEVICES:
        shape = "A mapping" if kind.single else "A list"
        parts.append(f"\n## `spec.{kind.path}`\n\n{shape}. {kind.description}\n")
        own = tuple(row for row in kind.fields if row not in ADDRESS_ROWS)
        parts.extend(_rows(own))
        if len(own) < len(kind.fields):
            parts.append("\nand [`address`](#addresses).")
    parts.append(_POLICY)
    parts.extend(_policy_rows(policy_schema(), NO_POLICY))
    parts.append(_ADDRESSES)
    parts.extend(_rows(ADDRESS_ROWS))
    parts.append(_XML.rstrip("\n"))
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
    return _values_of(row.kind.schema)


def _values_of(schema: Schema) -> str:
    if schema.get("type") == "array":
        return f"a list of: {_words(schema['items'])}"
    return _words(schema)


def _words(schema: Schema) -> str:
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
