"""The hosts of all manifests together, and the virtual servers that mean them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconvirt.manifest.host import HostManifest
from reconvirt.manifest.model import FileResult, Manifest, Snapshot
from reconvirt.manifest.problem import Position, Problem


@dataclass(frozen=True, slots=True)
class Inventory:
    """The hosts in force, by name, and what is wrong with others."""

    hosts: Mapping[str, HostManifest]
    problems: tuple[Problem, ...]


def assemble_hosts(
    results: Iterable[FileResult], broken: Iterable[str], previous: Snapshot | None
) -> Inventory:
    """The hosts in force.

    Two of one name, or of one URI, hold each other up: neither is taken, and what was in force
    before stays so, as it does where a file has a problem now.

    Args:
        results: what the files say.
        broken: the files with problems.
        previous: the snapshot before.
    """
    everything = [host for result in results for host in result.hosts]
    problems: dict[Position, Problem] = {}
    for field, text in (("metadata.name", "name"), ("spec.uri", "uri")):
        for host in everything:
            value = getattr(host, text)
            others = [each for each in everything if getattr(each, text) == value]
            if len(others) > 1:
                places = ", ".join(str(each.position) for each in others if each is not host)
                message = f"{value!r} stands also at {places}: none of them is in force"
                problems[host.position] = Problem(host.position, field, message, "each only once")
    hosts = {each.name: each for each in everything if each.position not in problems}
    held = {each.name for each in everything if each.position in problems}
    unsure = set(broken)
    for name, host in (previous.hosts if previous else {}).items():
        if name not in hosts and (name in held or host.position.file in unsure):
            hosts[name] = host
    return Inventory(dict(sorted(hosts.items())), tuple(problems.values()))


def unknown_hosts(
    manifests: Iterable[Manifest], hosts: Mapping[str, HostManifest]
) -> dict[Position, Problem]:
    """The virtual servers that mean hosts which no manifest describes, and the problem at each."""
    problems: dict[Position, Problem] = {}
    for manifest in manifests:
        stated = [("spec.host", manifest.spec.get("host"))]
        listed = enumerate(manifest.spec.get("hosts", ()))
        stated += [(f"spec.hosts[{number}]", name) for number, name in listed]
        for field, name in stated:
            if name is not None and name not in hosts:
                place = manifest.positions.get(field, manifest.position)
                known = ", ".join(hosts) or "no manifest of the kind Host is there"
                message = f"there is no host {name!r}"
                problems[manifest.position] = Problem(place, field, message, known)
                break
    return problems
