"""Each golden manifest against the schemas of every supported Kubernetes version; unknown fields are errors."""

from __future__ import annotations

import subprocess

import pytest

from tests.conftest import require
from tests.operator_core.manifests import variants
from tests.testbed import manifest_schemas
from tests.testbed.kubernetes_components import KUBECONFORM
from tests.testbed.manifest_schemas import SCHEMAS

GOLDEN = [str(variants.GOLDEN / f"{variant}.yaml") for variant in variants.NAMES]


def kubeconform(version: str, *files: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    program, location = require(KUBECONFORM.find), require(lambda: SCHEMAS.location(version))
    # One at a time: side by side each of them would read the schemas again.
    command = [str(program), "-strict", "-summary", "-n", "1", "-schema-location", location, *files]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", manifest_schemas.VERSIONS)
def test_kubernetes_would_know_every_field(version: str) -> None:
    done = kubeconform(version, *GOLDEN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Skipped: 0" in done.stdout


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        ("Deployment", "progressDeadlineSeconds:", "progressDeadline:"),
        ("PodMonitor", "podMetricsEndpoints:", "endpoints:"),
    ],
)
def test_one_that_it_does_not_know_would_be_found(kind: str, right: str, wrong: str) -> None:
    text = (variants.GOLDEN / "minimal.yaml").read_text()
    assert text.count(right) == 1
    done = kubeconform(manifest_schemas.VERSIONS[-1], "-", text=text.replace(right, wrong))
    assert done.returncode != 0
    assert f"{kind} city-gateway is invalid" in done.stdout
