"""A cluster for the chart alone: the CRD is made, upgraded and deleted here, and who asked for what is written down.

The admission plugin of owner references is on, as it is on OpenShift: without its right the operator could make no child there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.chart.audit import AuditLog
from tests.chart.helm import NAMESPACE, helm
from tests.chart.publish import CHART
from tests.conftest import running
from tests.operator_cluster.rig import eventually
from tests.testbed.kubernetes import ApiError, KubernetesServer

CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/chargegateways.chargegateway.io"
OWNER_REFERENCES = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement"


@dataclass(frozen=True, slots=True)
class Cluster:
    """The server, its audit log, and Helm as its administrator."""

    kubernetes: KubernetesServer
    audit: AuditLog

    def helm(self, *arguments: str) -> str:
        """Raises HelmFailed."""
        environment = {"KUBECONFIG": str(self.kubernetes.kubeconfig), "HELM_NAMESPACE": NAMESPACE}
        return helm(*arguments, environment=environment)

    def install(self, release: str, *values: str) -> str:
        """`helm install` of the chart; what it prints."""
        return self.helm("install", release, str(CHART), *(word for value in values for word in ("--set", value)))

    def get(self, path: str) -> dict[str, Any] | None:
        """None: there is none."""
        try:
            return self.kubernetes.request("GET", path)
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    async def served(self) -> None:
        """Until the kind of resource can be used."""

        async def ask() -> bool:
            return self.get("/apis/chargegateway.io/v1alpha1/chargegateways") is not None

        await eventually(ask, "chargegateways are not served")

    def delete_crd(self) -> None:
        """With all resources; it is gone when this returns."""
        self.kubernetes.kubectl("delete", "crd", CRD_PATH.rpartition("/")[2], "--ignore-not-found", "--timeout=60s")


@pytest.fixture(scope="package")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """See module. The namespace of releases is there and lets in only pods of the strictest level."""
    audit = AuditLog(tmp_path_factory.mktemp("audit"), NAMESPACE)
    for kubernetes in running(request, lambda: KubernetesServer((OWNER_REFERENCES, *audit.arguments))):
        kubernetes.make_namespace(NAMESPACE)
        restricted = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
        where = f"/api/v1/namespaces/{NAMESPACE}"
        kubernetes.request("PATCH", where, restricted, content_type="application/merge-patch+json")
        yield Cluster(kubernetes, audit)


@pytest.fixture
def empty(cluster: Cluster) -> Iterator[Cluster]:
    """Nothing of ours is there, and nothing is left."""
    cluster.delete_crd()
    yield cluster
    for release in cluster.helm("list", "--short").split():
        cluster.helm("uninstall", release)
    cluster.delete_crd()
