"""From files to a snapshot: every good document is taken, every bad one told.

Bad input changes nothing: what a bad file or document stated before stays in force.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any

from reconvirt.manifest.checks import check_values
from reconvirt.manifest.document import Document, DocumentError, read_documents
from reconvirt.manifest.host import HostManifest, read_host
from reconvirt.manifest.identity import normalise_uuid
from reconvirt.manifest.inventory import assemble_hosts, still_meant, unknown_hosts
from reconvirt.manifest.model import FileResult, Manifest, Snapshot, SourceFile
from reconvirt.manifest.problem import Position, Problem
from reconvirt.manifest.validate import check_schema, field_name, is_host


def load_file(file: SourceFile) -> FileResult:
    """What a file says; never raises."""
    if file.content is None:
        return FileResult(file.path, (), (Problem(Position(file.path, 1, 1), "", file.problem),))
    try:
        return _load(file.path, file.content)
    except DocumentError as error:
        return FileResult(file.path, (), (error.problem,))
    except Exception as error:  # noqa: BLE001 - one file must not keep all others from being read
        words = f"unexpected error, please report it: {error!r}"
        return FileResult(file.path, (), (Problem(Position(file.path, 1, 1), "", words),))


def _load(path: str, content: bytes) -> FileResult:
    """What a file says.

    Raises:
        DocumentError: it is no YAML.
    """
    documents = read_documents(path, content)
    manifests: list[Manifest] = []
    problems: list[Problem] = []
    hosts: list[HostManifest] = []
    for document in documents:
        if is_host(document):
            wrong = list(check_schema(document))
            if not wrong:
                hosts.append(read_host(document.value, document.position(())))
        else:
            wrong = list(check_schema(document)) or list(check_values(document))
            if not wrong:
                manifests.append(_manifest(document))
        problems.extend(wrong)
    return FileResult(path, tuple(manifests), tuple(problems), tuple(hosts))


def _manifest(document: Document) -> Manifest:
    value: dict[str, Any] = document.value
    metadata = value["metadata"]
    text = json.dumps([metadata, value["spec"]], sort_keys=True, separators=(",", ":"))
    return Manifest(
        metadata["name"],
        normalise_uuid(metadata["uuid"]) if "uuid" in metadata else None,
        metadata.get("labels", {}),
        value["spec"],
        document.position(()),
        hashlib.sha256(text.encode()).hexdigest(),
        {field_name(path): position for path, position in document.values.items()},
        metadata.get("annotations", {}),
    )


class Loader:
    """Loads files, and remembers what those said that have not changed since."""

    def __init__(self) -> None:
        self._results: dict[tuple[str, bytes], FileResult] = {}

    def load(self, files: Iterable[SourceFile]) -> tuple[FileResult, ...]:
        """What the files say."""
        known, self._results = self._results, {}
        results: list[FileResult] = []
        for file in files:
            if file.content is None:
                results.append(load_file(file))
                continue
            key = (file.path, hashlib.sha256(file.content).digest())
            result = self._results[key] = known.get(key) or load_file(file)
            results.append(result)
        return tuple(results)


def revision_of(files: Iterable[SourceFile]) -> str:
    """SHA-256 over the names and contents of all files, whatever their order."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda each: each.path):
        content = file.content if file.content is not None else file.problem.encode()
        for part in (file.path.encode("utf-8", "surrogateescape"), content):
            digest.update(len(part).to_bytes(8))
            digest.update(part)
    return digest.hexdigest()


def assemble(
    results: Iterable[FileResult], revision: str, previous: Snapshot | None = None
) -> Snapshot:
    """The manifests in force.

    Two of one name, or of one uuid, hold each other up: neither is in force, and each is told
    where the other stands. What was in force before stays so where its file has a problem now,
    or its name is held up.

    Args:
        results: what the files say.
        revision: of the files.
        previous: the snapshot before this one.
    """
    results = tuple(results)
    problems = [problem for result in results for problem in result.problems]
    broken = {result.path for result in results if result.problems}
    everything = [manifest for result in results for manifest in result.manifests]
    clashes = _clashes(everything, "metadata.name", lambda each: each.name)
    clashes |= _clashes(everything, "metadata.uuid", lambda each: each.uuid)
    hosts = assemble_hosts(results, broken, previous)
    problems.extend(hosts.problems)
    clashes |= unknown_hosts(everything, hosts.hosts)
    problems.extend(clashes.values())
    manifests = {each.name: each for each in everything if each.position not in clashes}
    held = {each.name for each in everything if each.position in clashes}
    before = previous.manifests if previous else {}
    retained = {
        name: manifest
        for name, manifest in before.items()
        if name not in manifests and (name in held or manifest.position.file in broken)
    }
    manifests |= retained
    return Snapshot(
        dict(sorted(manifests.items())),
        tuple(sorted(problems, key=lambda each: (each.position, each.field))),
        revision,
        frozenset(retained),
        {**hosts.hosts, **still_meant(retained.values(), hosts.hosts, previous)},
    )


def _clashes(
    manifests: list[Manifest], field: str, value_of: Callable[[Manifest], str | None]
) -> dict[Position, Problem]:
    """The manifests that state what another one states, and the problem at each."""
    places: dict[str, list[Manifest]] = {}
    for manifest in manifests:
        if (value := value_of(manifest)) is not None:
            places.setdefault(value, []).append(manifest)
    clashes: dict[Position, Problem] = {}
    for value, same in places.items():
        for manifest in same if len(same) > 1 else ():
            others = ", ".join(str(each.position) for each in same if each is not manifest)
            message = f"{value!r} stands also at {others}: none of them is in force"
            clashes[manifest.position] = Problem(
                manifest.position, field, message, "each only once"
            )
    return clashes
