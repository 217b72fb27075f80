"""Helm itself, with its folders for this run alone, and the chart rendered per values file.

A new case is a new file `golden/<name>.values.yaml`, no code; `python -m tests.chart` writes what it becomes beside it.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.chart.publish import CHART
from tests.conftest import require
from tests.testbed.kubernetes_components import HELM

GOLDEN = Path(__file__).parent / "golden"
NAMES = sorted(path.name.removesuffix(".values.yaml") for path in GOLDEN.glob("*.values.yaml"))
RENEW = "python -m tests.chart"
RELEASE, NAMESPACE = "chargegateway", "chargegateway-system"
KUBERNETES = "1.36.0"
_CRD = "# Source: chargegateway/templates/crd.yaml\n"

Json = dict[str, Any]


class HelmFailed(Exception):
    """Helm ended with an error; the text is its own."""


def helm(*arguments: str, input: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """What Helm prints. Without KUBECONFIG in `environment` there is no cluster. Raises HelmFailed."""
    program = require(HELM.find)
    with tempfile.TemporaryDirectory(prefix="chargegateway-helm-") as home:
        folders = {f"HELM_{name}_HOME": f"{home}/{name.lower()}" for name in ("CACHE", "CONFIG", "DATA")}
        done = subprocess.run(
            [str(program), *arguments],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "KUBECONFIG": os.devnull, **folders, **(environment or {})},
        )
    if done.returncode:
        raise HelmFailed(done.stderr.strip())
    return done.stdout


def template(*arguments: str, values: Mapping[str, Any] | None = None, release: str = RELEASE) -> str:
    """The manifests that an install would send, as text."""
    given = () if values is None else ("--values", "-")
    return helm(
        "template", release, str(CHART), "--namespace", NAMESPACE, "--kube-version", KUBERNETES, *given, *arguments,
        input=None if values is None else yaml.safe_dump(dict(values)),
    )  # fmt: skip


def manifests(text: str) -> list[Json]:
    """The same as data."""
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(text: str, kind: str) -> list[Json]:
    return [manifest for manifest in manifests(text) if manifest["kind"] == kind]


def golden(name: str) -> str:
    """What golden/<name>.yaml should hold. The CRD is left out: it has a file of its own."""
    text = template("--values", str(GOLDEN / f"{name}.values.yaml"))
    documents = text.removeprefix("---\n").split("\n---\n")
    kept = [document.rstrip("\n") for document in documents if not document.startswith(_CRD)]
    head = f"# What {name}.values.yaml becomes, but for the CRD. Written by `{RENEW}`.\n"
    return head + "".join(f"---\n{document}\n" for document in kept)


def write() -> None:
    """All golden files anew; those of cases that are gone go."""
    for name in NAMES:
        (GOLDEN / f"{name}.yaml").write_text(golden(name), encoding="utf-8")
    for path in GOLDEN.glob("*.yaml"):
        if path.name.removesuffix(".values.yaml").removesuffix(".yaml") not in NAMES:
            path.unlink()
