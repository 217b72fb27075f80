"""What was applied is found there again, for every kind of child: otherwise each pass of the loop would write it anew.

And what somebody else does to it is found, and undone by the next apply.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from ocpp_operator.adapters.cluster import Cluster
from ocpp_operator.core import kinds, names
from ocpp_operator.core.drift import needs_apply, stamped
from tests.testbed.kubernetes import KubernetesServer

Json = dict[str, Any]
LABELS = names.pod_labels("city")

POD_SPEC: Json = {
    "serviceAccountName": "city-gateway",
    "automountServiceAccountToken": False,
    "enableServiceLinks": False,
    "terminationGracePeriodSeconds": 290,
    "priorityClassName": "",
    "nodeSelector": {},
    "imagePullSecrets": [{"name": "regcred"}],
    "securityContext": {
        "runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532, "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    },
    "topologySpreadConstraints": [
        {
            "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": LABELS}, "matchLabelKeys": ["pod-template-hash"], "nodeTaintsPolicy": "Honor",
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ],
    "tolerations": [{"key": "dedicated", "value": "ocpp", "effect": "NoSchedule"}],
    "affinity": {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 10, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": LABELS}}}
            ]
        }
    },
    "containers": [
        {
            "name": "gateway",
            "image": "registry.example/chargegateway/gateway:0.3.0",
            "imagePullPolicy": "IfNotPresent",
            "args": ["-m", "ocpp_gateway"],
            "env": [
                {"name": "CHARGEGATEWAY_SETTINGS_FILE", "value": "/etc/chargegateway/settings/settings.json"},
                {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "CORES", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}}},
            ],
            "ports": [{"name": "l-ws", "containerPort": 8000}, {"name": "admin", "containerPort": 9090, "protocol": "TCP"}],
            "resources": {"limits": {"cpu": "2000m", "memory": "1024Mi"}, "requests": {"cpu": 0.5, "memory": "0.5Gi"}},
            "startupProbe": {"httpGet": {"path": "/livez", "port": "admin"}, "failureThreshold": 60, "periodSeconds": 1},
            "livenessProbe": {"httpGet": {"path": "/livez", "port": "admin"}, "periodSeconds": 10, "timeoutSeconds": 5},
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": 9090}, "initialDelaySeconds": 0, "periodSeconds": 2},
            "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
            "securityContext": {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [
                {"name": "settings", "mountPath": "/etc/chargegateway/settings", "readOnly": True},
                {"name": "secrets", "mountPath": "/etc/chargegateway/secrets", "readOnly": True},
                {"name": "podinfo", "mountPath": "/etc/chargegateway/podinfo", "readOnly": True},
                {"name": "tmp", "mountPath": "/tmp", "readOnly": False},
            ],
        }
    ],
    "volumes": [
        {"name": "settings", "configMap": {"name": "city-settings"}},
        {
            "name": "secrets",
            "projected": {
                "defaultMode": 0o440,
                "sources": [
                    {"secret": {"name": "city-internal", "items": [{"key": "token", "path": "internal/token"}]}},
                    {"secret": {"name": "hook", "optional": True}},
                ],
            },
        },
        {
            "name": "podinfo",
            "downwardAPI": {"items": [{"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}}]},
        },
        {"name": "tmp", "emptyDir": {"sizeLimit": "67108864"}},
        {"name": "run", "emptyDir": {}},
    ],
}  # fmt: skip


def child(api_version: str, kind: str, name: str, **content: Any) -> Json:
    owner = {
        "apiVersion": names.API_VERSION, "kind": names.KIND, "name": "city", "uid": "0a7e1c1e-6f0b-4a57-9d2e-0123456789ab",
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip
    metadata = {"name": name, "labels": names.labels("city"), "annotations": {}, "ownerReferences": [owner]}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


CHILDREN: dict[str, Json] = {
    "Deployment": child(
        "apps/v1", "Deployment", "city-gateway",
        spec={
            "replicas": 3,
            "paused": False,
            "minReadySeconds": 0,
            "revisionHistoryLimit": 3,
            "progressDeadlineSeconds": 600,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS, "annotations": {"chargegateway.io/settings": "1f"}}, "spec": POD_SPEC},
        },
    ),
    "Service LoadBalancer": child(
        "v1", "Service", "city-public",
        spec={
            "type": "LoadBalancer",
            "loadBalancerClass": "example.org/lb",
            "externalTrafficPolicy": "Local",
            "loadBalancerSourceRanges": ["10.0.0.0/8"],
            "publishNotReadyAddresses": False,
            "selector": LABELS,
            "ports": [
                {"name": "ws", "port": 80, "targetPort": "l-ws", "appProtocol": "kubernetes.io/ws"},
                {"name": "wss", "port": 443, "targetPort": 8001, "protocol": "TCP"},
            ],
        },
    ),
    "Service ClusterIP": child(
        "v1", "Service", "city-gateway",
        spec={
            "type": "ClusterIP", "selector": LABELS, "loadBalancerSourceRanges": [],
            "ports": [{"name": "ws", "port": 80, "targetPort": 8000}],
        },
    ),
    "PodDisruptionBudget": child(
        "policy/v1", "PodDisruptionBudget", "city-gateway",
        spec={"maxUnavailable": 1, "selector": {"matchLabels": LABELS}, "unhealthyPodEvictionPolicy": "AlwaysAllow"},
    ),
    "ServiceAccount": child("v1", "ServiceAccount", "city-gateway", automountServiceAccountToken=False),
    "ConfigMap": child("v1", "ConfigMap", "city-settings", data={"settings.json": '{"a": 1}', "empty": ""}),
    "Secret as text": child("v1", "Secret", "city-internal", type="Opaque", stringData={"token": "t0ken"}),
    "Secret as data": child("v1", "Secret", "city-data", type="Opaque", data={"token": "dDBrZW4="}),
    "NetworkPolicy": child(
        "networking.k8s.io/v1", "NetworkPolicy", "city-gateway",
        spec={
            "podSelector": {"matchLabels": LABELS},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"ports": [{"port": 8000, "protocol": "TCP"}, {"port": 8001}]},
                {"ports": [{"port": 9090}], "from": [{"podSelector": {}}, {"namespaceSelector": {"matchLabels": {"a": "b"}}}]},
                {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]},
            ],
            "egress": [{}],
        },
    ),
    "HorizontalPodAutoscaler": child(
        "autoscaling/v2", "HorizontalPodAutoscaler", "city",
        spec={
            "scaleTargetRef": {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": "city"},
            "minReplicas": 4,
            "maxReplicas": 32,
            "metrics": [
                {
                    "type": "Pods",
                    "pods": {"metric": {"name": "chargegateway_connections"}, "target": {"type": "AverageValue", "averageValue": "8000"}},
                }
            ],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}},
        },
    ),
    "ControllerRevision": child(
        "apps/v1", "ControllerRevision", "city-1f2e3d", revision=1, data={"template": {"metadata": {"labels": LABELS}, "spec": POD_SPEC}},
    ),
}  # fmt: skip


@pytest.fixture
def place(kubernetes: KubernetesServer, namespace: str) -> Callable[[Json], Json]:
    """A child in `namespace`, of an owner that is there: the garbage collector takes what belongs to nobody."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    made = kubernetes.request("POST", path, {"metadata": {"name": "owner"}})["metadata"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": made["name"], "uid": made["uid"]}

    def place(manifest: Json) -> Json:
        placed = deepcopy(manifest)
        placed["metadata"]["namespace"] = namespace
        placed["metadata"]["ownerReferences"][0] |= owner
        return placed

    return place


@pytest.mark.parametrize("name", CHILDREN)
async def test_what_was_applied_needs_no_second_apply(
    cluster: Cluster, namespace: str, place: Callable[[Json], Json], name: str
) -> None:
    wished = place(CHILDREN[name])
    await cluster.apply(stamped(wished))

    kind = kinds.of(wished)
    there = await cluster.get(kind, namespace, wished["metadata"]["name"])
    assert needs_apply(wished, there) is None
    [listed] = [
        item
        for item in (await cluster.list(kind, namespace)).items
        if item["metadata"]["name"] == wished["metadata"]["name"]
    ]
    assert needs_apply(wished, listed) is None

    again = await cluster.apply(stamped(wished))
    assert needs_apply(wished, again) is None
    # Controllers write the status of some meanwhile; a change of ours would be a new generation.
    sign = "generation" if "generation" in there["metadata"] else "resourceVersion"
    assert again["metadata"][sign] == there["metadata"][sign], "an apply of the same is no write"


HARM: dict[str, tuple[str, str, list[Json], str]] = {
    "fewer replicas": (
        "Deployment", "deployment/city-gateway",
        [{"op": "replace", "path": "/spec/replicas", "value": 1}],
        "differs in spec.replicas",
    ),
    "paused by hand": (
        "Deployment", "deployment/city-gateway",
        [{"op": "add", "path": "/spec/paused", "value": True}],
        "differs in spec.paused",
    ),
    "another image": (
        "Deployment", "deployment/city-gateway",
        [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "evil"}],
        "differs in spec.template.spec.containers[gateway].image",
    ),
    "a root that can be written": (
        "Deployment", "deployment/city-gateway",
        [{"op": "remove", "path": "/spec/template/spec/containers/0/securityContext/readOnlyRootFilesystem"}],
        "differs in spec.template.spec.containers[gateway].securityContext.readOnlyRootFilesystem",
    ),
    "a narrowed Service": (
        "Service ClusterIP", "service/city-gateway",
        [{"op": "add", "path": "/spec/selector/only", "value": "one"}],
        "differs in spec.selector.only",
    ),
    "a policy with a hole": (
        "NetworkPolicy", "networkpolicy/city-gateway",
        [{"op": "add", "path": "/spec/ingress/-", "value": {}}],
        "differs in spec.ingress",
    ),
    "a setting": (
        "ConfigMap", "configmap/city-settings",
        [{"op": "remove", "path": "/data/empty"}],
        "differs in data.empty",
    ),
    "a token": (
        "Secret as text", "secret/city-internal",
        [{"op": "replace", "path": "/data/token", "value": "b3RoZXI="}],
        "differs in data.token",
    ),
    "a token written as data": (
        "Secret as data", "secret/city-data",
        [{"op": "replace", "path": "/data/token", "value": "b3RoZXI="}],
        "differs in data.token",
    ),
    "another goal": (
        "HorizontalPodAutoscaler", "hpa/city",
        [{"op": "replace", "path": "/spec/metrics/0/pods/target/averageValue", "value": "8001"}],
        "differs in spec.metrics[0].pods.target.averageValue",
    ),
    "no owner": (
        "ServiceAccount", "serviceaccount/city-gateway",
        [{"op": "remove", "path": "/metadata/ownerReferences"}],
        "differs in metadata.ownerReferences",
    ),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARM)
async def test_what_somebody_did_to_it_is_seen_and_undone(
    cluster: Cluster, kubernetes: KubernetesServer, namespace: str, place: Callable[[Json], Json], harm: str
) -> None:
    name, target, patch, reason = HARM[harm]
    wished = place(CHILDREN[name])
    await cluster.apply(stamped(wished))
    kubernetes.kubectl("-n", namespace, "patch", target, "--type=json", "-p", json.dumps(patch))

    there = await cluster.get(kinds.of(wished), namespace, wished["metadata"]["name"])
    assert needs_apply(wished, there) == reason
    assert needs_apply(wished, await cluster.apply(stamped(wished))) is None


def _drop_limits(deployment: Json) -> None:
    del deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]


def _drop_volume(deployment: Json) -> None:
    deployment["spec"]["template"]["spec"]["volumes"].pop()


def _drop_port(service: Json) -> None:
    service["spec"]["ports"].pop()


def _drop_class(service: Json) -> None:
    del service["spec"]["loadBalancerSourceRanges"]


def _drop_key(config_map: Json) -> None:
    del config_map["data"]["empty"]


def _rename_key(secret: Json) -> None:
    secret["data"] = {"other": secret["data"]["token"]}


@pytest.mark.parametrize(
    ("name", "drop", "gone"),
    [
        ("Deployment", _drop_limits, "limits"),
        ("Deployment", _drop_volume, "'run'"),
        ("Service LoadBalancer", _drop_port, "wss"),
        ("Service LoadBalancer", _drop_class, "10.0.0.0/8"),
        ("ConfigMap", _drop_key, "empty"),
        ("Secret as data", _rename_key, "'token'"),
    ],
)
async def test_what_went_out_of_the_wish_goes(
    cluster: Cluster, place: Callable[[Json], Json], name: str, drop: Callable[[Json], None], gone: str
) -> None:
    wished = place(CHILDREN[name])
    before = await cluster.apply(stamped(wished))
    drop(wished)
    assert needs_apply(wished, before) is not None

    after = await cluster.apply(stamped(wished))
    assert needs_apply(wished, after) is None
    content = {key: value for key, value in after.items() if key != "metadata"}
    assert gone not in str(content).replace("resource': 'limits.cpu", "")


async def test_a_rollout_restart_is_nobodys_drift(
    cluster: Cluster, kubernetes: KubernetesServer, namespace: str, place: Callable[[Json], Json]
) -> None:
    wished = place(CHILDREN["Deployment"])
    await cluster.apply(stamped(wished))
    kubernetes.kubectl("-n", namespace, "rollout", "restart", "deployment/city-gateway")

    there = await cluster.get(kinds.DEPLOYMENT, namespace, "city-gateway")
    assert needs_apply(wished, there) is None
    after = await cluster.apply(stamped(wished))
    assert "kubectl.kubernetes.io/restartedAt" in after["spec"]["template"]["metadata"]["annotations"]
