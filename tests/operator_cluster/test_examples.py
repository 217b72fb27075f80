"""examples/*.yaml as they stand, applied to a real API server as a user would."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ocpp_operator.core.spec import Resource
from tests.operator_cluster.crd_objects import gateway_takes
from tests.operator_core.publish import ROOT
from tests.testbed.kubernetes import KubernetesServer

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def test_there_is_one_for_each_need() -> None:
    assert {path.stem for path in EXAMPLES} >= {"minimal", "production", "local"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_can_be_applied(path: Path, kubernetes: KubernetesServer, crd: str, namespace: str) -> None:
    apply = ("apply", "-n", namespace, "--validate=strict", "-f", str(path), "-o", "yaml")
    kubernetes.kubectl(*apply, "--dry-run=server")

    kubernetes.kubectl(*apply)
    # The first write after the creation also stores the status' default, which until then is only read into it.
    stored = yaml.safe_load(kubernetes.kubectl(*apply))
    again = yaml.safe_load(kubernetes.kubectl(*apply))
    assert again["metadata"]["resourceVersion"] == stored["metadata"]["resourceVersion"]  # nothing to change

    gateway_takes(Resource.parse(stored))


def test_ten_lines_suffice() -> None:
    lines = (ROOT / "examples" / "minimal.yaml").read_text().splitlines()
    assert len([line for line in lines if line and not line.startswith("#")]) <= 10
    document = yaml.safe_load("\n".join(lines))
    assert set(document["spec"]) == {"kafka", "redis", "stations", "decisions"}


def test_the_production_example_uses_what_production_needs() -> None:
    spec = Resource.parse(yaml.safe_load((ROOT / "examples" / "production.yaml").read_text())).spec
    assert len(spec.listeners) > 1
    assert any(listener.tls for listener in spec.listeners)
    assert (spec.decisions.type, spec.stations.unknown) == ("Webhook", "Reject")
    assert spec.kafka.security_protocol == "SASL_SSL"
    assert spec.redis.mode == "Cluster"
    assert spec.redis.tls is not None
    assert spec.autoscaling is not None
    assert spec.template.pod.topology_spread == "Required"
    assert spec.grace_period < 600
