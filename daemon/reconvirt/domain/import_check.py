"""Putting an imported manifest to the test before it is given.

It is read and planned against the very virtual server that it was read from, and must lead to no
change. What does not stand the test by a key is tried in ``spec.xml``, and left out with a comment
if that fails too: only what a manifest states is ever compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from reconvirt.domain.changes import Change
from reconvirt.domain.compare import compare
from reconvirt.domain.desired import Desired, desire
from reconvirt.domain.importer import Draft, draft_manifest
from reconvirt.domain.manifest_text import write_manifest
from reconvirt.domain.mark import read_mark
from reconvirt.domain.observed import Observed
from reconvirt.domain.plan import make_plan
from reconvirt.domain.rules import NO_RULES, object_to
from reconvirt.domain.xmltree import parse_xml
from reconvirt.manifest.load import load_file
from reconvirt.manifest.model import Manifest, SourceFile
from reconvirt.manifest.problem import Problem

_MOST_TRIES = 12


class CannotImport(Exception):
    """No manifest can be written that leads to no change; the text says why."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A manifest that stood the test.

    Attributes:
        name: the virtual server's.
        text: the manifest, YAML.
        waiting: what differs between its configuration and what runs, and waits for a restart.
    """

    name: str
    text: str
    waiting: tuple[Change, ...]


def import_domain(observed: Observed, *, addresses: bool = False) -> Imported:
    """The manifest of a virtual server that is there.

    Args:
        observed: the virtual server.
        addresses: whether also those addresses are stated that libvirt has chosen by itself.

    Raises:
        CannotImport: none can be written that leads to no change.
    """
    unfit: frozenset[str] = frozenset()
    for _ in range(_MOST_TRIES):
        draft = draft_manifest(observed, unfit, addresses=addresses)
        text = write_manifest(draft.manifest, _comments(draft))
        wrong = frozenset(_wrong(draft, text, observed))
        if not wrong:
            plan = make_plan(desire(_load(text)[0]), observed)
            return Imported(observed.name, text, plan.waiting)
        if wrong <= unfit:
            break
        unfit |= wrong
    raise CannotImport(f"it would be changed at {', '.join(sorted(wrong))}")


def _comments(draft: Draft) -> list[str]:
    head = "Written from the virtual server as it was; what libvirt fills in by itself is left out."
    return [head, *dict.fromkeys(draft.comments)]


def _load(text: str) -> tuple[Manifest, ...]:
    return load_file(SourceFile("import", text.encode())).manifests


def _wrong(draft: Draft, text: str, observed: Observed) -> Iterator[str]:
    """The paths of what does not stand the test."""
    result = load_file(SourceFile("import", text.encode()))
    if result.problems:
        for problem in result.problems:
            if problem.field.startswith("metadata."):
                raise CannotImport(f"{problem.field}: {problem.message}{_allowed(problem)}")
            yield _path_of(problem.field, draft)
        return
    desired = desire(result.manifests[0])
    for change in object_to(desired, NO_RULES):
        yield change.field.removeprefix("xml: ")
    yield from _differing(desired, observed)


def _differing(desired: Desired, observed: Observed) -> Iterator[str]:
    config = parse_xml(observed.config)
    for difference in compare(desired.statement, read_mark(config), config, live=False):
        yield difference.path


def _allowed(problem: Problem) -> str:
    return f"; allowed: {problem.allowed}" if problem.allowed else ""


_LISTED = re.compile(r"spec\.(\w+\.\w+)(?:\[(\d+)\])?")


def _path_of(field: str, draft: Draft) -> str:
    """The path of a problem's field: of the listed device that it is about, or the field's own."""
    match = _LISTED.match(field)
    if match and match[1] in draft.devices:
        return draft.devices[match[1]][int(match[2] or 0)]
    return field.removeprefix("spec.")
