"""The documentation tells the truth: what it shows is valid, what it names exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from documentation import ROOT, Block, alerts_page, blocks, pages
from reconvirt.cli.exit_codes import codes_of, exit_codes_reference
from reconvirt.cli.main import reconvirt
from reconvirt.cli.manual import all_commands
from reconvirt.cli.wanted import read_wanted
from reconvirt.controller.conditions import REASONS, Kind
from reconvirt.controller.config.files import load
from reconvirt.controller.guide import FIXED, KINDS, PAUSES, PHASES, conditions_reference
from reconvirt.controller.outcome import Phase
from reconvirt.domain.schema import manifest_schema
from reconvirt.hypervisor.states import name_state
from reconvirt.metrics.reference import metric_names

DOCS = ROOT / "docs"
HOWTO = sorted((DOCS / "howto").glob("*.md"))
# YAML that is no manifest: jobs and hooks that run the program.
OTHER_YAML = DOCS / "ci.md"
MINIMAL = {
    "apiVersion": "reconvirt/v1",
    "kind": "VirtualServer",
    "metadata": {"name": "web1"},
    "spec": {
        "memory": "1 GiB",
        "vcpu": 2,
        "os": {"arch": "s390x", "machine": "s390-ccw-virtio"},
    },
}
HOST = """apiVersion: reconvirt/v1
kind: Host
metadata: {{name: {name}}}
spec: {{uri: "qemu+ssh://{name}/system"}}
"""
SPEC = manifest_schema()["properties"]["spec"]["properties"]
DEVICES = SPEC["devices"]["properties"]
COMMAND = re.compile(r"(?:^|(?<=\s)|(?<=/))reconvirt(?: .*)?$")


def of_language(language: str) -> list[Block]:
    return [
        block
        for page in pages()
        if page != OTHER_YAML
        for block in blocks(page)
        if block.language == language and not is_comment(block)
    ]


def is_comment(block: Block) -> bool:
    """Whether a block says nothing but a comment."""
    return all(line.startswith("#") for line in block.text.splitlines())


def complete(fragment: Mapping[str, Any]) -> dict[str, Any]:
    """A fragment as the manifest that its reader makes of it."""
    keys = set(fragment)
    if keys <= set(MINIMAL):
        return merge(MINIMAL, fragment)
    if keys <= set(SPEC):
        return merge(MINIMAL, {"spec": fragment})
    assert keys <= set(DEVICES), f"no key of a manifest: {keys - set(SPEC) - set(DEVICES)}"
    return merge(MINIMAL, {"spec": {"devices": fragment}})


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(below.get(key), Mapping)
        merged[key] = merge(below[key], value) if both else value
    return merged


@pytest.mark.parametrize("block", of_language("yaml"), ids=lambda block: block.place)
def test_each_manifest_is_good(block: Block, tmp_path: Path) -> None:
    """By itself if it is a whole one, else in the smallest that there can be."""
    documents = [each for each in yaml.safe_load_all(block.text) if each]
    file = tmp_path / "manifest.yaml"
    file.write_text(block.text, encoding="utf-8")
    # The page on migration leaves out of a virtual server what it is not about.
    if "apiVersion" not in documents[0] or "migration.md" in block.place:
        documents = [each if each.get("kind") == "Host" else complete(each) for each in documents]
        file.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    for name in missing_hosts(documents):
        (tmp_path / f"{name}.yaml").write_text(HOST.format(name=name), encoding="utf-8")

    wanted = read_wanted(tmp_path)

    assert () == wanted.snapshot.problems
    servers = [each for each in documents if each.get("kind") != "Host"]
    assert len(servers) == len(wanted.snapshot.manifests)


@pytest.mark.parametrize("block", of_language("toml"), ids=lambda block: block.place)
def test_each_configuration_is_good(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "reconvirt.toml"
    file.write_text(block.text, encoding="utf-8")

    assert (file,) == load(file).files


def missing_hosts(documents: list[dict[str, Any]]) -> set[str]:
    """The hosts that virtual servers name and no document describes."""
    hosts = {each["metadata"]["name"] for each in documents if each.get("kind") == "Host"}
    specs = [each.get("spec", each) for each in documents]
    named = {name for each in specs for name in (each.get("host"), *each.get("hosts", ()))}
    return named - hosts - {None}


def named_commands() -> Iterator[tuple[str, str, bool]]:
    """Each command of the program that a page tells to run, where, and whether in a sentence."""
    for page in pages():
        for block in blocks(page):
            if block.language in ("sh", "yaml"):
                for line in block.text.splitlines():
                    for part in re.split(r"\s*(?:&&|;|\|)\s*", line.strip(" -")):
                        if found := COMMAND.search(part):
                            yield found[0], block.place, False
        prose = re.sub(
            r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
        )
        for words in re.findall(r"`(reconvirt [^`]+)`", prose):
            yield words, str(page.relative_to(ROOT)), True


@pytest.mark.parametrize(("command", "place", "in_prose"), list(dict.fromkeys(named_commands())))
def test_each_command_can_be_called_so(command: str, place: str, in_prose: bool) -> None:
    """With these options and arguments; a sentence may leave some out."""
    words = shlex.split(re.sub(r"\s(>|2>|<).*", "", command), comments=True)[1:]
    group: click.Command = reconvirt
    while isinstance(group, click.Group) and words and words[0] not in ("COMMAND", "--help"):
        inner = group.get_command(click.Context(group), words[0])
        assert inner is not None, f"{place}: there is no command {words[0]}"
        group, words = inner, words[1:]
    if not words or "--help" in words:
        return
    try:
        group.make_context(command, list(words))
    except click.MissingParameter:
        assert in_prose, f"{place}: something is missing in: {command}"


@pytest.mark.parametrize("page", HOWTO, ids=lambda page: page.name)
def test_each_task_is_told_in_full(page: Path) -> None:
    """What the book says, what the manifest says, and what comes of it."""
    sections = re.split(r"^##+ ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    told = [each for each in sections if "**The manifest says**" in each]
    for each in told:
        assert "**What reconvirt does**" in each or "**Limits**" in each, each.splitlines()[0]
    if page.name != "index.md":
        assert len(told) > 3
        assert len(page.read_text(encoding="utf-8").splitlines()) <= 350


def test_every_chapter_of_the_book_has_its_task() -> None:
    """Parts 3 to 6 are chapters 10 to 22."""
    index = (DOCS / "howto" / "index.md").read_text(encoding="utf-8")
    for chapter in range(10, 23):
        assert re.search(rf"^\|.*\b{chapter} [A-Z]", index, re.MULTILINE), chapter


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_no_metric_is_named_that_does_not_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = set(re.findall(r"(?<![:\w])reconvirt_[a-z_]*[a-z]\b(?!:|…|_?…)", text))
    unknown = {re.sub(r"_(bucket|sum|count)$", "", each) for each in found} - metric_names()
    assert set() == {each for each in unknown if f"{each}_…" not in text}


def test_the_page_of_the_conditions_is_that_of_the_program() -> None:
    """'reconvirt manual conditions.md' prints it."""
    assert conditions_reference() == (DOCS / "conditions.md").read_text(encoding="utf-8")


def test_every_condition_and_reason_is_told() -> None:
    assert set(Kind) == set(KINDS)
    assert set(Phase) == set(PHASES) == set(REASONS)
    assert {Kind.READY, Kind.RECONCILING, Kind.STALLED} == set(Kind) - set(FIXED)


def test_reasons_of_a_pause_are_libvirts() -> None:
    """As virsh calls them."""
    words = {name_state(3, number)[1] for number in range(20)}
    assert set(PAUSES) <= words


def test_the_page_of_the_exit_codes_is_that_of_the_program() -> None:
    """'reconvirt manual exit-codes.md' prints it."""
    page = (DOCS / "exit-codes.md").read_text(encoding="utf-8")
    assert exit_codes_reference(all_commands(reconvirt)) == page


def test_every_command_tells_its_exit_codes() -> None:
    """In its help, which is what is stated once."""
    for name, command in all_commands(reconvirt):
        if not command.hidden:
            codes = codes_of(command)
            assert 0 in codes, name
            assert f"Exit codes: 0 {codes[0]}" in " ".join((command.help or "").split()), name


def test_the_page_of_the_alerts_has_their_runbooks() -> None:
    """'python tests/documentation.py' prints it."""
    assert alerts_page() == (DOCS / "alerts.md").read_text(encoding="utf-8")
