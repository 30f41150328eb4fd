"""docs/metrics.md says what is exported, and deploy/ uses nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reconvirt.controller.config.metrics import MetricsSection
from reconvirt.metrics.reference import metric_names, metrics_reference
from reconvirt.metrics.rows import PREFIX
from reconvirt.metrics.settings import MetricsSettings

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "metrics.md"
HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


def test_the_list_is_the_one_in_the_documentation() -> None:
    """What 'reconvirt metrics --reference' prints ends docs/metrics.md."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text.endswith("## All metrics\n\n" + metrics_reference())


@pytest.mark.parametrize(
    "path",
    [
        DOCUMENT,
        *sorted((ROOT / "deploy" / "prometheus").glob("*.yml")),
        *sorted((ROOT / "deploy" / "grafana").glob("*.json")),
    ],
    ids=lambda path: path.name,
)
def test_no_metric_is_named_that_does_not_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    # Names of recording rules have colons; a name that goes on with … is a group of them.
    found = set(re.findall(r"(?<![:\w])reconvirt_[a-z_]*[a-z]\b(?!:|…)", text))
    unknown = {HISTOGRAM.sub("", each) for each in found} - metric_names()
    assert set() == unknown


def test_the_names_beside_those_of_other_exporters_exist() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    table = text.partition("## Coming from other exporters")[2].partition("\n\n`libvirt_up`")[0]
    known = {each.removeprefix(PREFIX) for each in metric_names()}
    listed = 0
    for line in table.splitlines()[4:]:
        for name in re.findall(r"`([a-z_…]+)(?:\{[^`]*)?`", line.rstrip(" |").rpartition("|")[2]):
            listed += 1
            assert any(
                each.startswith(name[:-1]) if name.endswith("…") else each == name for each in known
            ), name
    assert listed > 30


def test_the_defaults_are_those_that_the_configuration_tells() -> None:
    """docs/configuration.md prints them from there."""
    assert MetricsSection().settings == MetricsSettings()
