"""The operator as a Deployment with all rights, without the chart: the image is on trial, not the RBAC."""

from __future__ import annotations

from typing import Any

from tests.e2e.pods import SECURITY, container
from tests.system.site import until
from tests.testbed import images
from tests.testbed.node import Node

NAME = "operator"
ADMIN_PORT = 8080


def objects(namespace: str, image: str, gateway_image: str, replicas: int = 1) -> list[dict[str, Any]]:
    """ServiceAccount, its ClusterRoleBinding and the Deployment. It serves resources of this namespace alone."""
    repository, _, version = gateway_image.rpartition(":")
    settings = {
        "WATCH_NAMESPACES": namespace,
        "LEASE_NAMESPACE": namespace,
        "GATEWAY_REPOSITORY": repository,
        "VERSION": version,
    }
    variables = [{"name": f"CHARGEGATEWAY_OPERATOR_{name}", "value": value} for name, value in settings.items()]
    main = container(
        image,
        env=variables,
        ports=[{"name": "admin", "containerPort": ADMIN_PORT}],
        readinessProbe={"httpGet": {"path": "/livez", "port": "admin"}, "periodSeconds": 1},
    )
    labels = {"app": NAME}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": namespace}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"{NAME}-{namespace}"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME, "namespace": namespace},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"serviceAccountName": NAME, "securityContext": SECURITY, "containers": [main]},
                },
            },
        },
    ]


async def install_crds(node: Node) -> None:
    """The resource's definition, served."""
    for file in sorted((images.ROOT / "crds").glob("*.yaml")):
        node.kubectl("apply", "--server-side", "-f", str(file))

    async def served() -> bool:
        # Not by `kubectl wait`: it gives up where conditions are null for a moment.
        try:
            return bool(node.get("/apis/chargegateway.io/v1alpha1/chargegateways")["kind"])
        except OSError:
            return False

    await until(served, "the API server serves chargegateways", 30)
