"""What holds for the children of every variant, and the choices that one builder makes."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from ocpp_contract.names import ANNOTATIONS_PATH
from ocpp_gateway.adapters.metrics import Metrics
from ocpp_operator.core import kinds, names, template
from ocpp_operator.core.manifests import autoscaler
from ocpp_operator.core.manifests.assembly import children
from ocpp_operator.core.spec import Resource
from tests.operator_core.manifests import variants

EVERY = pytest.mark.parametrize("variant", variants.NAMES)


def of_kind(variant: str, kind: str, name: str | None = None) -> dict[str, Any]:
    found = [manifest for manifest in variants.manifests(variants.resource(variant)) if manifest["kind"] == kind]
    [one] = [manifest for manifest in found if name is None or manifest["metadata"]["name"] == name]
    return one


def pod(variant: str) -> dict[str, Any]:
    found: dict[str, Any] = of_kind(variant, "Deployment")["spec"]["template"]
    return found


@EVERY
def test_all_belong_to_the_resource_and_are_found_by_label(variant: str) -> None:
    resource = variants.resource(variant)
    for manifest in variants.manifests(resource):
        metadata = manifest["metadata"]
        assert metadata["namespace"] == resource.namespace
        assert metadata["labels"] == names.labels(resource.name)
        assert names.instance_of(metadata["labels"]) == resource.name
        [owner] = metadata["ownerReferences"]
        assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (resource.uid, True, True)


@EVERY
def test_they_come_in_the_order_in_which_they_are_needed(variant: str) -> None:
    order = [kinds.CHILDREN.index(kinds.of(manifest)) for manifest in variants.manifests(variants.resource(variant))]
    assert order == sorted(order)


def test_the_resources_own_annotations_stay_with_it() -> None:
    """A `kubectl apply` of the user keeps its last configuration there: copied, it would stand in every child."""
    for manifest in variants.manifests(variants.resource("production")):
        assert "team" not in (manifest["metadata"].get("annotations") or {})
    assert "team" not in pod("production")["metadata"]["annotations"]


@EVERY
def test_what_selects_pods_selects_these(variant: str) -> None:
    labels = pod(variant)["metadata"]["labels"]
    for manifest in variants.manifests(variants.resource(variant)):
        spec = manifest.get("spec") or {}
        for selector in (spec.get("selector"), spec.get("podSelector")):
            if selector is not None:
                wanted = selector.get("matchLabels", selector)
                assert wanted == names.pod_labels(variants.resource(variant).name)
                assert wanted.items() <= labels.items()


@EVERY
def test_named_ports_are_ports_of_the_container(variant: str) -> None:
    [container] = pod(variant)["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in of_kind(variant, "Service")["spec"]["ports"]} == ports - {"admin"}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] in ports


@EVERY
def test_pods_have_no_token_and_no_rights(variant: str) -> None:
    """The standard itself is asked in `test_api_server`."""
    spec = pod(variant)["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert of_kind(variant, "ServiceAccount")["automountServiceAccountToken"] is False
    assert not any("projected" in volume for volume in spec["volumes"])


@EVERY
def test_what_changes_under_a_pod_is_mounted_whole(variant: str) -> None:
    [container] = pod(variant)["spec"]["containers"]
    for mount in container["volumeMounts"]:
        assert mount["readOnly"] is True
        assert "subPath" not in mount
    paths = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert paths["podinfo"] == ANNOTATIONS_PATH.rpartition("/")[0]
    assert paths.keys() == {volume["name"] for volume in pod(variant)["spec"]["volumes"]}


@EVERY
def test_each_pod_reads_the_settings_of_its_own_revision(variant: str) -> None:
    [settings] = [volume for volume in pod(variant)["spec"]["volumes"] if volume["name"] == "settings"]
    [item] = settings["configMap"]["items"]
    assert item["key"] in of_kind(variant, "ConfigMap", settings["configMap"]["name"])["data"]
    assert item["path"] == "settings.json"


def in_a_roll(**changes: Any) -> list[dict[str, Any]]:
    """The children of the minimal variant when fields of its spec have just changed, and pods of before still run."""
    before, raw = variants.resource("minimal"), variants.raw("minimal")
    raw["spec"] |= changes
    after = Resource.parse(raw)
    first = template.choose(before, [], template.render(before, "1", "r"))
    assert first.write is not None
    second = template.choose(after, [first.write], template.render(after, "1", "r"))
    return children(after, second, "t", ())


def test_settings_of_pods_that_still_run_stay() -> None:
    found = in_a_roll(ocpp={"callTimeout": "10s"})
    [settings] = [one for one in found if one["metadata"]["name"] == names.settings("city")]
    assert len(settings["data"]) == 2


def test_pods_that_still_run_reach_the_brokers_that_they_know() -> None:
    found = in_a_roll(kafka={"bootstrapServers": "kafka.example:9094"})
    [policy] = [one for one in found if one["kind"] == "NetworkPolicy"]
    assert {port["port"] for port in policy["spec"]["egress"][1]["ports"]} == {53, 6379, 9092, 9094}


def test_the_pods_labels_and_annotations_are_the_users_beside_ours() -> None:
    metadata = pod("placement")["metadata"]
    assert metadata["labels"]["team"] == "charging"
    assert metadata["annotations"]["sidecar.istio.io/inject"] == "false"
    assert names.SETTINGS_ANNOTATION in metadata["annotations"]


def test_resources_are_the_users_or_ours_never_mixed() -> None:
    """A request of theirs above a limit of ours would be refused."""
    [container] = pod("local")["spec"]["containers"]
    assert container["resources"] == {"requests": {"cpu": "100m", "memory": "128Mi"}}


def test_the_token_is_the_callers() -> None:
    secret = of_kind("minimal", "Secret")
    assert b64decode(secret["data"]["token"]).decode() == variants.TOKEN


def test_a_local_address_policy_is_said_only_where_it_means_something() -> None:
    assert "externalTrafficPolicy" not in of_kind("minimal", "Service")["spec"]
    assert of_kind("node-port", "Service")["spec"]["externalTrafficPolicy"] == "Cluster"
    assert of_kind("production", "Service")["spec"]["externalTrafficPolicy"] == "Local"


def test_the_grace_period_is_longer_than_the_longest_drain() -> None:
    resource = variants.resource("drain")
    assert pod("drain")["spec"]["terminationGracePeriodSeconds"] == resource.spec.force_after + 15
    assert of_kind("drain", "Deployment")["spec"]["progressDeadlineSeconds"] > resource.spec.force_after + 15


def test_the_autoscaler_asks_for_a_metric_that_pods_have() -> None:
    page = Metrics().page().decode()
    assert f"# TYPE {autoscaler.METRIC} gauge" in page


def test_the_autoscaler_scales_the_resource() -> None:
    found = of_kind("production", "HorizontalPodAutoscaler")["spec"]
    assert found["scaleTargetRef"]["kind"] == names.KIND
    assert found["behavior"]["scaleDown"]["policies"][0]["periodSeconds"] <= 1_800  # Kubernetes' bound


def test_ports_outside_the_cluster_are_those_that_the_spec_names() -> None:
    def outside(variant: str) -> set[int]:
        [_, rule] = of_kind(variant, "NetworkPolicy")["spec"]["egress"]
        return {port["port"] for port in rule["ports"]}

    assert outside("minimal") == {53, 9092, 6379}
    assert outside("production") == {53, 9094, 6379, 6380, 443}
    assert outside("local") == {53, 9092, 6379, 8000}
    assert outside("ipv6-and-commands") == {53, 9092, 6379}


def test_optional_children() -> None:
    """NetworkPolicy and PodMonitor by wish, the latter only where the cluster has the kind; the autoscaler when asked for."""
    found = {manifest["kind"] for manifest in variants.manifests(variants.resource("without-extras"))}
    assert not found & {"NetworkPolicy", "PodMonitor", "HorizontalPodAutoscaler"}
    resource = variants.resource("minimal")
    chosen = template.choose(resource, [], template.render(resource, "1", "r"))
    assert "PodMonitor" not in {manifest["kind"] for manifest in children(resource, chosen, "t", ())}
    assert names.plan(resource.name) not in {
        manifest["metadata"]["name"] for manifest in children(resource, chosen, "t", ())
    }
