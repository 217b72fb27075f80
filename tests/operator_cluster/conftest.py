"""What the tests on a real API server share: our kind of resource is known to it."""

from __future__ import annotations

import time

import pytest

from tests.operator_core.publish import CRD
from tests.testbed.kubernetes import KubectlFailed, KubernetesServer
from tests.testbed.processes import NotReady


@pytest.fixture(scope="session")
def crd(kubernetes: KubernetesServer) -> str:
    """The CRD of crds/ is installed on the run's API server and served; its name."""
    return install_crd(kubernetes)


def install_crd(kubernetes: KubernetesServer, timeout: float = 30.0) -> str:
    """The same on a server of one's own (`private_kubernetes`)."""
    kubernetes.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRD))
    name = f"{CRD.stem}.chargegateway.io"
    deadline = time.monotonic() + timeout
    while not _served(kubernetes, name):
        if time.monotonic() > deadline:
            raise NotReady(f"{name} is not served after {timeout:.0f} s")
        time.sleep(0.1)
    return name


def _served(kubernetes: KubernetesServer, name: str) -> bool:
    definition = kubernetes.request("GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
    conditions = definition.get("status", {}).get("conditions") or ()  # kubectl wait stumbles over there being none yet
    if not any(one["type"] == "Established" and one["status"] == "True" for one in conditions):
        return False
    try:  # discovery and OpenAPI follow a moment later
        kubernetes.kubectl("explain", "cgw.spec")
    except KubectlFailed:
        return False
    return True
