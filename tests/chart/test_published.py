"""What stands in the chart and is generated, and what it has to have in common with the rest. Needs no Helm."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocpp_operator.settings import Settings
from tests.chart.publish import CHART, ROOT, leaves, schema, wanted
from tests.testbed import manifest_schemas

CHART_YAML = yaml.safe_load((CHART / "Chart.yaml").read_text())
SETTINGS = {
    "resync": "settings.resync",
    "store_interval": "settings.storeInterval",
    "kafka_interval": "settings.kafkaInterval",
    "sweep_interval": "settings.sweepInterval",
    "status_interval": "settings.statusInterval",
    "stalled_after": "settings.stalledAfter",
    "request_timeout": "settings.requestTimeout",
    "watch_inactivity": "settings.watchInactivity",
    "lease_duration": "leaderElection.leaseDuration",
    "lease_renew_deadline": "leaderElection.renewDeadline",
    "lease_retry": "leaderElection.retry",
    "log_level": "log.level",
    "log_format": "log.format",
    "gateway_repository": "image.gateway.repository",
}


@pytest.mark.parametrize("path", wanted(), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_generated_is_what_would_be_generated(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == wanted()[path], "run `python -m tests.chart.publish`"


def test_values_are_what_the_schema_says() -> None:
    """What people read is what Helm reads."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for path, node in leaves(schema()):
        there: Any = values
        for name in path:
            there = there[name]
        assert there == node["default"], path


def test_every_value_is_described() -> None:
    for path, node in leaves(schema()):
        assert re.fullmatch(r"[A-Z`].*\.\)?", node["description"]), path


def test_nothing_unknown_gets_through_anywhere() -> None:
    def closed(node: dict[str, Any], where: str) -> None:
        if node.get("type") == "object" and "properties" in node:
            assert node.get("additionalProperties") is False, where
        for name, child in node.get("properties", {}).items():
            closed(child, f"{where}.{name}")
        if "items" in node:
            closed(node["items"], f"{where}[]")

    closed(schema(), "")


def test_one_number_for_chart_operator_and_gateway() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert CHART_YAML["version"] == CHART_YAML["appVersion"] == project["version"]


def test_the_oldest_kubernetes_is_the_oldest_that_manifests_are_checked_for() -> None:
    assert CHART_YAML["kubeVersion"] == f">= {manifest_schemas.VERSIONS[0]}.0-0"


@pytest.mark.parametrize(("setting", "value"), SETTINGS.items())
def test_defaults_are_those_of_the_operator(setting: str, value: str) -> None:
    defaults = {".".join(path): node["default"] for path, node in leaves(schema())}
    assert defaults[value] == Settings.model_fields[setting].default
