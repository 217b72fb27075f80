"""The CRD as a user meets it on a real API server: defaults, `kubectl explain`, columns, scale, status."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from ocpp_operator.core import crd as rendered
from ocpp_operator.core.spec import Resource, Spec
from tests.operator_cluster.crd_objects import COLLECTION, FULL_SPEC, MINIMAL_SPEC, gateway
from tests.operator_core.test_kstatus import kstatus
from tests.testbed.kubernetes import ApiError, KubernetesServer

DRY = f"{COLLECTION}?dryRun=All&fieldValidation=Strict"
MakeGateway = Callable[..., dict[str, Any]]


@pytest.fixture
def make_gateway(kubernetes: KubernetesServer, crd: str, namespace: str) -> MakeGateway:
    """`make_gateway("city")` in a namespace of the test's own."""

    def make(name: str = "city") -> dict[str, Any]:
        path = COLLECTION.replace("default", namespace)
        return kubernetes.request("POST", path, gateway(MINIMAL_SPEC, name=name))

    return make


def test_the_minimal_object_gets_all_defaults(kubernetes: KubernetesServer, crd: str) -> None:
    spec = kubernetes.request("POST", DRY, gateway(MINIMAL_SPEC))["spec"]
    schema = rendered.structural(Spec)

    def check(node: dict[str, Any], value: dict[str, Any], path: str) -> None:
        for name, child in node["properties"].items():
            if "default" in child:
                assert name in value, f"{path}.{name} has no default"
            if "default" in child and "properties" in child:
                check(child, value[name], f"{path}.{name}")
            elif "default" in child and path + "." + name != "spec.stations.unknown":
                assert value[name] == child["default"], f"{path}.{name}"

    check(schema, spec, "spec")
    assert spec["decisions"] == {"type": "Accept"}
    assert (spec["commands"]["partitions"], spec["drain"]["loadBalancerWait"]) == (128, "15s")
    assert spec["listeners"] == [{"name": "ws", "port": 80, "securityProfiles": [0, 1]}]


def test_a_resource_that_no_operator_has_looked_at_is_not_there_yet(
    kubernetes: KubernetesServer, make_gateway: MakeGateway, namespace: str
) -> None:
    make_gateway("city")
    there = kubernetes.request("GET", f"{COLLECTION.replace('default', namespace)}/city")
    assert there["status"]["observedGeneration"] == 0
    assert kstatus(there) == "InProgress"


def test_what_the_api_server_fills_in_is_what_we_fill_in(kubernetes: KubernetesServer, crd: str) -> None:
    for spec in (MINIMAL_SPEC, FULL_SPEC):
        stored = kubernetes.request("POST", DRY, gateway(spec))
        assert Resource.parse(stored).spec == Resource.parse(gateway(spec)).spec


def test_there_is_no_default_for_decisions(kubernetes: KubernetesServer, crd: str) -> None:
    spec = {name: value for name, value in MINIMAL_SPEC.items() if name != "decisions"}
    with pytest.raises(ApiError, match=r"spec\.decisions: Required value"):
        kubernetes.request("POST", DRY, gateway(spec))


def test_an_unknown_field_is_refused_by_name(kubernetes: KubernetesServer, crd: str) -> None:
    listener = {"name": "mtls", "port": 8443, "tls": {"certificateRefs": [{"name": "c"}], "clientValidation": {}}}
    with pytest.raises(ApiError, match=r'unknown field "spec\.listeners\[0\]\.tls\.clientValidation"'):
        kubernetes.request("POST", DRY, gateway(MINIMAL_SPEC, {"spec.listeners": [listener]}))


def test_a_null_is_a_field_left_out(kubernetes: KubernetesServer, crd: str) -> None:
    nulls = {"spec.autoscaling": None, "spec.replicas": None, "spec.drain": {"forceAfter": None}}
    spec = kubernetes.request("POST", DRY, gateway(MINIMAL_SPEC, nulls))["spec"]
    assert (spec["replicas"], "autoscaling" in spec, "forceAfter" in spec["drain"]) == (2, False, False)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("cgw.spec", "decisions\t<Object> -required-"),
        ("cgw.spec.replicas", "Default: 2. Allowed: 0 to 1023."),
        ("cgw.spec.listeners.tls", "Secrets of type kubernetes.io/tls."),
        ("cgw.spec.commands.partitions", "Cannot be changed."),
        ("cgw.spec.kafka.topics.eventsUp.retention", "Default: 168h. Allowed: 1h to 87600h."),
        ("cgw.status.partitions", "Partitions that no pod is able to serve"),
    ],
)
def test_explain_reads_like_documentation(kubernetes: KubernetesServer, crd: str, path: str, expected: str) -> None:
    assert expected in kubernetes.kubectl("explain", path).replace("\n    ", " ")


def test_columns_scale_and_status(kubernetes: KubernetesServer, make_gateway: MakeGateway, namespace: str) -> None:
    made = make_gateway()
    path = f"{COLLECTION.replace('default', namespace)}/city"
    status = {
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Serving",
                "message": "",
                "observedGeneration": 1,
                "lastTransitionTime": "2026-11-22T10:00:00Z",
            }
        ],
        "observedGeneration": 1,
        "version": "0.3.0",
        "addresses": [{"listener": "ws", "url": "ws://192.0.2.7"}],
        "replicas": 3,
        "readyReplicas": 2,
        "selector": "app.kubernetes.io/instance=city",
        "connections": 1234,
        "partitions": {"assigned": 127, "unowned": 1, "generation": 7},
        "pools": [{"name": "default", "replicas": 3, "partitions": {"assigned": 127, "unowned": 1}}],
        "pods": [{"name": "city-gateway-1", "reason": "Draining", "connections": 17}],
        "sweep": {"scanned": 1_000_000, "removed": 3, "at": "2026-11-22T10:00:00Z"},
    }
    written = kubernetes.request("PUT", f"{path}/status?fieldValidation=Strict", made | {"status": status})
    assert written["status"] == status
    assert written["metadata"]["generation"] == 1

    assert kubernetes.kubectl("wait", "--for=condition=Ready", "cgw/city", "-n", namespace, "--timeout=30s")

    header, row = kubernetes.kubectl("get", "chargegateway", "-n", namespace).splitlines()
    assert header.split() == ["NAME", "READY", "REPLICAS", "CONNECTIONS", "ASSIGNED", "ADDRESS", "VERSION", "AGE"]
    assert row.split()[:-1] == ["city", "True", "3", "1234", "127", "ws://192.0.2.7", "0.3.0"]

    scale = kubernetes.request("GET", f"{path}/scale")
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (2, 3)
    assert scale["status"]["selector"] == "app.kubernetes.io/instance=city"
    kubernetes.kubectl("scale", "cgw/city", "-n", namespace, "--replicas=5")
    assert kubernetes.request("GET", path)["spec"]["replicas"] == 5


def test_the_scale_subresource_obeys_the_rules_too(
    kubernetes: KubernetesServer, make_gateway: MakeGateway, namespace: str
) -> None:
    make_gateway()
    path = f"{COLLECTION.replace('default', namespace)}/city/scale"
    with pytest.raises(ApiError, match="a pod without a partition serves nobody"):
        kubernetes.request("PATCH", path, {"spec": {"replicas": 128}}, content_type="application/merge-patch+json")


def test_two_may_own_items_of_one_list(kubernetes: KubernetesServer, make_gateway: MakeGateway, namespace: str) -> None:
    made = make_gateway()
    path = f"{COLLECTION.replace('default', namespace)}/city"
    listener = {"name": "wss", "port": 443, "securityProfiles": [2], "tls": {"certificateRefs": [{"name": "cert"}]}}
    wish = {name: made[name] for name in ("apiVersion", "kind")} | {
        "metadata": {"name": "city"},
        "spec": {"listeners": [listener]},
    }
    applied = kubernetes.request(
        "PATCH", f"{path}?fieldManager=platform", wish, content_type="application/apply-patch+yaml"
    )
    assert [one["name"] for one in applied["spec"]["listeners"]] == ["ws", "wss"]


def test_the_published_file_is_what_the_server_keeps(kubernetes: KubernetesServer, crd: str) -> None:
    """Nothing of the schema is dropped or rewritten: a GitOps tool would see a difference for ever."""
    kept = json.loads(kubernetes.kubectl("get", "crd", crd, "-o", "json"))["spec"]
    published = yaml.safe_load(rendered.text())["spec"]
    assert kept["versions"] == published["versions"]
    assert kept["names"] == published["names"]
