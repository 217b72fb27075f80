"""What the tests on a real API server share: our kind of resource is known to it."""

from __future__ import annotations

import pytest

from tests.operator_core.publish import CRD
from tests.testbed.kubernetes import KubernetesServer


@pytest.fixture(scope="session")
def crd(kubernetes: KubernetesServer) -> str:
    """The CRD of crds/ is installed on the run's API server; its name."""
    return install(kubernetes)


def install(kubernetes: KubernetesServer) -> str:
    """Install the CRD on a server of one's own (`private_kubernetes`) and wait until it is served."""
    kubernetes.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRD))
    name = f"crd/{CRD.stem}.chargegateway.io"
    kubernetes.kubectl("wait", "--for=condition=Established", name, "--timeout=30s")
    return name
