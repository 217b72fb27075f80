"""A release's life by Helm itself on a real API server: installed, upgraded, uninstalled, installed again. No node runs its pods."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.chart.conftest import CRD_PATH, Cluster
from tests.chart.helm import NAMESPACE, HelmFailed
from tests.chart.publish import CHART
from tests.operator_cluster.rig import eventually

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(240)]

DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/chargegateway-operator"
RESOURCES = "/apis/chargegateway.io/v1alpha1/namespaces/default/chargegateways"
MINIMAL = (CHART.parents[1] / "examples" / "minimal.yaml").read_text()
OF_THE_CLUSTER = [
    f"/apis/rbac.authorization.k8s.io/v1/{kind}/{name}"
    for kind, name in (
        ("clusterroles", "chargegateway-operator"),
        ("clusterrolebindings", "chargegateway-operator"),
        ("clusterroles", "chargegateway-edit"),
        ("clusterroles", "chargegateway-view"),
    )
]


async def make_resource(cluster: Cluster) -> str:
    """The uid of a minimal one."""
    await cluster.served()
    cluster.kubernetes.kubectl("apply", "--server-side", "-f", "-", input=MINIMAL)
    return str(cluster.kubernetes.request("GET", f"{RESOURCES}/city")["metadata"]["uid"])


async def test_installed_its_pods_are_admitted(empty: Cluster) -> None:
    told = empty.install("chargegateway")
    assert "serves ChargeGateways in all namespaces." in told
    for path in (CRD_PATH, DEPLOYMENT, *OF_THE_CLUSTER):
        assert empty.get(path) is not None, path

    async def pods() -> bool:
        deployment = empty.kubernetes.request("GET", DEPLOYMENT)
        failure = [each for each in deployment["status"].get("conditions", ()) if each["type"] == "ReplicaFailure"]
        assert not failure, failure
        return bool(deployment["status"].get("replicas") == 2)

    await eventually(pods, "both pods are made, in a namespace that admits restricted ones only")
    # The same again changes nothing that would roll them.
    before = empty.kubernetes.request("GET", DEPLOYMENT)["metadata"]["generation"]
    empty.helm("upgrade", "chargegateway", str(CHART))
    assert empty.kubernetes.request("GET", DEPLOYMENT)["metadata"]["generation"] == before


async def test_an_upgrade_brings_the_new_crd_and_keeps_resources(empty: Cluster, tmp_path: Path) -> None:
    empty.install("chargegateway", "watchNamespaces={default}")
    uid = await make_resource(empty)

    newer = tmp_path / "chargegateway"
    shutil.copytree(CHART, newer)
    for file, before, after in (
        ("Chart.yaml", "0.1.0", "0.2.0"),
        ("files/chargegateways.yaml", "shortNames:\n    - cgw\n", "shortNames:\n    - cgw\n    - gateways\n"),
    ):
        text = (newer / file).read_text()
        assert before in text
        (newer / file).write_text(text.replace(before, after))
    empty.helm("upgrade", "chargegateway", str(newer), "--reset-then-reuse-values")

    assert empty.kubernetes.request("GET", CRD_PATH)["spec"]["names"]["shortNames"] == ["cgw", "gateways"]
    assert empty.kubernetes.request("GET", f"{RESOURCES}/city")["metadata"]["uid"] == uid
    [container] = empty.kubernetes.request("GET", DEPLOYMENT)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "chargegateway/operator:0.2.0"
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert variables["CHARGEGATEWAY_OPERATOR_WATCH_NAMESPACES"] == "default", "values were kept"


async def test_uninstalled_it_leaves_the_kind_and_the_resources_and_no_rights(empty: Cluster) -> None:
    empty.install("chargegateway")
    uid = await make_resource(empty)
    told = empty.helm("uninstall", "chargegateway")
    assert "chargegateways.chargegateway.io" in told
    for path in (DEPLOYMENT, *OF_THE_CLUSTER):
        assert empty.get(path) is None, path
    assert empty.kubernetes.request("GET", f"{RESOURCES}/city")["metadata"]["uid"] == uid

    # The same release again takes up where it was.
    empty.install("chargegateway")
    assert empty.kubernetes.request("GET", f"{RESOURCES}/city")["metadata"]["uid"] == uid

    # Another one has to say that it takes the CRD over.
    empty.helm("uninstall", "chargegateway")
    with pytest.raises(HelmFailed, match="invalid ownership metadata"):
        empty.install("other")
    empty.helm("install", "other", str(CHART), "--take-ownership")
    assert empty.kubernetes.request("GET", f"{RESOURCES}/city")["metadata"]["uid"] == uid


async def test_a_release_that_lets_go_of_the_crd_leaves_it(empty: Cluster) -> None:
    empty.install("chargegateway")
    await empty.served()
    empty.helm("upgrade", "chargegateway", str(CHART), "--set", "crds.install=false")
    assert empty.get(CRD_PATH) is not None


async def test_two_releases_serve_two_namespaces(empty: Cluster) -> None:
    empty.install("north", "watchNamespaces={default}")
    empty.install("south", "watchNamespaces={kube-public}", "crds.install=false")
    for name, namespace in (("north", "default"), ("south", "kube-public")):
        role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/{name}-chargegateway-operator"
        assert empty.get(role) is not None


async def test_people_with_kubernetes_own_roles_may_edit_or_see_gateways(empty: Cluster) -> None:
    empty.install("chargegateway")
    await empty.served()
    bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
    for role in ("edit", "view"):
        body: dict[str, Any] = {
            "metadata": {"name": f"test-{role}"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": f"test-{role}"}],
        }
        empty.kubernetes.request("POST", bindings, body)

    def may(user: str, verb: str, subresource: str = "") -> bool:
        attributes = {
            "namespace": "default",
            "group": "chargegateway.io",
            "resource": "chargegateways",
            "subresource": subresource,
            "verb": verb,
        }
        review = {"spec": {"user": user, "resourceAttributes": attributes}}
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        return bool(empty.kubernetes.request("POST", path, review)["status"]["allowed"])

    async def settled() -> bool:  # a controller adds the rules, and the authorizer hears of it a moment later
        return may("test-edit", "create") and may("test-view", "get")

    try:
        await eventually(settled)
        assert may("test-edit", "patch", "scale")
        assert not may("test-edit", "patch", "status")
        assert may("test-view", "watch")
        assert not may("test-view", "create")
    finally:
        for role in ("edit", "view"):
            empty.kubernetes.request("DELETE", f"{bindings}/test-{role}")


async def test_a_namespace_that_is_not_there_is_named(empty: Cluster) -> None:
    with pytest.raises(HelmFailed, match='namespaces "later" not found'):
        empty.install("chargegateway", "watchNamespaces={later}")
    empty.kubernetes.make_namespace("later")
    empty.helm("upgrade", "chargegateway", str(CHART), "--install", "--set", "watchNamespaces={later}")
    assert empty.get("/apis/rbac.authorization.k8s.io/v1/namespaces/later/roles/chargegateway-operator") is not None
